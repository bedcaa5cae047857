import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from annoloop.adapters.classical import ClassicalTrainer
from annoloop.core.evaluation import evaluate
from annoloop.errors import InputError, SettingsError, TrainerError
from annoloop.ports import silent
from annoloop.records import Label, LabeledImage

CLASSES = tuple(str(digit) for digit in range(10))


def draw_digits(folder, count, *, seed=0):
    """Scanned digits of 16 to 40 pixels in any ink, on textured canvases with stray strokes."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    images = []
    for number in range(count):
        base = rng.uniform(60, 200, 3)
        texture = cv2.GaussianBlur(rng.normal(size=(120, 160)), (0, 0), 6)
        canvas = base + (texture / texture.std())[..., None] * 6
        for _ in range(int(rng.integers(1, 5))):
            start, end = rng.integers(0, 120, (2, 2)).tolist()
            cv2.line(canvas, start, end, (base + 70).tolist(), 2, cv2.LINE_AA)
        labels = []
        for spot in range(int(rng.integers(1, 5))):
            side, pick = int(rng.integers(16, 41)), int(rng.integers(len(digits.target)))
            x = 80 * (spot % 2) + int(rng.integers(0, 79 - side))
            y = 60 * (spot // 2) + int(rng.integers(0, 59 - side))
            ink = cv2.resize(digits.images[pick] / 16, (side, side), interpolation=cv2.INTER_CUBIC)
            ink = ink.clip(0, 1)[..., None]
            colour = (base + rng.choice([-1, 1]) * rng.uniform(60, 120)).clip(0, 255)
            part = canvas[y : y + side, x : x + side]
            part[:] = part * (1 - ink) + colour * ink
            rows, columns = np.nonzero(ink[..., 0] > 0.3)
            box = (x + columns.min(), y + rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
            labels.append(Label(int(digits.target[pick]), tuple(map(float, box))))
        canvas += rng.normal(0, 4, canvas.shape)
        file = folder / f"{number}.png"
        cv2.imwrite(str(file), canvas.clip(0, 255).astype(np.uint8))
        images.append(
            LabeledImage(f"{seed}-{number}", file.name, str(file), 160, 120, tuple(labels), True)
        )
    return images


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    return draw_digits(tmp_path_factory.mktemp("data") / "train", 50)


@pytest.fixture(scope="module")
def val(tmp_path_factory):
    return draw_digits(tmp_path_factory.mktemp("data") / "val", 30, seed=1)


def fit(trainer, images, folder, classes=CLASSES, seed=0):
    return trainer.fit(images, classes=classes, folder=folder, seed=seed, progress=silent)


def predict(trainer, images, folder, classes=CLASSES):
    return dict(trainer.predict(folder, images, classes=classes, progress=silent))


def ap50(images, found, classes):
    truth = {image.sample_id: image.labels for image in images}
    return evaluate(truth, found, classes=classes).summary["AP50"]


def test_more_labels_make_a_better_model(tmp_path, train, val):
    trainer = ClassicalTrainer()
    fit(trainer, train[:8], tmp_path / "few")
    card = fit(trainer, train, tmp_path / "many")
    few = ap50(val, predict(trainer, val, tmp_path / "few"), CLASSES)
    many = ap50(val, predict(trainer, val, tmp_path / "many"), CLASSES)
    assert many > 0.6
    assert many > few + 0.1
    assert card.trainer == "classical"
    assert card.details["images"] == 50
    assert card.details["boxes"] == sum(card.details["boxes_by_class"].values())


def test_real_blood_cells(tmp_path, shared_data):
    classes = ("RBC", "WBC", "Platelets")
    images = []
    for file in sorted((shared_data / "bccd/BCCD/Annotations").glob("*.xml"))[:25]:
        root = ElementTree.parse(file).getroot()
        labels = []
        for one in root.iter("object"):
            left, top, right, bottom = (float(e.text) for e in one.find("bndbox"))
            if right > left and bottom > top:
                box = (left, top, right - left, bottom - top)
                labels.append(Label(classes.index(one.findtext("name")), box))
        picture = file.parent.parent / "JPEGImages" / f"{file.stem}.jpg"
        images.append(
            LabeledImage(file.stem, picture.name, str(picture), 640, 480, tuple(labels), True)
        )
    trainer = ClassicalTrainer()
    fit(trainer, images[:15], tmp_path, classes)
    found = predict(trainer, images[15:], tmp_path, classes)
    assert ap50(images[15:], found, classes) > 0.4


def test_detections_keep_the_contract(tmp_path, train, val):
    trainer = ClassicalTrainer()
    fit(trainer, train[:20], tmp_path)
    heard = []
    answers = trainer.predict(
        tmp_path, val, classes=CLASSES, progress=lambda *one: heard.append(one)
    )
    for image, (key, found) in zip(val, answers, strict=True):
        assert key == image.sample_id
        assert len(found) <= 100
        scores = [one.score for one in found]
        assert scores == sorted(scores, reverse=True)
        for one in found:
            x, y, width, height = one.box
            assert 0 <= one.class_id < len(CLASSES)
            assert 0.01 <= one.score <= 1
            assert min(x, y) >= 0
            assert min(width, height) > 0
            assert x + width <= image.width
            assert y + height <= image.height
    assert heard[-1] == (len(val), len(val), "predicting")


def test_the_same_seed_gives_the_same_files_and_memory_changes_nothing(tmp_path, train, val):
    warm = ClassicalTrainer()
    fit(warm, train[:10], tmp_path / "warming up")
    fit(warm, train[:20], tmp_path / "a", seed=3)
    forgetful = ClassicalTrainer(cache_mib=0)
    fit(forgetful, train[:20], tmp_path / "b", seed=3)
    for name in ("model.npz", "manifest.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    known = predict(warm, val[:5], tmp_path / "a")
    assert known == predict(warm, val[:5], tmp_path / "a")
    assert known == predict(forgetful, val[:5], tmp_path / "b")


def test_a_changed_file_is_looked_at_again(tmp_path, train):
    trainer = ClassicalTrainer()
    fit(trainer, train[:20], tmp_path / "model")
    file = tmp_path / "image.png"
    shutil.copy(train[0].file, file)
    image = replace(train[0], file=str(file))
    before = predict(trainer, [image], tmp_path / "model")
    shutil.copy(train[1].file, file)
    os.utime(file, (1, 1))
    assert predict(trainer, [image], tmp_path / "model") != before


def test_memory_stays_bounded(tmp_path, train):
    trainer = ClassicalTrainer(cache_mib=1)
    fit(trainer, train, tmp_path)
    assert 0 < trainer._used <= 2**20
    assert trainer._used == sum(view.bytes for view in trainer._kept.values())
    assert len(trainer._kept) < len(train)


def test_one_class_and_classes_without_a_box(tmp_path, train, val):
    def only(images, label):
        return [replace(i, labels=tuple(map(label, i.labels))) for i in images]

    alone = only(train, lambda label: replace(label, class_id=0))
    trainer = ClassicalTrainer()
    fit(trainer, alone, tmp_path / "one", ("digit",))
    found = predict(trainer, val, tmp_path / "one", ("digit",))
    assert ap50(only(val, lambda b: replace(b, class_id=0)), found, ("digit",)) > 0.7
    classes = ("never", "digit", "neither")
    card = fit(trainer, only(train[:20], lambda b: replace(b, class_id=1)), tmp_path / "m", classes)
    assert card.details["boxes_by_class"]["never"] == 0
    found = predict(trainer, val[:5], tmp_path / "m", classes)
    assert {one.class_id for of_image in found.values() for one in of_image} == {1}


def test_reviewed_empty_images_are_background(tmp_path, train, val):
    empty = [replace(image, labels=()) for image in val]
    trainer = ClassicalTrainer()
    fit(trainer, train[:20], tmp_path / "without")
    fit(trainer, [*train[:20], *empty], tmp_path / "with")
    without = predict(trainer, val, tmp_path / "without")
    with_them = predict(trainer, val, tmp_path / "with")
    best = [max((d.score for d in of_image), default=0) for of_image in without.values()]
    learnt = [max((d.score for d in of_image), default=0) for of_image in with_them.values()]
    assert np.mean(learnt) < np.mean(best)


def test_ignored_labels_are_neither_object_nor_background(tmp_path, train):
    marked = [
        replace(i, labels=tuple(replace(b, difficult=True) for b in i.labels)) for i in train[:10]
    ]
    trainer = ClassicalTrainer()
    card = fit(trainer, [*train[10:20], *marked], tmp_path)
    assert card.details["boxes"] == sum(len(i.labels) for i in train[10:20])
    with pytest.raises(TrainerError, match="none of the 10 training images holds a box"):
        fit(trainer, marked, tmp_path)


def test_grey_and_tiny_images(tmp_path, train):
    grey = cv2.imread(train[0].file, cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    cv2.imwrite(str(tmp_path / "tiny.png"), np.zeros((1, 1, 3), dtype=np.uint8))
    trainer = ClassicalTrainer()
    fit(trainer, train[:10], tmp_path / "model")
    images = [
        replace(train[0], sample_id="grey", file=str(tmp_path / "grey.png")),
        LabeledImage("tiny", "tiny.png", str(tmp_path / "tiny.png"), 1, 1),
    ]
    found = predict(trainer, images, tmp_path / "model")
    assert found["grey"]
    assert found["tiny"] == ()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ((Label(10, (1, 1, 5, 5)),), "label 1 has class 10 of 10"),
        ((Label(0, (1, 1, 5, 0)),), "has no area"),
        ((Label(0, (1, 1, float("nan"), 5)),), "has no area"),
        ((), "holds a box"),
    ],
)
def test_what_cannot_be_learnt_is_named(tmp_path, train, labels, said):
    with pytest.raises(TrainerError, match=said) as caught:
        fit(ClassicalTrainer(), [replace(train[0], labels=labels)], tmp_path)
    assert caught.value.fix


def test_no_image_and_nothing_but_the_object(tmp_path):
    with pytest.raises(TrainerError, match="no image to train on"):
        fit(ClassicalTrainer(), [], tmp_path)
    cv2.imwrite(str(tmp_path / "flat.png"), np.full((60, 60, 3), 90, dtype=np.uint8))
    flat = LabeledImage(
        "f", "flat.png", str(tmp_path / "flat.png"), 60, 60, (Label(0, (5, 5, 20, 20)),)
    )
    with pytest.raises(TrainerError, match="nothing but the objects"):
        fit(ClassicalTrainer(), [flat], tmp_path)


def test_files_that_changed_or_are_gone_are_named(tmp_path, train):
    wrong = replace(train[0], width=161)
    with pytest.raises(TrainerError, match=r"0\.png is 160 × 120 pixels, but 161 × 120"):
        fit(ClassicalTrainer(), [wrong], tmp_path)
    with pytest.raises(InputError, match=r"gone\.png"):
        fit(ClassicalTrainer(), [replace(train[0], file=str(tmp_path / "gone.png"))], tmp_path)


def spoil_nothing_there(folder: Path):
    shutil.rmtree(folder)


def spoil_arrays(folder: Path):
    data = bytearray((folder / "model.npz").read_bytes())
    data[len(data) // 2] ^= 255
    (folder / "model.npz").write_bytes(data)


def spoil_manifest(folder: Path):
    (folder / "manifest.json").write_text("{")


def spoil_format(folder: Path):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"format": "other-1"}))


def spoil_key(folder: Path):
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["sizes"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_nothing_there, "holds no whole model"),
        (spoil_arrays, "is not what was trained"),
        (spoil_manifest, "holds no whole model"),
        (spoil_format, "is not of the trainer 'classical'"),
        (spoil_key, "holds no whole model"),
    ],
)
def test_a_spoilt_model_is_refused_before_the_first_image(tmp_path, train, spoil, said):
    trainer = ClassicalTrainer()
    fit(trainer, train[:3], tmp_path / "model")
    spoil(tmp_path / "model")
    with pytest.raises(TrainerError, match=said):
        trainer.predict(tmp_path / "model", train, classes=CLASSES, progress=silent)


def test_a_model_serves_its_own_classes_and_side_only(tmp_path, train):
    fit(ClassicalTrainer(), train[:3], tmp_path)
    with pytest.raises(TrainerError, match="was trained for the classes"):
        predict(ClassicalTrainer(), train, tmp_path, CLASSES[::-1])
    with pytest.raises(TrainerError, match="side = 256, not 128"):
        predict(ClassicalTrainer(side=128), train, tmp_path)


@pytest.mark.parametrize("options", [{"side": 8}, {"proposals": 0}, {"cache_mib": -1}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(SettingsError, match="out of range"):
        ClassicalTrainer(**options)
