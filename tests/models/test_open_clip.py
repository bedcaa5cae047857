"""The embedder `open_clip` on CLIPs of a few weights: made, saved and loaded here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from annoloop.adapters.open_clip.embedder import OpenClipEmbedder, described
from annoloop.errors import InputError, SettingsError, VectorError
from annoloop.project import Project
from annoloop.records import Source
from annoloop.testing_crops import CropEmbedderContract

WHERE = "no OpenCLIP here: `make test-models`"
torch = pytest.importorskip("torch", reason=WHERE)
open_clip = pytest.importorskip("open_clip", reason=WHERE)

TEXT = {"context_length": 8, "vocab_size": 32, "width": 16, "heads": 2, "layers": 1}
TINY = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
PIXELS = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25]}
TOWERS = {
    "vit": TINY,
    "resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64},
    "timm": {"timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear"}
    | {"image_size": 160},
}


def saved(folder, vision=TINY, *, seed=1, suffix="pt", pixels=PIXELS, beside=True, **more):
    """(file of random weights of a whole CLIP, the CLIP), with its configuration beside."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {"model_cfg": {"embed_dim": 24, "vision_cfg": vision, "text_cfg": TEXT, **more}}
    about["preprocess_cfg"] = pixels
    (folder / "open_clip_config.json").write_text(json.dumps(about))
    torch.manual_seed(seed)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False).eval()
    file = folder / f"open_clip_model.{suffix}"
    if suffix == "safetensors":
        from safetensors.torch import save_file

        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, str(file))
    else:
        state = {f"module.{k}": v for k, v in model.state_dict().items()}
        torch.save({"epoch": 3, "state_dict": state}, file)
    if not beside:
        (folder / "open_clip_config.json").unlink()
    return str(file), model


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """A tiny model in OpenCLIP's own list, for as long as the test."""
    from open_clip import factory

    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    file = tmp_path / "tiny-32.json"
    file.write_text(json.dumps({"embed_dim": 24, "vision_cfg": TINY, "text_cfg": TEXT}))
    open_clip.add_model_config(file)
    return "tiny-32"


def picture(folder, name="a.png", *, width=32, height=32, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / name), pixels[..., ::-1])
    return str(folder / name), pixels


def tensor(pixels, mean, std):
    values = (pixels / 255 - np.array(mean)) / np.array(std)
    return torch.from_numpy(values.transpose(2, 0, 1)[None]).float()


class TestContract(CropEmbedderContract):
    @pytest.fixture
    def embedder(self, tmp_path: Path) -> OpenClipEmbedder:
        return OpenClipEmbedder(weights=saved(tmp_path / "model")[0])


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("tower", list(TOWERS))
def test_vectors_are_those_of_open_clip_itself(tmp_path, tower, suffix):
    weights, model = saved(tmp_path / "m", TOWERS[tower], suffix=suffix, quick_gelu=True)
    side = TOWERS[tower]["image_size"]
    file, pixels = picture(tmp_path, width=side, height=side)
    with torch.inference_mode():
        given = tensor(pixels, PIXELS["mean"], PIXELS["std"])
        expected = model.encode_image(given, normalize=True)[0].numpy()
    row = OpenClipEmbedder(weights=weights).embed([file])[0]
    np.testing.assert_allclose(row, expected, atol=1e-5)
    assert row.shape == (24,)


def test_a_model_with_tokens_beside_its_vector_is_understood(tmp_path):
    """As the image halves of CoCa are."""
    vision = TINY | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
    weights, model = saved(tmp_path / "m", vision)
    file, pixels = picture(tmp_path)
    with torch.inference_mode():
        expected = model.visual(tensor(pixels, PIXELS["mean"], PIXELS["std"]))[0][0].numpy()
    row = OpenClipEmbedder(weights=weights).embed([file])[0]
    np.testing.assert_allclose(row, expected / np.linalg.norm(expected), atol=1e-5)


def test_a_model_of_the_list_has_the_pixels_of_clip(tmp_path, listed):
    weights, model = saved(tmp_path / "m", beside=False)
    file, pixels = picture(tmp_path)
    with torch.inference_mode():
        given = tensor(pixels, open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
        expected = model.encode_image(given, normalize=True)[0].numpy()
    row = OpenClipEmbedder(model=listed, weights=weights).embed([file])[0]
    np.testing.assert_allclose(row, expected, atol=1e-5)


def test_a_published_name_builds_with_the_pixels_and_activation_of_its_tag(tmp_path):
    """Real names with random weights; `openai` was trained with another activation than LAION's."""
    from annoloop.adapters.open_clip.recipe import recipe_of

    file = tmp_path / "w.pt"
    ours, theirs = (recipe_of("ViT-B-32", tag, file) for tag in ("laion2b_s34b_b79k", "openai"))
    assert (ours.quick_gelu, theirs.quick_gelu) == (False, True)
    assert recipe_of("ViT-B-16-SigLIP", None, file).mean == (0.5, 0.5, 0.5)
    assert recipe_of("MobileCLIP2-S0", None, file).std == (1.0, 1.0, 1.0)
    with pytest.raises(SettingsError, match="differ in pixels or activation") as caught:
        recipe_of("ViT-B-32", None, file)
    assert "laion2b_s34b_b79k" in caught.value.fix
    with pytest.raises(SettingsError, match="lists no weights 'laion2b_s34b'") as caught:
        recipe_of("ViT-B-32", "laion2b_s34b", file)
    assert "laion2b_s34b_b79k" in caught.value.fix


BUILT = """
import open_clip, sys
from annoloop.adapters.open_clip.recipe import recipe_of
from pathlib import Path
import torch
heard = []
def hook(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "urllib.Request"):
        heard.append((event, str(args[:2])))
sys.addaudithook(hook)
failed = []
for name in open_clip.list_models():
    tags = open_clip.list_pretrained_tags_by_model(name)
    recipe = recipe_of(name, tags[0] if tags else None, Path("nowhere/w.pt"))
    try:
        with torch.device("meta"):
            open_clip.model._build_vision_tower(recipe.width, recipe.vision, recipe.quick_gelu)
    except Exception as error:
        failed.append((name, str(error)[:200]))
print(heard, failed)
"""


@pytest.mark.long
def test_every_name_of_the_list_builds_without_the_network():
    done = subprocess.run(
        [sys.executable, "-c", BUILT], check=True, capture_output=True, text=True, timeout=600
    )
    assert done.stdout.strip() == "[] []"


OFFLINE = """
import sys
heard = []
def hook(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "urllib.Request", "subprocess.Popen"):
        local = event == "socket.connect" and not isinstance(args[1], tuple)
        if not local and "ldconfig" not in str(args[0]):
            heard.append((event, str(args[:2])))
sys.addaudithook(hook)
from annoloop.adapters.open_clip.embedder import OpenClipEmbedder
from annoloop.errors import SettingsError
for options in {options!r}:
    OpenClipEmbedder(**options).embed([{file!r}])
for name in ("ViT-B-32", "hf-hub:timm/ViT-B-16-SigLIP", "roberta-ViT-B-32"):
    try:
        OpenClipEmbedder(model=name, pretrained="openai")
    except SettingsError:
        continue
    heard.append(name)
print(heard)
"""


def test_nothing_is_fetched_sent_or_installed(tmp_path):
    """Nor is anything where the text half is one of Hugging Face, which OpenCLIP would fetch."""
    home = tmp_path / "home"
    home.mkdir()
    weights, _ = saved(tmp_path / "m")
    other, _ = saved(tmp_path / "timm", TOWERS["timm"], suffix="safetensors")
    about = json.loads((tmp_path / "m/open_clip_config.json").read_text())
    about["model_cfg"]["text_cfg"] = {"hf_model_name": "roberta-base", "hf_tokenizer_name": "x"}
    (tmp_path / "m/open_clip_config.json").write_text(json.dumps(about))
    file, _ = picture(tmp_path)
    code = OFFLINE.format(options=[{"weights": weights}, {"weights": other}], file=file)
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {"HOME": str(home)},
        cwd=tmp_path,
    )
    assert done.stdout.strip() == "[]"
    assert not [one for one in home.rglob("*") if one.is_file() and "numba" not in str(one)]


def test_the_batch_does_not_matter_and_rows_have_length_one(tmp_path):
    files = [picture(tmp_path, f"{i}.png", width=40 + i, seed=i)[0] for i in range(7)]
    weights, _ = saved(tmp_path / "m")
    one, many = (OpenClipEmbedder(weights=weights, batch=n).embed(files) for n in (1, 5))
    np.testing.assert_allclose(one, many, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(many, axis=1), 1, atol=1e-5)


def test_half_precision_says_nearly_the_same_and_gives_way_where_it_overflows(tmp_path):
    """As on a GPU, by the same calls."""
    _, model = saved(tmp_path / "m")
    given = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    full, half = (described(torch, model.visual, given, half=how) for how in (False, True))
    assert 0 < np.abs(full - half).max() < 0.01
    cosines = (full * half).sum(1) / np.linalg.norm(full, axis=1) / np.linalg.norm(half, axis=1)
    assert cosines.min() > 0.9999
    with torch.no_grad():
        model.visual.conv1.weight.mul_(1e6)
    full, half = (described(torch, model.visual, given, half=how) for how in (False, True))
    assert np.isfinite(half).all()
    np.testing.assert_array_equal(half, full)


def test_the_name_follows_weights_model_pixels_and_fit(tmp_path):
    weights, _ = saved(tmp_path / "some.clip")
    first = OpenClipEmbedder(weights=weights).name
    assert first.startswith("open_clip-some-clip-")
    assert OpenClipEmbedder(weights=weights).name == first
    assert OpenClipEmbedder(weights=weights, batch=3).name == first
    others = [
        OpenClipEmbedder(weights=weights, fit="crop").name,
        OpenClipEmbedder(weights=weights, model="ViT-B-32").name,
        OpenClipEmbedder(weights=weights, model="ViT-B-32", pretrained="openai").name,
        OpenClipEmbedder(weights=saved(tmp_path / "some.clip", seed=2)[0]).name,
        OpenClipEmbedder(weights=saved(tmp_path / "some.clip", pixels={})[0]).name,
    ]
    assert len({first, *others}) == 6


def test_weights_that_are_not_there_say_what_to_fetch_and_where_to_put_it(tmp_path):
    with pytest.raises(SettingsError, match="no weights are named for ViT-B-32") as caught:
        OpenClipEmbedder(model="ViT-B-32")
    assert "https://huggingface.co" in caught.value.fix
    assert "[embed.options]" in caught.value.fix
    weights, _ = saved(tmp_path / "m")
    for wrong in (
        {"weights": str(tmp_path / "gone.pt")},
        {"weights": "https://example.com/open_clip_model.safetensors"},
        {"weights": weights, "model": "hf-hub:timm/ViT-B-16-SigLIP"},
    ):
        with pytest.raises(SettingsError, match="downloads nothing"):
            OpenClipEmbedder(**wrong)


def test_weights_of_another_model_corrupt_or_dangerous_are_named(tmp_path, listed):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    file, _ = picture(tmp_path)
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "noise.safetensors").write_bytes(b"no weights")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "program.pt")
    for name in ("evil.pt", "noise.safetensors", "list.pt", "program.pt"):
        with pytest.raises(InputError, match=f"{name} cannot be read as weights"):
            OpenClipEmbedder(model=listed, weights=str(tmp_path / name)).embed([file])
    assert not (tmp_path / "owned").exists()
    weights, _ = saved(tmp_path / "m", TINY | {"width": 48}, beside=False)
    with pytest.raises(InputError, match=r"is not of tiny-32: .*first visual\."):
        OpenClipEmbedder(model=listed, weights=weights).embed([file])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("{", "is no configuration of OpenCLIP"),
        ("[]", "is no configuration of OpenCLIP"),
        ({"model_cfg": {"embed_dim": 24}}, "KeyError: 'vision_cfg'"),
        ({"preprocess_cfg": {"mean": [1, 2]}}, "mean is not three numbers"),
        ({"preprocess_cfg": {"std": ["a", 1, 2]}}, "could not convert"),
        ({"model_cfg": {"embed_dim": 24, "vision_cfg": {"layrs": 3}}}, "no image network"),
    ],
)
def test_a_broken_configuration_beside_is_named(tmp_path, change, said):
    weights, _ = saved(tmp_path / "m")
    beside = tmp_path / "m/open_clip_config.json"
    text = change if isinstance(change, str) else json.loads(beside.read_text()) | change
    beside.write_text(text if isinstance(text, str) else json.dumps(text))
    with pytest.raises(InputError, match=said) as caught:
        OpenClipEmbedder(weights=weights).embed([picture(tmp_path)[0]])
    assert "open_clip_config.json" in caught.value.problem


def test_without_a_configuration_the_model_has_to_be_named(tmp_path):
    weights, _ = saved(tmp_path / "m", beside=False)
    with pytest.raises(SettingsError, match="no model is named") as caught:
        OpenClipEmbedder(weights=weights).embed([picture(tmp_path)[0]])
    assert "model =" in caught.value.fix
    with pytest.raises(SettingsError, match="has no model 'ViT-B32'") as caught:
        OpenClipEmbedder(weights=weights, model="ViT-B32").embed([picture(tmp_path)[0]])
    assert "ViT-B-32" in caught.value.fix


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch": 0}, "batch = 0"),
        ({"batch": "many"}, "batch = 'many'"),
        ({"threads": 99}, "threads = 99"),
        ({"fit": "squeeze"}, "fit = 'squeeze'"),
        ({"device": "gpu"}, "device = 'gpu'"),
    ],
)
def test_options_of_no_use_are_refused(tmp_path, options, said):
    weights, _ = saved(tmp_path / "m")
    with pytest.raises(SettingsError, match=said):
        OpenClipEmbedder(weights=weights, **options).embed([picture(tmp_path)[0]])


def test_not_a_number_names_image_and_model(tmp_path):
    weights, model = saved(tmp_path / "m")
    state = {k: v * float("nan") for k, v in model.state_dict().items()}
    torch.save(state, weights)
    file, _ = picture(tmp_path, "bright.png")
    with pytest.raises(VectorError, match=r"of OpenCLIP gives NaN .*bright\.png"):
        OpenClipEmbedder(weights=weights).embed([file])


def test_a_project_embeds_with_it_and_resumes(tmp_path, shapes):
    weights, _ = saved(tmp_path / "clip")
    source = Source(str(shapes / "images"), str(shapes / "labels.json"))
    Project.init(tmp_path / "project", source)
    toml = tmp_path / "project/annoloop.toml"
    text = toml.read_text().replace('embedder = "pixels" ', 'embedder = "open_clip" ')
    toml.write_text(text + f'\n[embed.options]\nweights = "{weights}"\n')
    project = Project(tmp_path / "project")
    project.split()
    first = project.embed()
    assert first.embedder.startswith("open_clip-clip-")
    assert (first.width, first.embedded) == (24, 60)
    assert first.images_per_second > 1
    assert Project(tmp_path / "project").embed().embedded == 0
