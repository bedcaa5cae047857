"""The embedder `detector` by models of `classical`, which needs no network."""

from __future__ import annotations

import numpy as np
import pytest

from annoloop.adapters.classical import ClassicalTrainer
from annoloop.adapters.detector import DetectorEmbedder
from annoloop.errors import TrainerError
from annoloop.ports import silent
from annoloop.testing import CLASSES, labeled_digits, make_digits
from annoloop.testing_crops import CropEmbedderContract


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Sixty images of digits, and a model of them in `model`."""
    root = tmp_path_factory.mktemp("detector")
    images = labeled_digits(make_digits(root / "digits", images=60, seed=4))
    for name, some in (("model", images), ("other", images[1:])):
        ClassicalTrainer().fit(some, classes=CLASSES, folder=root / name, seed=1, progress=silent)
    return root


def bound(room, name="model", **options):
    return DetectorEmbedder().of(ClassicalTrainer(**options), room / name, classes=CLASSES)


class TestContract(CropEmbedderContract):
    @pytest.fixture
    def embedder(self, room):
        return bound(room)


def test_the_name_is_that_of_the_model(room):
    first = bound(room).name
    assert first.startswith("detector-classical-")
    assert bound(room).name == first
    assert bound(room, "other").name != first
    assert bound(room, proposals=100).name != first


def test_rows_have_length_one_and_objects_of_a_class_look_alike(room):
    """The regions of labelled digits, on images that the model has not seen."""
    images = labeled_digits(make_digits(room / "fresh", images=80, seed=9))
    shown = [image for image in images if image.labels]
    boxes = [[label.box for label in image.labels] for image in shown]
    classes = np.array([label.class_id for image in shown for label in image.labels])
    rows = bound(room).embed_crops([image.file for image in shown], boxes)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    owner = np.repeat(np.arange(len(shown)), [len(image.labels) for image in shown])
    similar = rows @ rows.T
    similar[owner[:, None] == owner] = -np.inf  # regions of one image share its paper
    purity = np.mean(classes[similar.argmax(axis=1)] == classes)
    chance = np.mean([np.mean(classes == one) for one in classes])
    assert purity > 2 * chance


def test_a_model_of_other_classes_is_refused(room):
    with pytest.raises(TrainerError, match="was trained for the classes"):
        _ = DetectorEmbedder().of(ClassicalTrainer(), room / "model", classes=("cat",)).name


def test_the_same_model_is_bound_once(room):
    embedder, trainer = DetectorEmbedder(), ClassicalTrainer()
    one = embedder.of(trainer, room / "model", classes=CLASSES)
    assert embedder.of(trainer, room / "model", classes=list(CLASSES)) is one
    assert embedder.of(trainer, room / "other", classes=CLASSES) is not one
