"""The embedder `timm` on its test models: few weights, saved here and loaded from a file."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from annoloop.adapters.timm import TimmEmbedder
from annoloop.errors import InputError, SettingsError, VectorError
from annoloop.testing_crops import CropEmbedderContract

WHERE = "no timm here: `make test-models`"
torch = pytest.importorskip("torch", reason=WHERE)
timm = pytest.importorskip("timm", reason=WHERE)

MODEL = "test_resnet"


def weights(folder, model=MODEL, seed=1, **options):
    torch.manual_seed(seed)
    file = folder / f"{model}-{seed}.pth"
    torch.save(timm.create_model(model, pretrained=False, **options).state_dict(), file)
    return str(file)


def picture(folder, name="a.png", seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / name), pixels[..., ::-1])
    return str(folder / name), pixels


class TestContract(CropEmbedderContract):
    @pytest.fixture
    def embedder(self, tmp_path: Path) -> TimmEmbedder:
        return TimmEmbedder(model="test_vit", weights=weights(tmp_path, "test_vit"))


def test_vectors_are_those_of_timm_itself(tmp_path):
    """With the classifier that published weights carry, which is of no use here."""
    file, pixels = picture(tmp_path)
    saved = weights(tmp_path, num_classes=7)
    network = timm.create_model(MODEL, pretrained=False, num_classes=7)
    network.load_state_dict(torch.load(saved, weights_only=True))
    network.reset_classifier(0)
    about = timm.data.resolve_model_data_config(network)
    values = (pixels / 255 - np.array(about["mean"])) / np.array(about["std"])
    given = torch.from_numpy(values.transpose(2, 0, 1)[None]).float()
    expected = network.eval()(given)[0].detach().numpy()
    row = TimmEmbedder(model=MODEL, weights=saved).embed([file])[0]
    np.testing.assert_allclose(row, expected / np.linalg.norm(expected), atol=1e-5)


def test_safetensors_and_torch_give_the_same(tmp_path):
    from safetensors.torch import save_file

    file, _ = picture(tmp_path)
    saved = weights(tmp_path)
    save_file(torch.load(saved, weights_only=True), str(tmp_path / "model.safetensors"))
    other = TimmEmbedder(model=MODEL, weights=str(tmp_path / "model.safetensors"))
    row = TimmEmbedder(model=MODEL, weights=saved).embed([file])
    np.testing.assert_array_equal(other.embed([file]), row)


def test_the_name_follows_weights_and_fit(tmp_path):
    first = TimmEmbedder(model=MODEL, weights=weights(tmp_path)).name
    assert first.startswith("timm-test_resnet-")
    assert TimmEmbedder(model=MODEL, weights=weights(tmp_path, seed=2)).name != first
    assert TimmEmbedder(model=MODEL, weights=weights(tmp_path), fit="crop").name != first
    assert "random" in TimmEmbedder(model=MODEL, random_weights=True).name


def test_random_weights_are_the_same_each_time_and_disturb_nothing(tmp_path):
    file, _ = picture(tmp_path)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    rows = [TimmEmbedder(model=MODEL, random_weights=True).embed([file]) for _ in range(2)]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_that_are_not_there_say_what_to_fetch(tmp_path):
    with pytest.raises(SettingsError, match="no weights are named for resnet50") as caught:
        TimmEmbedder(model="resnet50")
    assert "https://huggingface.co/timm/resnet50" in caught.value.fix
    for wrong in (str(tmp_path / "gone.pth"), "https://example.com/model.safetensors"):
        with pytest.raises(SettingsError, match="downloads nothing"):
            TimmEmbedder(model="resnet50", weights=wrong)


def test_weights_of_another_model_corrupt_or_dangerous_are_named(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "noise.pth").write_bytes(b"no weights")
    file, _ = picture(tmp_path)
    for name in ("evil.pth", "noise.pth"):
        with pytest.raises(InputError, match=f"{name} cannot be read as weights"):
            TimmEmbedder(model=MODEL, weights=str(tmp_path / name)).embed([file])
    assert not (tmp_path / "owned").exists()
    with pytest.raises(InputError, match=r"is not of test_vit: .* tensors are missing"):
        TimmEmbedder(model="test_vit", weights=weights(tmp_path)).embed([file])


def test_not_a_number_names_image_and_model(tmp_path):
    state = torch.load(weights(tmp_path), weights_only=True)
    worn = {k: v * float("nan") if v.is_floating_point() else v for k, v in state.items()}
    torch.save(worn, tmp_path / "worn.pth")
    file, _ = picture(tmp_path, "bright.png")
    with pytest.raises(VectorError, match=r"test_resnet of timm gives NaN .*bright\.png"):
        TimmEmbedder(model=MODEL, weights=str(tmp_path / "worn.pth")).embed([file])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "resnet5O"}, "timm has no model"),
        ({"batch": 0}, "batch = 0"),
        ({"threads": 99}, "threads = 99"),
        ({"fit": "squeeze"}, "fit = 'squeeze'"),
        ({"device": "gpu"}, "device = 'gpu'"),
        ({"weights": "w.pth"}, "exclude each other"),
    ],
)
def test_options_of_no_use_are_refused(tmp_path, options, said):
    file, _ = picture(tmp_path)
    with pytest.raises(SettingsError, match=said):
        TimmEmbedder(**({"model": MODEL, "random_weights": True} | options)).embed([file])
