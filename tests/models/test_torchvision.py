"""The trainer `torchvision` on its smallest networks, trained for real on a few drawn images."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from annoloop.adapters.torchvision.trainer import TorchvisionTrainer
from annoloop.errors import InputError, SettingsError, TrainerError
from annoloop.ports import silent
from annoloop.records import Label, LabeledImage
from annoloop.testing_kits import TrainerContract

WHERE = "no TorchVision here: `make test-models`"
torch = pytest.importorskip("torch", reason=WHERE)
torchvision = pytest.importorskip("torchvision", reason=WHERE)

SMALL = "ssdlite320_mobilenet_v3_large"
SHAPES = ("square", "disc")


def draw(folder, count=8, side=96):
    """One big shape an image, and the last without any; squares are dark, discs are bright."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        pixels = rng.integers(60, 110, (side, side, 3), dtype=np.uint8)
        x, y = (int(value) for value in rng.integers(4, side - 56, 2))
        kind = number % 2
        if number == count - 1:
            labels = ()
        elif kind:
            cv2.circle(pixels, (x + 24, y + 24), 24, (250, 250, 250), -1)
            labels = (Label(kind, (x, y, 48, 48)),)
        else:
            cv2.rectangle(pixels, (x, y), (x + 48, y + 48), (10, 10, 10), -1)
            labels = (Label(kind, (x, y, 48, 48)),)
        file = folder / f"{number}.png"
        cv2.imwrite(str(file), pixels)
        made.append(LabeledImage(f"id{number}", file.name, str(file), side, side, labels, True))
    return made


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"))


def small(**options):
    chosen = {"model": SMALL, "epochs": 1, "batch": 4, "holdout": 0, "flip": False}
    return TorchvisionTrainer(**(chosen | options))


def fit(trainer, images, folder, *, classes=SHAPES, seed=7, progress=silent):
    return trainer.fit(images, classes=classes, folder=folder, seed=seed, progress=progress)


def predict(trainer, images, folder, classes=SHAPES):
    return list(trainer.predict(folder, images, classes=classes, progress=silent))


def overlap(a, b):
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(across, 0) * max(down, 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


class TestContract(TrainerContract):
    IMAGES = 12

    @pytest.fixture
    def trainer(self):
        return small(holdout=0.2)


def test_it_learns_where_things_are_and_what(images, tmp_path):
    """FCOS, from scratch, by heart: boxes and the one class that has any come back."""
    things = [
        replace(image, labels=tuple(replace(label, class_id=1) for label in image.labels))
        for image in images
    ]
    trainer = small(model="fcos_resnet50_fpn", epochs=20, side=96, learning_rate=7e-4)
    card = fit(trainer, things, tmp_path / "m", seed=1)
    assert card.details["images_per_second"] > 0
    found = dict(predict(trainer, things, tmp_path / "m"))
    shown = [(found[image.sample_id][0], image.labels[0]) for image in things if image.labels]
    assert np.mean([overlap(one.box, label.box) for one, label in shown]) > 0.5
    assert {one.class_id for one, _ in shown} == {1}


@pytest.mark.parametrize("model", ["retinanet_resnet50_fpn", "fasterrcnn_mobilenet_v3_large_fpn"])
def test_other_families_train_and_predict(images, tmp_path, model):
    trainer = small(model=model, side=64)
    fit(trainer, [images[0], images[1], images[-1]], tmp_path / "m")
    found = predict(trainer, images[:2], tmp_path / "m")
    assert [key for key, _ in found] == ["id0", "id1"]
    assert {one.class_id for _, rows in found for one in rows} <= {0, 1}


def test_mirrored_images_carry_mirrored_boxes(images):
    from annoloop.adapters.torchvision.learning import _example, pixels

    image = images[0]
    plain, target = _example(torch, pixels(image), image, flip=False, device="cpu")
    turned, other = _example(torch, pixels(image), image, flip=True, device="cpu")
    assert torch.equal(turned, plain.flip(2))
    x1, y1, x2, y2 = target["boxes"][0].tolist()
    assert other["boxes"][0].tolist() == [96 - x2, y1, 96 - x1, y2]
    assert plain[:, int(y1) + 5, int(x1) + 5].max() < 0.1, "the dark square is where its box is"
    assert turned[:, int(y1) + 5, int(96 - x2) + 5].max() < 0.1
    crowd = replace(image, labels=(replace(image.labels[0], crowd=True),))
    assert _example(torch, pixels(crowd), crowd, flip=False, device="cpu")[1]["boxes"].shape == (
        0,
        4,
    )


def test_the_folder_holds_the_model_and_what_it_was_made_of(images, tmp_path):
    heard = []
    card = fit(small(), images, tmp_path / "m", progress=lambda *one: heard.append(one[2]))
    assert sorted(file.name for file in (tmp_path / "m").iterdir()) == ["manifest.json", "model.pt"]
    assert "training epoch 1, batch 2 of 2" in heard
    assert card.details["peak_process_mib"] > 100
    assert f"trained from scratch ({SMALL})" in card.details["notes"]
    manifest = json.loads((tmp_path / "m/manifest.json").read_text())
    assert manifest["classes"] == list(SHAPES)
    assert manifest["trained_on"]["images"] == 8
    (tmp_path / "m/model.pt").write_bytes(b"other")
    with pytest.raises(TrainerError, match="is not what was trained"):
        predict(small(), images, tmp_path / "m")


def test_weights_of_other_classes_are_transferred_and_it_is_said(images, tmp_path):
    fit(small(), images, tmp_path / "m")
    weights = str(tmp_path / "m/model.pt")
    names = (*SHAPES, "ghost")
    card = fit(small(weights=weights), images, tmp_path / "n", classes=names)
    record = card.details["initial"]
    assert record["weights"] == "model.pt"
    assert record["of"] * 0.9 < record["tensors"] < record["of"]
    assert "what tells classes apart" in card.details["notes"][0]
    assert card.details["boxes_by_class"]["ghost"] == 0
    with pytest.raises(TrainerError, match="of another architecture"):
        fit(small(model="fcos_resnet50_fpn", weights=weights, side=64), images, tmp_path / "o")
    with pytest.raises(TrainerError, match="was trained for the classes"):
        predict(small(), images, tmp_path / "n")


def test_weights_of_a_backbone_are_transferred(images, tmp_path):
    """As ImageNet's are published: the same names without a prefix, with a classifier behind."""
    body = torchvision.models.mobilenet_v3_large(weights=None).features
    state = {key: torch.full_like(value, 0.01) for key, value in body.state_dict().items()}
    torch.save(state | {"classifier.0.weight": torch.zeros(3)}, tmp_path / "imagenet.pth")
    from annoloop.adapters.torchvision.network import TorchvisionOptions, build, take_weights

    network = build(TorchvisionOptions("fasterrcnn_mobilenet_v3_large_320_fpn"), 2)
    record, note = take_weights(torch, network, tmp_path / "imagenet.pth")
    assert "of the backbone" in note
    assert record["tensors"] == record["of"]
    assert network.backbone.body["0"][0].weight.mean().item() == pytest.approx(0.01)


def test_it_goes_on_from_the_newest_model_only_where_told(images, tmp_path):
    told = small(continue_from="newest")
    first = fit(told, images, tmp_path / "v0")
    assert first.details["initial"] == {"architecture": SMALL}
    second = fit(told, images, tmp_path / "v1")
    assert second.details["initial"]["continues"] == str(tmp_path / "v0")
    assert second.details["initial"]["tensors"] == second.details["initial"]["of"]


def test_it_stops_early_by_images_held_out_of_the_training_set(images, tmp_path):
    many = [replace(image, sample_id=f"{image.sample_id}-{n}") for image in images for n in (1, 2)]
    trainer = small(epochs=9, patience=1, holdout=0.3, learning_rate=0.0)
    card = fit(trainer, many, tmp_path / "m")
    assert card.details["stopped_early"]
    assert card.details["epochs"] < 9
    assert 0 < card.details["held_out"] < 10
    assert "held_out_ap50" in card.details


KILLED = """
import os, signal
from pathlib import Path
from annoloop.adapters.torchvision.trainer import TorchvisionTrainer
from annoloop.records import Label, LabeledImage

def progress(done, total, what):
    if done == 1 and "batch 2" in what:
        os.kill(os.getpid(), signal.SIGKILL)

TorchvisionTrainer(**{options!r}).fit(
    {images!r}, classes={classes!r}, folder=Path({folder!r}), seed=7, progress=progress
)
"""


def test_a_killed_training_ends_as_if_it_had_not_been(images, tmp_path):
    options = {"model": SMALL, "epochs": 2, "batch": 4, "holdout": 0}
    code = KILLED.format(options=options, images=images, classes=SHAPES, folder=str(tmp_path / "m"))
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    part = tmp_path / "part"
    part.mkdir()
    for file in (tmp_path / "m").rglob("*"):
        if file.is_file():
            (part / file.relative_to(tmp_path / "m")).parent.mkdir(parents=True, exist_ok=True)
            (part / file.relative_to(tmp_path / "m")).write_bytes(file.read_bytes())
    card = fit(TorchvisionTrainer(**options), images, tmp_path / "m")
    assert card.details["resumed_at_epoch"] == 1
    whole = fit(TorchvisionTrainer(**options), images, tmp_path / "undisturbed")
    assert "resumed_at_epoch" not in whole.details
    ours, theirs = (
        torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("m", "undisturbed")
    )
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    other = fit(TorchvisionTrainer(**options), images[1:], part)
    assert "resumed_at_epoch" not in other.details, "another training set begins anew"


def test_weights_that_are_not_there_say_what_to_fetch_and_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for weights in ("coco.pth", "https://download.pytorch.org/models/coco.pth"):
        with pytest.raises(SettingsError, match="downloads nothing") as caught:
            small(weights=weights)
        assert str(tmp_path / "coco.pth") in caught.value.problem
        assert "Fetch coco.pth yourself" in caught.value.fix


def test_corrupt_and_dangerous_weights_are_named(images, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "noise.pth").write_bytes(b"no weights")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("evil.pth", "noise.pth", "list.pth"):
        with pytest.raises(TrainerError, match=f"{name} cannot be read as weights"):
            fit(small(weights=str(tmp_path / name)), images, tmp_path / "m")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "fasterrcnn_resnet51_fpn"}, "there is no detector"),
        ({"model": "resnet50"}, "there is no detector"),
        ({"arguments": {"num_classes": 3}}, "num_classes is set by annoloop"),
        ({"learning_rate": 7}, "learning_rate = 7"),
        ({"epochs": 0}, "epochs = 0"),
        ({"arguments": {"topk_candidate": 1}}, "does not take topk_candidate"),
    ],
)
def test_options_of_no_use_are_refused(images, tmp_path, options, said):
    with pytest.raises(SettingsError, match=said) as caught:
        fit(small(**options), images, tmp_path / "m")
    assert caught.value.fix


def test_a_broken_or_changed_image_is_named(images, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    bad = replace(images[0], file=str(tmp_path / "broken.jpg"))
    with pytest.raises(InputError, match=r"broken\.jpg"):
        fit(small(), [bad, *images[1:4]], tmp_path / "m")
    with pytest.raises(TrainerError, match="were recorded"):
        fit(small(), [replace(images[0], width=97), *images[1:4]], tmp_path / "m")


def test_a_loss_that_is_not_finite_is_said(images, tmp_path):
    fit(small(), images, tmp_path / "m")
    state = torch.load(tmp_path / "m/model.pt", weights_only=True)
    worn = {key: value * float("nan") for key, value in state.items() if value.is_floating_point()}
    torch.save(state | worn, tmp_path / "worn.pth")
    with pytest.raises(TrainerError, match="the loss is nan in epoch 1") as caught:
        fit(small(weights=str(tmp_path / "worn.pth")), images, tmp_path / "n")
    assert "learning_rate" in caught.value.fix


def test_half_the_batch_is_taken_until_the_memory_is_enough():
    """By the errors that PyTorch and NumPy really raise."""
    from annoloop.networks import shrinking

    said = []

    def needs(batch):
        torch.empty(batch // 4 * 10**16)
        np.empty(batch // 2 * 10**16)
        return batch

    assert shrinking(8, needs, said.append) == 1
    assert [text.split(" (")[0] for text in said] == [
        f"out of memory with {batch} images at once" for batch in (8, 4, 2)
    ]
    with pytest.raises(TrainerError, match="with one image at once"):
        shrinking(2, lambda batch: torch.empty(batch * 10**16), said.append)
    with pytest.raises(RuntimeError, match="size"):
        shrinking(2, lambda batch: torch.empty(2) @ torch.empty(3), said.append)
