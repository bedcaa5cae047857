"""Contract kits: what every adapter of a port must do, as test classes to subclass.

```python
from annoloop.testing_kits import EmbedderContract

class TestMine(EmbedderContract):
    @pytest.fixture
    def embedder(self):
        return MyEmbedder()
```

pytest collects the inherited tests. The class attributes in capitals say how exact an adapter is;
a subclass may loosen them where its hardware or its format cannot do better. Needs pytest, which
`annoloop.testing` does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from annoloop.errors import AnnoloopError, InputError, TrainerError
from annoloop.ports import Embedder, Reader, Trainer, Writer, silent
from annoloop.records import Box, Detection, ForeignDataset, Label, LabeledImage, sample_id
from annoloop.testing import CLASSES, labeled_digits, make_digits

NAMES = ("alpha", "beta beta", "gämma")
"""The classes of WriterContract: with a space, with an umlaut, and one that no box has."""

Named = tuple[str, Box]
"""A label by the name of its class."""


@dataclass(frozen=True, slots=True)
class ReaderCase:
    """A small data set in the reader's format, and what is in it: labels by image path.

    It holds a folder in a path and an image without boxes; `broken` is a copy with one bad row, and
    `culprit` is the name of the file that the row is in.
    """

    reader: Reader
    source: Path
    labels: Mapping[str, Sequence[Named]]
    broken: Path
    culprit: str


@dataclass(frozen=True, slots=True)
class WriterCase:
    """A writer, and a reader that understands what it wrote when given the folder `out`."""

    writer: Writer
    reader: Reader


class EmbedderContract:
    """Finite float32 rows, one a file in the order given, that depend on their image alone."""

    CLOSE = 1e-5
    """Largest difference between two vectors of the same image."""

    @pytest.fixture
    def embedder(self) -> Embedder:
        raise NotImplementedError("return the embedder to be tested")

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[str]:
        """Digits, and images that are grey, transparent, a single pixel, and a narrow strip."""
        import cv2

        root = make_digits(tmp_path / "digits", images=5, seed=1)
        grey = np.linspace(0, 255, 60 * 40).astype(np.uint8).reshape(60, 40)
        odd = {
            "grey": grey,
            "alpha": np.dstack([grey, grey[::-1], grey, grey]),
            "dot": grey[-1:, -1:],
            "strip": np.dstack([grey[:, :2]] * 3),
        }
        for name, pixels in odd.items():
            cv2.imwrite(str(root / f"{name}.png"), pixels)
        return [str(file) for file in sorted((root / "images").rglob("frame_*"))] + [
            str(root / f"{name}.png") for name in odd
        ]

    def test_a_finite_row_for_every_file(self, embedder: Embedder, files: list[str]) -> None:
        rows = embedder.embed(files)
        assert rows.dtype == np.float32, "vectors are float32"
        assert rows.ndim == 2, "vectors are a matrix"
        assert len(rows) == len(files), "one row for every file"
        assert rows.shape[1] > 0, "a vector has at least one number"
        assert np.isfinite(rows).all(), "vectors are finite"

    def test_no_files_no_rows(self, embedder: Embedder, files: list[str]) -> None:
        none = embedder.embed([])
        assert none.shape == (0, embedder.embed(files[:1]).shape[1])

    def test_same_image_same_vector(self, embedder: Embedder, files: list[str]) -> None:
        rows = embedder.embed(files)
        np.testing.assert_allclose(embedder.embed(files), rows, atol=self.CLOSE, rtol=0)
        turned = embedder.embed(files[::-1])[::-1]
        np.testing.assert_allclose(turned, rows, atol=self.CLOSE, rtol=0)
        alone = embedder.embed(files[:1])
        np.testing.assert_allclose(alone[0], rows[0], atol=self.CLOSE, rtol=0)

    def test_different_images_differ(self, embedder: Embedder, files: list[str]) -> None:
        rows = embedder.embed(files)
        apart = np.abs(rows[:, None] - rows[None]).max(axis=2)
        assert (apart[~np.eye(len(rows), dtype=bool)] > self.CLOSE).all()

    def test_the_name_says_which_vectors(self, embedder: Embedder) -> None:
        assert embedder.name.strip(), "the name is what vectors are stored under"
        assert embedder.name == embedder.name.strip()

    @pytest.mark.parametrize("content", [None, b"", b"no image at all"])
    def test_a_bad_file_is_named(
        self, embedder: Embedder, files: list[str], tmp_path: Path, content: bytes | None
    ) -> None:
        bad = tmp_path / "damaged_picture.png"
        if content is not None:
            bad.write_bytes(content)
        with pytest.raises(InputError, match="damaged_picture") as caught:
            embedder.embed([files[0], str(bad)])
        says_what_to_do(caught.value)


class TrainerContract:
    """Fits on images with and without boxes, and answers for every image asked, in order."""

    SCORES_CLOSE = 1e-6
    """Largest difference in score, and in pixels, between two runs with the same seed."""

    IMAGES = 40

    @pytest.fixture
    def trainer(self) -> Trainer:
        raise NotImplementedError("return the trainer to be tested")

    @pytest.fixture
    def images(self, tmp_path: Path) -> Sequence[LabeledImage]:
        """Reviewed images of digits; at least one shows none."""
        images = labeled_digits(make_digits(tmp_path / "digits", images=self.IMAGES, seed=2))
        return (*images[1:], replace(images[0], labels=()))

    def test_fit_leaves_a_model_in_its_folder(
        self, trainer: Trainer, images: Sequence[LabeledImage], tmp_path: Path
    ) -> None:
        heard: list[tuple[int, int]] = []
        card = trainer.fit(
            images,
            classes=CLASSES,
            folder=tmp_path / "model",
            seed=0,
            progress=lambda done, total, _: heard.append((done, total)),
        )
        assert card.trainer, "the card names the trainer"
        assert Path(card.folder) == tmp_path / "model"
        assert any((tmp_path / "model").iterdir()), "the model lies in the folder given"
        assert math.isfinite(card.seconds)
        assert card.seconds >= 0
        assert all(0 <= done <= total for done, total in heard)

    def test_answers_every_image_in_the_order_asked(
        self, trainer: Trainer, images: Sequence[LabeledImage], tmp_path: Path
    ) -> None:
        _fit(trainer, images, tmp_path / "model")
        asked = [replace(image, labels=(), reviewed=False) for image in images[::-2]]
        found = _predict(trainer, asked, tmp_path / "model")
        assert [key for key, _ in found] == [image.sample_id for image in asked]
        assert sum(len(rows) for _, rows in found) > 0, "nothing is found in what it was shown"
        for image, (_, rows) in zip(asked, found, strict=True):
            for one in rows:
                _is_detection(one, image)

    def test_no_images_no_answers(
        self, trainer: Trainer, images: Sequence[LabeledImage], tmp_path: Path
    ) -> None:
        _fit(trainer, images, tmp_path / "model")
        assert _predict(trainer, [], tmp_path / "model") == []

    def test_same_seed_same_detections(
        self, trainer: Trainer, images: Sequence[LabeledImage], tmp_path: Path
    ) -> None:
        _fit(trainer, images, tmp_path / "one")
        _fit(trainer, images, tmp_path / "two")
        one = _predict(trainer, images, tmp_path / "one")
        _same(one, _predict(trainer, images, tmp_path / "two"), self.SCORES_CLOSE)
        _same(one, _predict(trainer, images[::-1], tmp_path / "one")[::-1], self.SCORES_CLOSE)

    def test_true_labels_do_not_leak_into_predictions(
        self, trainer: Trainer, images: Sequence[LabeledImage], tmp_path: Path
    ) -> None:
        _fit(trainer, images, tmp_path / "model")
        bare = [replace(image, labels=(), reviewed=False) for image in images]
        with_labels = _predict(trainer, images, tmp_path / "model")
        _same(with_labels, _predict(trainer, bare, tmp_path / "model"), self.SCORES_CLOSE)

    def test_nothing_to_learn_is_an_error(
        self, trainer: Trainer, images: Sequence[LabeledImage], tmp_path: Path
    ) -> None:
        empty = [replace(image, labels=()) for image in images]
        for some in ([], empty):
            with pytest.raises(TrainerError) as caught:
                _fit(trainer, some, tmp_path / "none")
            says_what_to_do(caught.value)

    def test_a_missing_model_is_an_error(
        self, trainer: Trainer, images: Sequence[LabeledImage], tmp_path: Path
    ) -> None:
        with pytest.raises(TrainerError) as caught:
            _predict(trainer, images, tmp_path / "nowhere")
        says_what_to_do(caught.value)


class ReaderContract:
    """Reads what is there, the empty images too; says which file and row is wrong."""

    PIXELS_CLOSE = 0.01

    @pytest.fixture
    def case(self) -> ReaderCase:
        raise NotImplementedError("return a ReaderCase")

    def test_reads_all_images_and_boxes(self, case: ReaderCase) -> None:
        assert any("/" in path for path in case.labels), "the case has a path with a folder"
        assert any(not rows for rows in case.labels.values()), "the case has an empty image"
        _holds(case.reader.read(case.source), case.labels, self.PIXELS_CLOSE)

    def test_paths_are_sorted_relative_and_there_once(self, case: ReaderCase) -> None:
        paths = [image.path for image in case.reader.read(case.source).images]
        assert paths == sorted(set(paths))
        assert not any(p.startswith(("/", "\\")) or ".." in p.split("/") for p in paths)

    def test_reading_changes_nothing(self, case: ReaderCase) -> None:
        root = case.source if case.source.is_dir() else case.source.parent
        before = _bytes(root)
        assert case.reader.read(case.source) == case.reader.read(case.source)
        assert _bytes(root) == before

    def test_a_missing_source_is_named(self, case: ReaderCase, tmp_path: Path) -> None:
        missing = tmp_path / f"not_here{case.source.suffix}"
        with pytest.raises(InputError, match="not_here") as caught:
            case.reader.read(missing)
        says_what_to_do(caught.value)

    def test_a_bad_row_is_named(self, case: ReaderCase) -> None:
        with pytest.raises(InputError) as caught:
            case.reader.read(case.broken)
        assert case.culprit in caught.value.problem, "the error names the file"
        says_what_to_do(caught.value)


class WriterContract:
    """What was written is read back the same, images without boxes included."""

    PIXELS_CLOSE = 0.01

    @pytest.fixture
    def case(self) -> WriterCase:
        raise NotImplementedError("return a WriterCase")

    @pytest.fixture
    def images(self, tmp_path: Path) -> Sequence[LabeledImage]:
        """Four images in two folders: three reviewed, of which one is empty; one not looked at."""
        import cv2

        second = Label(2, (10.25, 3.5, 20.5, 11.125))
        rows = {
            "b/two.png": (Label(0, (0.0, 0.0, 64.0, 48.0)), second),
            "a/one.jpg": (Label(2, (5.0, 6.0, 7.0, 8.0)),),
            "b/empty.png": (),
            "new.png": (),
        }
        images = []
        for shade, (path, labels) in enumerate(rows.items()):
            file = tmp_path / "from" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), np.full((48, 64, 3), 40 * shade, np.uint8))
            looked = path != "new.png"
            images.append(
                LabeledImage(sample_id(path), path, str(file), 64, 48, labels, reviewed=looked)
            )
        return tuple(images)

    def test_round_trip(
        self, case: WriterCase, images: Sequence[LabeledImage], tmp_path: Path
    ) -> None:
        case.writer.write(tmp_path / "out", images, classes=NAMES)
        read = case.reader.read(tmp_path / "out")
        wanted = {
            image.path: [(NAMES[label.class_id], label.box) for label in image.labels]
            for image in images
            if image.reviewed
        }
        looked_at = replace(read, images=tuple(i for i in read.images if i.path in wanted))
        _holds(looked_at, wanted, self.PIXELS_CLOSE)

    def test_nobody_reviewed_the_unreviewed(
        self, case: WriterCase, images: Sequence[LabeledImage], tmp_path: Path
    ) -> None:
        case.writer.write(tmp_path / "out", images, classes=NAMES)
        found = {image.path: image for image in case.reader.read(tmp_path / "out").images}
        assert "new.png" not in found or found["new.png"].reviewed is not True

    def test_says_what_it_wrote(
        self, case: WriterCase, images: Sequence[LabeledImage], tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        said = case.writer.write(out, images, classes=NAMES)
        assert {Path(file) for file in said} == {out / name for name in _bytes(out)}
        originals = {Path(image.file).read_bytes() for image in images}
        assert originals <= set(_bytes(out).values()), "images are passed on byte for byte"

    def test_same_images_same_bytes(
        self, case: WriterCase, images: Sequence[LabeledImage], tmp_path: Path
    ) -> None:
        for name in ("one", "two", "two"):
            case.writer.write(tmp_path / name, images, classes=NAMES)
        assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")

    def test_a_missing_image_is_named(
        self, case: WriterCase, images: Sequence[LabeledImage], tmp_path: Path
    ) -> None:
        gone = replace(images[1], file=str(tmp_path / "vanished.jpg"))
        with pytest.raises(AnnoloopError, match="vanished") as caught:
            case.writer.write(tmp_path / "out", [images[0], gone], classes=NAMES)
        says_what_to_do(caught.value)

    def test_never_writes_outside_its_folder(
        self, case: WriterCase, images: Sequence[LabeledImage], tmp_path: Path
    ) -> None:
        before = _bytes(tmp_path)
        for path in ("../../evil.png", str(tmp_path / "evil.png")):
            with pytest.raises(AnnoloopError):
                case.writer.write(tmp_path / "out", [replace(images[0], path=path)], classes=NAMES)
        kept = {name for name in _bytes(tmp_path) if not name.startswith("out/")}
        assert kept == set(before)


def says_what_to_do(error: AnnoloopError) -> None:
    assert error.problem.strip(), "an error says what is wrong"
    assert error.fix.strip(), "an error says what to do next"


def _bytes(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


def _holds(found: ForeignDataset, wanted: Mapping[str, Sequence[Named]], pixels: float) -> None:
    """The data set has these labels, whatever the order of its classes and of an image's boxes."""
    assert sorted(image.path for image in found.images) == sorted(wanted)
    assert len(set(found.classes)) == len(found.classes)
    for image in found.images:
        assert image.reviewed is not False, f"{image.path} was reviewed"
        got = sorted((found.classes[label.class_id], label.box) for label in image.labels)
        rows = sorted((name, tuple(box)) for name, box in wanted[image.path])
        assert [name for name, _ in got] == [name for name, _ in rows], image.path
        for (_, box), (_, expected) in zip(got, rows, strict=True):
            assert box == pytest.approx(expected, abs=pixels), image.path


def _fit(trainer: Trainer, images: Sequence[LabeledImage], folder: Path) -> None:
    trainer.fit(images, classes=CLASSES, folder=folder, seed=7, progress=silent)


def _predict(
    trainer: Trainer, images: Sequence[LabeledImage], folder: Path
) -> list[tuple[str, tuple[Detection, ...]]]:
    return list(trainer.predict(folder, images, classes=CLASSES, progress=silent))


def _is_detection(one: Detection, image: LabeledImage) -> None:
    x, y, w, h = one.box
    where = f"{image.path}: {one}"
    assert all(map(math.isfinite, one.box)), where
    assert min(w, h) > 0, where
    assert 0 <= one.score <= 1, where
    assert 0 <= one.class_id < len(CLASSES), where
    assert -w < x < image.width, f"{where} lies outside the image"
    assert -h < y < image.height, f"{where} lies outside the image"


def _same(
    one: Sequence[tuple[str, tuple[Detection, ...]]],
    other: Sequence[tuple[str, tuple[Detection, ...]]],
    close: float,
) -> None:
    assert [key for key, _ in one] == [key for key, _ in other]
    for (key, left), (_, right) in zip(one, other, strict=True):
        assert [d.class_id for d in left] == [d.class_id for d in right], key
        for a, b in zip(left, right, strict=True):
            assert (*a.box, a.score) == pytest.approx((*b.box, b.score), abs=close), key
