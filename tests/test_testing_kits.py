"""A contract kit is worth what it refuses: adapters with one fault each must fail it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from annoloop.errors import InputError, TrainerError
from annoloop.records import Detection, ForeignDataset, ForeignImage, Label, LabeledImage, ModelCard
from annoloop.testing_crops import CropEmbedderContract
from annoloop.testing_kits import (
    EmbedderContract,
    ReaderCase,
    ReaderContract,
    TrainerContract,
    WriterCase,
    WriterContract,
)

CAT = Label(0, (1.0, 2.0, 3.0, 4.0))
FILES = ["a.png", "b.png"]
IMAGES = tuple(LabeledImage(f"{i:016x}", f"{i}.png", f"/{i}.png", 40, 30) for i in range(3))


class Fixed:
    """An embedder that returns what it is told, for the number of files asked."""

    name = "fixed"

    def __init__(self, row, dtype=np.float32):
        self._row, self._dtype = row, dtype

    def embed(self, files):
        return np.array([self._row(i) for i in range(len(files))], self._dtype).reshape(-1, 2)


class Short(Fixed):
    def embed(self, files):
        return super().embed(files[1:])


@pytest.mark.parametrize(
    ("embedder", "says"),
    [
        (Fixed(lambda i: (i, np.nan)), "finite"),
        (Fixed(lambda i: (i, 1), np.float64), "float32"),
        (Short(lambda i: (i, 1)), "one row"),
    ],
)
def test_bad_rows_fail(embedder, says):
    with pytest.raises(AssertionError, match=says):
        EmbedderContract().test_a_finite_row_for_every_file(embedder, FILES)


class Cropping(Fixed):
    def embed_crops(self, files, boxes):
        return self.embed([box for of_one in boxes for box in of_one])


def test_regions_that_are_not_looked_at_fail():
    boxes = [[(0, 0, 1, 1), (1, 1, 1, 1)], [], [(0, 0, 2, 2)]]
    kit, files = CropEmbedderContract(), ["a.png", "b.png", "c.png"]
    kit.test_a_finite_row_for_every_box(Cropping(lambda i: (i, 1)), files, boxes)
    with pytest.raises(AssertionError, match="two regions differ"):
        kit.test_a_region_is_described_by_itself(Cropping(lambda i: (1, 1)), files, boxes)
    with pytest.raises(AssertionError):
        kit.test_a_region_is_described_by_itself(Cropping(lambda i: (i, 1)), files, boxes)
    with pytest.raises(AssertionError):
        kit.test_the_region_of_all_is_the_image(Cropping(lambda i: (i, 1)), files, boxes)
    with pytest.raises(AssertionError, match="finite"):
        kit.test_a_finite_row_for_every_box(Cropping(lambda i: (i, np.inf)), files, boxes)


def test_vectors_of_position_or_of_nothing_fail():
    by_position = Fixed(lambda i: (i, 1))
    with pytest.raises(AssertionError):
        EmbedderContract().test_same_image_same_vector(by_position, FILES)
    constant = Fixed(lambda i: (1, 1))
    with pytest.raises(AssertionError):
        EmbedderContract().test_different_images_differ(constant, FILES)


def test_an_embedder_that_overlooks_a_bad_file_fails(tmp_path):
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        EmbedderContract().test_a_bad_file_is_named(Fixed(lambda i: (i, 1)), FILES, tmp_path, b"")


class Answers:
    """A trainer that answers what it is told."""

    def __init__(self, answer, error=None):
        self._answer, self._error = answer, error

    def fit(self, images, *, classes, folder, seed, progress):
        if self._error and not any(image.labels for image in images):
            raise TrainerError("nothing to learn", fix=self._error)
        folder.mkdir(parents=True, exist_ok=True)
        return ModelCard("answers", str(folder), 0.0)

    def predict(self, folder, images, *, classes, progress):
        return iter(self._answer(images))


def detection(box=(1.0, 1.0, 5.0, 5.0), score=0.5, class_id=0):
    return Detection(class_id, box, score)


def each(one):
    return lambda images: [(image.sample_id, (one,)) for image in images]


@pytest.mark.parametrize(
    "answer",
    [
        lambda images: each(detection())(images[::-1]),
        lambda images: each(detection())(images[1:]),
        lambda images: [(image.sample_id, ()) for image in images],
        each(detection(score=1.5)),
        each(detection(class_id=10)),
        each(detection(box=(1.0, 1.0, 0.0, 5.0))),
        each(detection(box=(np.nan, 1.0, 1.0, 5.0))),
        each(detection(box=(50.0, 1.0, 5.0, 5.0))),
    ],
    ids=["order", "missing", "nothing", "score", "class", "no area", "not finite", "outside"],
)
def test_bad_answers_fail(answer, tmp_path):
    with pytest.raises(AssertionError):
        TrainerContract().test_answers_every_image_in_the_order_asked(
            Answers(answer), IMAGES, tmp_path
        )


def test_chance_without_seed_and_peeking_fail(tmp_path):
    rng = np.random.default_rng()
    chance = Answers(lambda images: each(detection(score=rng.random()))(images))
    with pytest.raises(AssertionError):
        TrainerContract().test_same_seed_same_detections(chance, IMAGES, tmp_path)

    def peek(images):
        for image in images:
            yield image.sample_id, tuple(detection(box=label.box) for label in image.labels)

    labelled = [replace(IMAGES[0], labels=(CAT,)), *IMAGES[1:]]
    with pytest.raises(AssertionError):
        TrainerContract().test_true_labels_do_not_leak_into_predictions(
            Answers(peek), labelled, tmp_path
        )


def test_a_trainer_that_learns_nothing_silently_fails(tmp_path):
    silent = Answers(lambda images: [])
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        TrainerContract().test_nothing_to_learn_is_an_error(silent, IMAGES, tmp_path)
    mute = Answers(lambda images: [], error=" ")
    with pytest.raises(AssertionError, match="what to do next"):
        TrainerContract().test_nothing_to_learn_is_an_error(mute, IMAGES, tmp_path)


class Told:
    """A reader that found what it is told; a writer that writes nothing."""

    def __init__(self, *images, classes=("cat",)):
        self._found = ForeignDataset(classes, images)

    def read(self, source):
        if not source.exists():
            raise InputError(f"{source} is missing", fix="Correct it.")
        return self._found

    def write(self, out, images, *, classes):
        out.mkdir(parents=True, exist_ok=True)
        return []


WANTED = {"a/cat.png": [("cat", CAT.box)], "none.png": []}


@pytest.mark.parametrize(
    "images",
    [
        [ForeignImage("a/cat.png", (CAT,))],
        [ForeignImage("a/cat.png"), ForeignImage("none.png")],
        [ForeignImage("a/cat.png", (CAT,)), ForeignImage("none.png", reviewed=False)],
        [ForeignImage("a/cat.png", (Label(0, (1.0, 2.0, 3.0, 4.5)),)), ForeignImage("none.png")],
    ],
    ids=["empty image lost", "box lost", "empty is no gap", "box moved"],
)
def test_a_reader_that_loses_something_fails(images, tmp_path):
    case = ReaderCase(Told(*images), tmp_path, WANTED, tmp_path, "x")
    with pytest.raises(AssertionError):
        ReaderContract().test_reads_all_images_and_boxes(case)


def test_a_reader_that_overlooks_a_bad_row_fails(tmp_path):
    case = ReaderCase(Told(), tmp_path, WANTED, tmp_path, "x")
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        ReaderContract().test_a_bad_row_is_named(case)
    ReaderContract().test_a_missing_source_is_named(case, tmp_path)


def test_a_writer_that_writes_nothing_fails(tmp_path):
    file = tmp_path / "1.png"
    file.write_bytes(b"pixels")
    images = [LabeledImage("0" * 16, "a/cat.png", str(file), 40, 30, (CAT,), reviewed=True)] * 2
    case = WriterCase(Told(), Told())
    with pytest.raises(AssertionError):
        WriterContract().test_round_trip(case, images, tmp_path)
    with pytest.raises(AssertionError, match="byte for byte"):
        WriterContract().test_says_what_it_wrote(case, images, tmp_path)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        WriterContract().test_a_missing_image_is_named(case, images, tmp_path)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        WriterContract().test_never_writes_outside_its_folder(case, images, tmp_path)


def test_the_sample_data_needs_no_pytest():
    code = "import sys, annoloop.testing; print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
