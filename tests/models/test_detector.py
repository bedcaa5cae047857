"""The embedder `detector` by real networks, small and trained here for seconds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from annoloop.adapters.detector import DetectorEmbedder
from annoloop.adapters.torchvision.trainer import TorchvisionTrainer
from annoloop.adapters.ultralytics.trainer import UltralyticsTrainer
from annoloop.errors import TrainerError, VectorError
from annoloop.ports import silent
from annoloop.project import Project
from annoloop.records import Source
from annoloop.testing import CLASSES, labeled_digits, make_digits
from annoloop.testing_crops import CropEmbedderContract

WHERE = "no networks here: `make test-models`"
torch = pytest.importorskip("torch", reason=WHERE)
pytest.importorskip("ultralytics", reason=WHERE)
pytest.importorskip("torchvision", reason=WHERE)

TINY = """
nc: 80
backbone:
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, Conv, [48, 3, 2]]
  - [-1, 1, C3k2, [64, False]]
  - [-1, 1, Conv, [64, 3, 2]]
head:
  - [[3, 4], 1, Detect, [nc]]
"""
TINY_RTDETR = """
nc: 80
backbone:
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
head:
  - [[2, 3], 1, RTDETRDecoder, [nc, 32, 60, 4, 4, 1]]
"""
SHARP = {"optimizer": "AdamW", "lr0": 0.005, "lrf": 1.0, "warmup_epochs": 0, "nbs": 8}
SHARP |= dict.fromkeys(("mosaic", "close_mosaic", "fliplr", "scale", "translate"), 0)
SHARP |= dict.fromkeys(("hsv_h", "hsv_s", "hsv_v"), 0)
NAMES = ("ultralytics", "torchvision")


@pytest.fixture(scope="session")
def room(tmp_path_factory):
    """Sixty images of digits, and a model of each trainer that was shown them."""
    root = tmp_path_factory.mktemp("detector")
    (root / "tiny.yaml").write_text(TINY)
    (root / "tiny-rtdetr.yaml").write_text(TINY_RTDETR)
    images = labeled_digits(make_digits(root / "digits", images=60, seed=2))
    for name in NAMES:
        train(trainer(root, name), images, root / name)
    return root


def trainer(root, name, **more):
    if name == "torchvision":
        options = {"model": "fcos_resnet50_fpn", "side": 96, "epochs": 2, "learning_rate": 7e-4}
        return TorchvisionTrainer(**(options | {"batch": 8, "holdout": 0, "flip": False} | more))
    options = {"model": str(root / "tiny.yaml"), "side": 160, "epochs": 30, "batch": 8}
    return UltralyticsTrainer(**(options | {"holdout": 0, "arguments": SHARP} | more))


def train(made, images, folder, *, seed=7):
    made.fit(images, classes=CLASSES, folder=folder, seed=seed, progress=silent)


def bound(root, name, folder=None):
    of = DetectorEmbedder().of
    return of(trainer(root, name), folder or root / name, classes=CLASSES)


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    """Images that no model was shown."""
    root = tmp_path_factory.mktemp("fresh")
    return labeled_digits(make_digits(root / "digits", images=70, seed=9))


class TestContractUltralytics(CropEmbedderContract):
    @pytest.fixture
    def embedder(self, room):
        return bound(room, "ultralytics")


class TestContractTorchvision(CropEmbedderContract):
    @pytest.fixture
    def embedder(self, room):
        return bound(room, "torchvision")


@pytest.mark.parametrize("name", NAMES)
def test_an_image_has_one_vector_whatever_stands_beside_it(room, fresh, name):
    """However many go through the network at once, in whichever order, of whichever size."""
    from annoloop import features

    files = [image.file for image in fresh[:9]]
    alone = np.concatenate([bound(room, name).embed([file]) for file in files])
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-5)
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        for many in (2, 5):
            for where in ("ultralytics", "torchvision"):
                patch.setattr(f"annoloop.adapters.{where}.trainer.at_once", lambda _, n=many: n)
            order = rng.permutation(len(files))
            rows = bound(room, name).embed([files[i] for i in order])
            np.testing.assert_allclose(rows, alone[order], atol=1e-5, rtol=0)
    assert features.at_once("cuda:0") > features.at_once("cpu")


@pytest.mark.parametrize("name", NAMES)
def test_predicting_first_changes_nothing(room, fresh, name):
    """Ultralytics fuses its layers when it predicts."""
    made = trainer(room, name)
    files = [image.file for image in fresh[:4]]
    before = DetectorEmbedder().of(made, room / name, classes=CLASSES).embed(files)
    found = list(made.predict(room / name, fresh[:4], classes=CLASSES, progress=silent))
    after = DetectorEmbedder().of(made, room / name, classes=CLASSES).embed(files)
    np.testing.assert_allclose(after, before, atol=1e-5)
    again = trainer(room, name).predict(room / name, fresh[:4], classes=CLASSES, progress=silent)
    for (_, ours), (_, theirs) in zip(found, again, strict=True):
        assert [one.class_id for one in ours] == [one.class_id for one in theirs]
        for a, b in zip(ours, theirs, strict=True):
            assert (*a.box, a.score) == pytest.approx((*b.box, b.score), abs=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_regions_of_a_class_look_alike(room, fresh, name):
    """Nearest neighbours among digits on other images, by regions of the maps."""
    purity, chance = region_purity(bound(room, name), fresh)
    assert purity > {"ultralytics": 1.4, "torchvision": 1.2}[name] * chance


def region_purity(embedder, images):
    """(share of regions whose nearest on another image shows the same class, that of chance)."""
    shown = [image for image in images if image.labels]
    boxes = [[label.box for label in image.labels] for image in shown]
    rows = embedder.embed_crops([image.file for image in shown], boxes)
    classes = np.array([label.class_id for image in shown for label in image.labels])
    owner = np.repeat(np.arange(len(shown)), [len(some) for some in boxes])
    similar = rows @ rows.T
    similar[owner[:, None] == owner] = -np.inf
    pure = classes[similar.argmax(axis=1)] == classes
    return pure.mean(), np.mean([np.mean(classes == one) for one in classes])


@pytest.mark.parametrize("name", NAMES)
def test_a_region_lies_where_its_box_is(room, fresh, tmp_path, name):
    """On an image that is changed in one corner, it is there that regions change, and little
    elsewhere: the network looks beyond a box, but not across an image."""
    import cv2

    image = cv2.imread(fresh[0].file)
    height, width = image.shape[:2]
    changed = image.copy()
    changed[: height // 4, : width // 4] = 255 - changed[: height // 4, : width // 4]
    cv2.imwrite(str(tmp_path / "a.png"), image)
    cv2.imwrite(str(tmp_path / "b.png"), changed)
    near = (0, 0, width // 4, height // 4)
    far = (width * 3 // 4, height * 3 // 4, width // 4, height // 4)
    files = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    rows = bound(room, name).embed_crops(files, [[near, far], [near, far]])
    moved = np.linalg.norm(rows[0] - rows[2]), np.linalg.norm(rows[1] - rows[3])
    assert moved[0] > 1.3 * moved[1]


def test_maps_of_a_wide_image_are_where_the_letterbox_puts_it(room, tmp_path):
    """A square in the middle of a wide image is in the middle of what the network is shown."""
    from annoloop.adapters.ultralytics.sight import _placed

    network = torch.nn.Module()
    network.stride = torch.tensor([8.0, 32.0])
    pictures = np.zeros((1, 50, 200, 3), np.uint8)
    pictures[0, 20:30, 95:105] = 255
    (tall, wide), scale, (left, top), ready = _placed(pictures, 160, network, stretched=False)
    assert (tall, wide) == (64, 160)
    x, y = 95 * scale[0] + left, 20 * scale[1] + top
    bright = np.argwhere(ready[0, :, :, 0] > 150)
    assert (x, y) == pytest.approx(bright.min(axis=0)[::-1], abs=1)
    ends = 105 * scale[0] + left, 30 * scale[1] + top
    assert ends == pytest.approx(bright.max(axis=0)[::-1] + 1, abs=1)
    shape, scale, _, _ = _placed(pictures, 160, network, stretched=True)
    assert (shape, scale) == ((160, 160), (0.8, 3.2))


def test_what_ultralytics_itself_is_shown_is_what_we_show(room, fresh, monkeypatch):
    """The tensor that goes into the network, ours and that of its own prediction."""
    from ultralytics import YOLO
    from ultralytics.engine.predictor import BasePredictor

    from annoloop.adapters.ultralytics import sight

    shown = []
    real = BasePredictor.preprocess
    monkeypatch.setattr(
        BasePredictor, "preprocess", lambda s, im: shown.append(real(s, im)) or shown[-1]
    )
    made = trainer(room, "ultralytics")
    list(made.predict(room / "ultralytics", fresh[:3], classes=CLASSES, progress=silent))
    network = YOLO(str(room / "ultralytics/model.pt")).model.eval()
    from annoloop.images import read_rgb

    for theirs, image in zip(shown[-3:], fresh[:3], strict=True):
        *_, ready = sight._placed(read_rgb(image.file)[None], 160, network, stretched=False)
        ours = torch.from_numpy(ready.transpose(0, 3, 1, 2).copy()).float() / 255
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_the_name_follows_the_model(room, fresh, tmp_path, name):
    first = bound(room, name).name
    stem = {"ultralytics": "tiny", "torchvision": "fcos-resnet50-fpn"}[name]
    assert first.startswith(f"detector-{name}-{stem}-")
    assert bound(room, name).name == first
    train(trainer(room, name, epochs=1), fresh[:8], tmp_path / "m")
    assert bound(room, name, tmp_path / "m").name != first
    weights = tmp_path / "m/model.pt"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(TrainerError, match="is not what was trained"):
        _ = bound(room, name, tmp_path / "m").name


def test_rtdetr_and_other_families_have_features(room, fresh, tmp_path):
    arguments = {"optimizer": "AdamW", "lr0": 0.001, "amp": False, "mosaic": 0}
    made = trainer(room, "ultralytics", model=str(room / "tiny-rtdetr.yaml"), side=96, epochs=1)
    made = replace_arguments(made, arguments)
    files = [image.file for image in fresh[:3]]
    train(made, fresh[:16], tmp_path / "rtdetr")
    rows = made.features(tmp_path / "rtdetr", files, classes=CLASSES)
    assert rows.shape == (3, 32 + 32)
    for model in ("ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_fpn"):
        made = trainer(room, "torchvision", model=model, side=64, epochs=1, batch=4)
        train(made, fresh[:4], tmp_path / model)
        rows = made.features(tmp_path / model, files, classes=CLASSES)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def replace_arguments(made, arguments):
    made._options = replace(made._options, arguments=arguments)
    return made


def test_not_a_number_names_the_image(room, fresh, tmp_path):
    train(trainer(room, "torchvision", epochs=1), fresh[:8], tmp_path / "m")
    state = torch.load(tmp_path / "m/model.pt", weights_only=True)
    worn = {k: v * float("nan") if v.is_floating_point() else v for k, v in state.items()}
    torch.save(worn, tmp_path / "m/model.pt")
    from annoloop.networks import digest_file

    manifest = json.loads((tmp_path / "m/manifest.json").read_text())
    manifest["blake2b"] = digest_file(tmp_path / "m/model.pt")
    (tmp_path / "m/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(VectorError, match=f"NaN or infinity for .*{Path(fresh[1].file).name}"):
        bound(room, "torchvision", tmp_path / "m").embed([fresh[1].file])


def test_a_loop_by_the_vectors_of_its_network(room, tmp_path):
    """v0 by pixels, a network, v1 by what it sees; then another network, and all vectors anew."""
    digits = room / "digits"
    source = Source(str(digits / "images"), str(digits / "labels.json"))
    Project.init(tmp_path / "project", source, group="folder")
    options = {"model": str(room / "tiny.yaml"), "side": 160, "epochs": 8, "holdout": 0}
    own = {
        "embed": {"embedder": "detector", "first": "pixels"},
        "train": {"trainer": "ultralytics", "options": options | {"arguments": SHARP}},
        "select": {"look_at": "objects"},
    }
    project = Project(tmp_path / "project", overrides=own)
    project.run(iterations=2, annotator="oracle")
    project.select(5)
    names = [project.batch_show(f"v{number}").embedder for number in (0, 1, 2)]
    assert names[0] == "pixels-v1"
    assert all(name.startswith("detector-ultralytics-tiny-") for name in names[1:])
    assert names[1] != names[2]
    stored = {one.name for one in (tmp_path / "project/vectors").iterdir()}
    assert {f"{name}.lance" for name in names} <= stored
    assert f"{names[2]}-crops.lance" in stored
