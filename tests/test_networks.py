"""What trainers of networks share, without a network."""

import functools
import json
import os
import sys

import pytest

from annoloop import plugins
from annoloop.errors import DependencyError, SettingsError, TrainerError
from annoloop.networks import (
    MANIFEST,
    STATE,
    NetworkOptions,
    detections,
    digest_images,
    earlier_model,
    is_out_of_memory,
    read_manifest,
    resumable,
    shrinking,
    write_manifest,
)
from annoloop.ports import silent
from annoloop.records import Label, LabeledImage

FORM = "annoloop-test-1"


def image(folder, name="a", content=b"x", labels=()):
    file = folder / name
    file.write_bytes(content)
    return LabeledImage(name, name, str(file), 40, 30, labels, True)


def model(folder, **about):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.pt").write_bytes(b"weights")
    write_manifest(folder, form=FORM, weights="model.pt", about={"classes": ["cat"]} | about)
    return folder


@pytest.mark.parametrize(
    ("kind", "name", "module", "options"),
    [
        ("trainers", "ultralytics", "ultralytics", {"model": "yolo11n.yaml"}),
        ("trainers", "torchvision", "torch", {"model": "fcos_resnet50_fpn"}),
        ("embedders", "timm", "torch", {"model": "resnet18", "random_weights": True}),
        ("embedders", "onnx", "onnxruntime", {"model": "m.onnx"}),
        ("embedders", "open_clip", "open_clip", {"model": "ViT-B-32", "weights": "m.onnx"}),
    ],
)
def test_a_missing_sdk_gives_the_install_line(tmp_path, monkeypatch, kind, name, module, options):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "m.onnx").write_bytes(b"")
    (tmp_path / "m.json").write_text("{}")
    made = plugins.make(kind, name, options)
    some = [image(tmp_path, "a.png", labels=(Label(0, (1, 2, 3, 14)),))] * 2
    how = {"classes": ("cat",), "folder": tmp_path / "m", "seed": 0, "progress": silent}
    begin = made.embed if kind == "embedders" else functools.partial(made.fit, **how)
    with pytest.raises(DependencyError) as caught:
        begin(["a"] if kind == "embedders" else some)
    assert f"pip install 'annoloop[{name}]'" in caught.value.fix


def test_a_whole_model_is_read_and_any_other_is_refused(tmp_path):
    folder = model(tmp_path / "v0", seed=3)
    assert read_manifest(folder, form=FORM, classes=("cat",))["seed"] == 3
    for change, said in (
        (lambda: (folder / "model.pt").write_bytes(b"other"), "is not what was trained"),
        (lambda: (folder / "model.pt").unlink(), "holds no whole model"),
        (lambda: (folder / MANIFEST).write_text("{"), "holds no whole model"),
        (lambda: (folder / MANIFEST).write_text("[]"), "is not of the format"),
        (lambda: (folder / MANIFEST).unlink(), "holds no whole model"),
    ):
        model(tmp_path / "v0")
        change()
        with pytest.raises(TrainerError, match=said) as caught:
            read_manifest(folder, form=FORM, classes=("cat",))
        assert caught.value.fix
    model(tmp_path / "v0")
    with pytest.raises(TrainerError, match="was trained for the classes"):
        read_manifest(folder, form=FORM, classes=("cat", "dog"))
    with pytest.raises(TrainerError, match="is not of the format"):
        read_manifest(folder, form="annoloop-other-1", classes=("cat",))


def test_only_the_same_training_is_gone_on_with(tmp_path):
    folder = tmp_path / "m"
    assert not resumable(folder, "one")
    (folder / "run").mkdir()
    (folder / "run" / "last.pt").write_bytes(b"x")
    assert resumable(folder, "one")
    assert (folder / "run" / "last.pt").exists()
    assert not resumable(folder, "two")
    assert [file.name for file in folder.iterdir()] == [STATE]
    model(folder)
    assert not (folder / STATE).exists(), "a finished model is not gone on with"


def test_the_newest_model_of_the_trainer_is_found(tmp_path):
    here = tmp_path / ".v2.part"
    assert earlier_model("newest", here, form=FORM, classes=("cat",)) is None
    for number, name in enumerate(("v0", "v1")):
        os.utime(model(tmp_path / name) / MANIFEST, (number, number))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / MANIFEST).write_text(json.dumps({"format": "annoloop-classical-1"}))
    assert earlier_model("newest", here, form=FORM, classes=("cat",)) == tmp_path / "v1"
    named = str(tmp_path / "v0")
    assert earlier_model(named, here, form=FORM, classes=("cat",)) == tmp_path / "v0"


def test_what_is_trained_on_has_a_hash(tmp_path):
    one = image(tmp_path, labels=(Label(0, (1, 2, 3, 4)),))
    first = digest_images([one])
    assert digest_images([image(tmp_path, labels=(Label(0, (1, 2, 3, 4)),))]) == first
    assert digest_images([image(tmp_path, labels=(Label(0, (1, 2, 3, 5)),))]) != first
    assert digest_images([image(tmp_path, content=b"y", labels=one.labels)]) != first


def test_boxes_are_cut_at_the_border_and_those_that_count_are_kept(tmp_path):
    rows = [
        (0, 0.2, [-5.0, 1.0, 10.0, 40.0]),
        (1, 0.9, [5.0, 5.0, 9.0, 9.0]),
        (1, 0.001, [5.0, 5.0, 9.0, 9.0]),
        (1, 0.5, [50.0, 5.0, 60.0, 9.0]),
        (1, float("nan"), [5.0, 5.0, 9.0, 9.0]),
        (0, 0.5, [float("nan"), 5.0, 9.0, 9.0]),
    ]
    found = detections(rows, image(tmp_path))
    assert [(one.class_id, one.score, one.box) for one in found] == [
        (1, 0.9, (5, 5, 4, 4)),
        (0, 0.2, (0, 1, 10, 29)),
    ]
    assert len(detections([rows[1]] * 300, image(tmp_path))) == 100


def test_the_batch_shrinks_only_where_memory_is_what_fails():
    said = []

    def needs(batch):
        if batch > 2:
            raise MemoryError(f"{batch} images")
        return batch

    assert shrinking(16, needs, said.append) == 2
    assert [text.split(" (")[0] for text in said] == [
        f"out of memory with {batch} images at once" for batch in (16, 8, 4)
    ]
    with pytest.raises(ZeroDivisionError):
        shrinking(4, lambda batch: batch / 0, said.append)


def test_onednn_out_of_memory_is_recognized():
    """It gives no reason (seen in training under a memory limit); fewer images then help."""
    assert is_out_of_memory(RuntimeError("could not create a primitive"))
    assert not is_out_of_memory(RuntimeError("could not create a folder"))


def test_options_have_bounds():
    NetworkOptions("m").check("test")
    with pytest.raises(SettingsError, match="trainer 'test': holdout = 1"):
        NetworkOptions("m", holdout=1).check("test")
    with pytest.raises(SettingsError, match="epochs = True"):
        NetworkOptions("m", epochs=True).check("test")
