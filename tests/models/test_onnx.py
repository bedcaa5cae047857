"""The embedder `onnx` on networks of a few weights, against what they compute by hand."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from annoloop.adapters.onnx.embedder import OnnxEmbedder
from annoloop.errors import InputError, SettingsError, VectorError
from annoloop.project import Project
from annoloop.records import Source
from annoloop.testing_crops import CropEmbedderContract

WHERE = "no ONNX here: `make test-models`"
onnx = pytest.importorskip("onnx", reason=WHERE)
pytest.importorskip("onnxruntime", reason=WHERE)

CHANNELS = 12
SIDE = 24


def network(folder, *, batch="n", nhwc=False, side=SIDE, weights=None, kind=None, external=False):
    """Convolution of 5 × 5, ReLU → `map`; its mean over the places → `vector`, the one output."""
    helper, types = onnx.helper, onnx.TensorProto
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(CHANNELS, 3, 5, 5)) / 5 if weights is None else weights
    tensors = [onnx.numpy_helper.from_array(np.asarray(weights, np.float32), "w")]
    kind = kind or types.FLOAT
    shape = [batch, side, side, 3] if nhwc else [batch, 3, side, side]
    first = "picture"
    nodes = []
    if nhwc:
        nodes.append(helper.make_node("Transpose", [first], ["turned"], perm=[0, 3, 1, 2]))
        first = "turned"
    if kind != types.FLOAT:
        nodes.append(helper.make_node("Cast", [first], ["cast"], to=types.FLOAT))
        first = "cast"
    nodes += [
        helper.make_node("Conv", [first, "w"], ["wide"], strides=[2, 2]),
        helper.make_node("Relu", ["wide"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["vector"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("picture", kind, shape)],
        [helper.make_tensor_value_info("vector", types.FLOAT, [batch, CHANNELS])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    file = folder / "tiny.onnx"
    if external:
        where = "tiny.onnx.data"
        onnx.save(model, file, save_as_external_data=True, location=where, size_threshold=0)
    else:
        onnx.save(model, file)
    return file


def described(file, **manifest):
    file.with_suffix(".json").write_text(json.dumps(manifest), encoding="utf-8")
    return file


def made(folder, **manifest):
    return OnnxEmbedder(model=str(described(network(folder), size=[SIDE, SIDE], **manifest)))


def picture(folder, name="a.png", *, width=SIDE, height=SIDE, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / name), pixels[..., ::-1])
    return str(folder / name), pixels


class TestContract(CropEmbedderContract):
    @pytest.fixture
    def embedder(self, tmp_path: Path) -> OnnxEmbedder:
        (tmp_path / "model").mkdir()
        return made(tmp_path / "model", mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.2])


class TestContractWithABatchThatTheModelFixes(CropEmbedderContract):
    @pytest.fixture
    def embedder(self, tmp_path: Path) -> OnnxEmbedder:
        (tmp_path / "model").mkdir()
        return OnnxEmbedder(model=str(described(network(tmp_path / "model", batch=4))))


def by_hand(pixels, weights, *, mean=0.0, std=1.0):
    """What the network says of one picture (h, w, 3), before it is made unit length."""
    values = ((pixels / 255 - mean) / std).transpose(2, 0, 1)
    windows = np.lib.stride_tricks.sliding_window_view(values, (5, 5), axis=(1, 2))[:, ::2, ::2]
    return np.maximum(np.einsum("cyxij,kcij->kyx", windows, weights), 0)


def test_pixels_are_normalised_and_turned_as_the_manifest_says(tmp_path):
    weights = np.random.default_rng(3).normal(size=(CHANNELS, 3, 5, 5)) / 5
    file, pixels = picture(tmp_path)
    mean, std = [0.1, 0.5, 0.9], [0.2, 0.4, 0.8]
    embedder = made(tmp_path, mean=mean, std=std, channels="BGR", unit=False)
    expected = by_hand(pixels[..., ::-1], weights, mean=np.array(mean), std=np.array(std))
    np.testing.assert_allclose(embedder.embed([file])[0], expected.mean(axis=(1, 2)), rtol=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "max", "mean+max", "none"])
def test_an_inner_tensor_can_be_the_output(tmp_path, pooling):
    weights = np.random.default_rng(3).normal(size=(CHANNELS, 3, 5, 5)) / 5
    file, pixels = picture(tmp_path)
    row = made(tmp_path, output="map", pooling=pooling, unit=False).embed([file])[0]
    map_ = by_hand(pixels, weights)
    pooled = {"mean": map_.mean(axis=(1, 2)), "max": map_.max(axis=(1, 2)), "none": map_.ravel()}
    expected = np.concatenate([pooled[one] for one in pooling.split("+")])
    np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)


def test_both_layouts_and_whole_numbers_give_the_same(tmp_path):
    file, _ = picture(tmp_path)
    rows = []
    for name, options in {
        "a": {},
        "b": {"nhwc": True},
        "c": {"nhwc": True, "kind": onnx.TensorProto.UINT8},
    }.items():
        (tmp_path / name).mkdir()
        model = network(tmp_path / name, **options)
        layout = "NHWC" if "nhwc" in options else "NCHW"
        rows.append(OnnxEmbedder(model=str(described(model, layout=layout))).embed([file]))
    np.testing.assert_allclose(rows[1], rows[0], atol=1e-6)
    np.testing.assert_allclose(rows[2], rows[0], atol=1e-5)  # 255 times as long, then unit length


def test_the_batch_does_not_matter(tmp_path):
    files = [picture(tmp_path, f"{i}.png", width=30 + i, seed=i)[0] for i in range(7)]
    model = described(network(tmp_path), size=[SIDE, SIDE])
    rows = [
        OnnxEmbedder(model=str(model), batch=batch, threads=threads).embed(files)
        for batch, threads in ((1, 1), (3, 4))
    ]
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows[0], axis=1), 1, atol=1e-5)


def test_fitting_keeps_the_aspect_where_asked(tmp_path):
    file, pixels = picture(tmp_path, width=3 * SIDE)
    middle, _ = picture(tmp_path, "b.png")
    cv2.imwrite(middle, np.ascontiguousarray(pixels[:, SIDE : 2 * SIDE, ::-1]))
    crop = made(tmp_path, fit="crop")
    np.testing.assert_allclose(crop.embed([file]), crop.embed([middle]), atol=1e-6)
    box = made(tmp_path, fit="letterbox").embed([file])
    assert np.abs(box - made(tmp_path).embed([file])).max() > 1e-3


def test_the_name_follows_model_and_manifest(tmp_path):
    first = made(tmp_path, mean=[0.5]).name
    assert first.startswith("onnx-tiny-")
    assert made(tmp_path, mean=[0.5]).name == first
    described(tmp_path / "tiny.onnx", mean=[0.5], size=[SIDE, SIDE], pooling="none")  # the default
    assert OnnxEmbedder(model=str(tmp_path / "tiny.onnx")).name == first
    assert made(tmp_path, mean=[0.4]).name != first
    network(tmp_path, weights=np.ones((CHANNELS, 3, 5, 5)))
    described(tmp_path / "tiny.onnx", mean=[0.5], size=[SIDE, SIDE])
    assert OnnxEmbedder(model=str(tmp_path / "tiny.onnx")).name != first


def test_weights_in_a_file_of_their_own_are_found_and_named(tmp_path):
    file, _ = picture(tmp_path)
    together = made(tmp_path, output="map", pooling="mean").embed([file])
    model = described(network(tmp_path, external=True), output="map", pooling="mean")
    apart = OnnxEmbedder(model=str(model))
    np.testing.assert_allclose(apart.embed([file]), together, atol=1e-6)
    before, data = apart.name, tmp_path / "tiny.onnx.data"
    data.write_bytes(data.read_bytes()[::-1])
    assert OnnxEmbedder(model=str(model)).name != before


@pytest.mark.parametrize("content", [b"", b"no model at all", None])
def test_a_corrupt_model_is_named(tmp_path, content):
    model = described(network(tmp_path), size=[SIDE, SIDE])
    model.write_bytes(model.read_bytes()[:-200] if content is None else content)
    with pytest.raises(InputError, match=r"tiny\.onnx is not an ONNX model") as caught:
        OnnxEmbedder(model=str(model)).embed([picture(tmp_path)[0]])
    assert "Export or copy it again" in caught.value.fix


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ({"input": "nobody"}, r"no input 'nobody'; its inputs are picture"),
        ({"output": "nobody"}, r"no tensor 'nobody'; its outputs are vector"),
        ({"size": [10, 10]}, r"size is 10 × 10, but the model fixes"),
        ({"layout": "NHWC"}, r"has 24 channels in the layout NHWC"),
        ({"channels": "GRAY"}, r"has 3 channels in the layout NCHW, but GRAY is 1"),
        ({"pooling": "mean"}, r"pooling 'mean' has nothing to pool in output 'vector'"),
        ({"colour": "RGB"}, r"unknown key 'colour'"),
        ({"size": [0, 24]}, r"size = \[0, 24\] is not \[width, height\]"),
        ({"std": [0]}, r"std = \[0\] is not one number for each channel, not 0"),
        ({"mean": [1, 2]}, r"mean = \[1, 2\]"),
        ({"mean": [float("nan")]}, r"mean = \[nan\]"),
        ({"divide": 0}, r"divide = 0 is not a number above 0"),
        ({"pooling": "average"}, r"'average' is not one of none, mean, max"),
        ({"unit": "yes"}, r"unit = 'yes' is not true or false"),
        ({"output": 3}, r"output = 3 is not the name of a tensor"),
    ],
)
def test_a_wrong_manifest_is_named(tmp_path, manifest, said):
    model = described(network(tmp_path), **manifest)
    with pytest.raises(SettingsError, match=said) as caught:
        OnnxEmbedder(model=str(model)).embed([picture(tmp_path)[0]])
    assert "tiny.json" in caught.value.problem
    assert caught.value.fix


@pytest.mark.parametrize("text", ["{", "[1]", "\ud800"])
def test_a_manifest_that_is_no_json_object_is_named(tmp_path, text):
    model = network(tmp_path)
    model.with_suffix(".json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(SettingsError, match=r"tiny\.json"):
        OnnxEmbedder(model=str(model))


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"gone\.onnx: there is no such model"):
        OnnxEmbedder(model=str(tmp_path / "gone.onnx"))
    with pytest.raises(SettingsError, match=r"tiny\.json: there is no such manifest"):
        OnnxEmbedder(model=str(network(tmp_path)))


def test_a_model_of_any_size_wants_one_said(tmp_path):
    model = described(network(tmp_path, side="s"))
    with pytest.raises(SettingsError, match="takes pictures of any size"):
        OnnxEmbedder(model=str(model)).embed([])


def test_a_picture_too_small_for_the_network_is_said(tmp_path):
    model = described(network(tmp_path, side="s"), size=[3, 3])
    with pytest.raises(InputError, match="fails on 1 pictures of 3 × 3"):
        OnnxEmbedder(model=str(model)).embed([picture(tmp_path)[0]])


def test_not_a_number_names_image_and_model(tmp_path):
    weights = np.full((CHANNELS, 3, 5, 5), 3e38)
    good, bad = tmp_path / "black.png", picture(tmp_path, "bright.png")[0]
    cv2.imwrite(str(good), np.zeros((SIDE, SIDE, 3), np.uint8))
    model = described(network(tmp_path, weights=weights), size=[SIDE, SIDE])
    with pytest.raises(VectorError, match=r"tiny\.onnx gives NaN or infinity for .*bright\.png"):
        OnnxEmbedder(model=str(model)).embed([str(good), bad])


@pytest.mark.parametrize("options", [{"batch": 0}, {"threads": 65}, {"device": "tpu"}])
def test_options_out_of_range_are_refused(tmp_path, options):
    model = described(network(tmp_path), size=[SIDE, SIDE])
    with pytest.raises(SettingsError, match="embedder 'onnx'"):
        OnnxEmbedder(model=str(model), **options)


def test_a_project_embeds_with_it_and_resumes(tmp_path, shapes):
    model = described(network(tmp_path), size=[SIDE, SIDE])
    source = Source(str(shapes / "images"), str(shapes / "labels.json"))
    Project.init(tmp_path / "project", source)
    toml = tmp_path / "project/annoloop.toml"
    text = toml.read_text().replace('embedder = "pixels" ', 'embedder = "onnx" ')
    toml.write_text(text + f'\n[embed.options]\nmodel = "{model}"\n')
    project = Project(tmp_path / "project")
    project.split()
    first = project.embed()
    assert first.embedder.startswith("onnx-tiny-")
    assert (first.width, first.embedded) == (CHANNELS, 60)
    assert Project(tmp_path / "project").embed().embedded == 0
