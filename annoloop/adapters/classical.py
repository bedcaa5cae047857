"""The trainer without a network: region proposals, classical descriptors, a linear classifier.

A small honest baseline that runs in seconds on a CPU; docs/trainers.md says what it can do.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import io
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from annoloop.core.region_model import (
    Example,
    RegionModel,
    Regions,
    detect,
    fit_regions,
    pooled,
)
from annoloop.core.regions import (
    Boxes,
    SizeRange,
    describe,
    integral_channels,
    propose,
    size_range,
    work_image,
)
from annoloop.core.training_set import count_boxes
from annoloop.errors import SettingsError, TrainerError
from annoloop.images import read_rgb
from annoloop.images import size as image_size
from annoloop.ports import Progress
from annoloop.records import Box, Detection, Label, LabeledImage, ModelCard

MANIFEST, ARRAYS = "manifest.json", "model.npz"
FORMAT = "annoloop-classical-1"
RETRAIN = "Train again: `annoloop train`."


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """What is kept of one image: descriptors in half precision, boxes in its own pixels' scale."""

    boxes: Boxes
    rows: NDArray[np.float16]
    truth_rows: NDArray[np.float16]
    scale: tuple[float, float]
    size: tuple[int, int]

    @property
    def bytes(self) -> int:
        return self.boxes.nbytes + self.rows.nbytes + self.truth_rows.nbytes


class ClassicalTrainer:
    """Finds objects that stand out from what surrounds them, and learns what they look like.

    `side`: images are shrunk to this longest side (pixels) first; smaller objects need more.
    `proposals`: candidate boxes per image. `cache_mib`: descriptors kept in memory, so that the
    next iteration of the same process only describes new images.
    """

    def __init__(self, *, side: int = 256, proposals: int = 200, cache_mib: int = 256) -> None:
        for name, value, low, high in (
            ("side", side, 32, 2048),
            ("proposals", proposals, 1, 4000),
            ("cache_mib", cache_mib, 0, 1 << 20),
        ):
            if not low <= value <= high:
                raise SettingsError(
                    f"trainer 'classical': {name} = {value} is out of range",
                    fix=f"Choose {name} from {low} to {high}.",
                )
        self._side = side
        self._proposals = proposals
        self._room = cache_mib * 2**20
        self._kept: OrderedDict[tuple[Any, ...], _View] = OrderedDict()
        self._used = 0

    def fit(
        self,
        images: Sequence[LabeledImage],
        *,
        classes: Sequence[str],
        folder: Path,
        seed: int,
        progress: Progress,
    ) -> ModelCard:
        """Learn from reviewed images, empty ones included; writes model.npz and manifest.json.

        Raises TrainerError without images or boxes and for a broken label, InputError for a
        broken image file. The same images, seed and options give the same files.
        """
        started = time.perf_counter()
        counts = count_boxes(images, classes)
        sizes = size_range(np.array([size for i in images for size in self._sizes(i)]))
        rng = np.random.default_rng(seed)
        importlib.import_module("sklearn.linear_model")  # loaded here, to be held to one thread

        with _one_thread()():
            model = fit_regions(
                self._examples(images, sizes, progress), images=len(images), rng=rng
            )
        details = {
            "images": len(images),
            "boxes": sum(counts.values()),
            "boxes_by_class": counts,
            "side": self._side,
            "proposals": self._proposals,
            "seed": seed,
        }
        _save(folder, model, {"classes": list(classes), "sizes": asdict(sizes), **details})
        return ModelCard("classical", str(folder), time.perf_counter() - started, details)

    def predict(
        self,
        folder: Path,
        images: Sequence[LabeledImage],
        *,
        classes: Sequence[str],
        progress: Progress,
    ) -> Iterator[tuple[str, tuple[Detection, ...]]]:
        """Detections of every image, at most 100 each, best first, scores from 0.01 to 1.

        The model is loaded before the first image is asked for. Raises TrainerError for a model
        that is missing, broken, foreign, or made for other classes or options.
        """
        model, sizes = _load(folder, classes, side=self._side)
        return self._detections(model, sizes, images, progress)

    def features_name(self, folder: Path, *, classes: Sequence[str]) -> str:
        """`classical-HASH`, by the model and how images are looked at."""
        _load(folder, classes, side=self._side)
        said = f"1 {_digest((folder / ARRAYS).read_bytes())} {self._side} {self._proposals}"
        return f"classical-{hashlib.blake2b(said.encode(), digest_size=6).hexdigest()}"

    def features(
        self,
        folder: Path,
        files: Sequence[str],
        boxes: Sequence[Sequence[Box]] | None = None,
        *,
        classes: Sequence[str],
    ) -> NDArray[np.float32]:
        """What the model finds in images or their boxes: its descriptors, by how much they matter.

        Raises TrainerError as `predict` does, InputError naming a bad image.
        """
        model, sizes = _load(folder, classes, side=self._side)
        one_thread, found = _one_thread(), [np.empty((0, len(model.mean)), np.float32)]
        for number, file in enumerate(files):
            width, height = image_size(file)
            whole: list[Box] = [(0, 0, width, height)]
            asked = [Label(0, box) for box in (whole if boxes is None else boxes[number])]
            view = self._view(LabeledImage(file, file, file, width, height), sizes, asked)
            candidates = Regions(view.boxes, view.rows.astype(np.float32))
            own = Regions(_boxes(asked, view.scale), view.truth_rows.astype(np.float32))
            with one_thread():
                found.append(pooled(model, candidates, own))
        return np.concatenate(found)

    def _detections(
        self,
        model: RegionModel,
        sizes: SizeRange,
        images: Sequence[LabeledImage],
        progress: Progress,
    ) -> Iterator[tuple[str, tuple[Detection, ...]]]:
        one_thread = _one_thread()
        for done, image in enumerate(images, start=1):
            view = self._view(image, sizes, ())
            regions = Regions(view.boxes, view.rows.astype(np.float32))
            with one_thread():
                detected = list(detect(model, regions, size=view.size))
            found = tuple(
                Detection(number, _in_image(box, view, image), score)
                for number, box, score in detected
            )
            progress(done, len(images), "predicting")
            yield image.sample_id, found

    def _sizes(self, image: LabeledImage) -> list[tuple[float, float]]:
        factor = min(1.0, self._side / max(image.width, image.height))
        return [
            (label.box[2] * factor, label.box[3] * factor)
            for label in image.labels
            if not label.ignored
        ]

    def _examples(
        self, images: Sequence[LabeledImage], sizes: SizeRange, progress: Progress
    ) -> Iterator[Example]:
        for done, image in enumerate(images, start=1):
            truth = tuple(label for label in image.labels if not label.ignored)
            ignored = tuple(label for label in image.labels if label.ignored)
            view = self._view(image, sizes, truth)
            progress(done, len(images), "describing training images")
            yield Example(
                candidates=Regions(view.boxes, view.rows.astype(np.float32)),
                truth=Regions(_boxes(truth, view.scale), view.truth_rows.astype(np.float32)),
                classes=np.array([label.class_id for label in truth], dtype=np.int64),
                ignored=_boxes(ignored, view.scale),
            )

    def _view(self, image: LabeledImage, sizes: SizeRange, truth: Sequence[Label]) -> _View:
        """Candidates and descriptors of one image, from memory if the file has not changed."""
        key = _stamp(image.file)
        if key is None:
            return self._look(image, sizes, truth)
        key = (*key, image.width, image.height, sizes, tuple(label.box for label in truth))
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        view = self._look(image, sizes, truth)
        self._kept[key] = view
        self._used += view.bytes
        while self._used > self._room:
            self._used -= self._kept.popitem(last=False)[1].bytes
        return view

    def _look(self, image: LabeledImage, sizes: SizeRange, truth: Sequence[Label]) -> _View:
        rgb = read_rgb(image.file)
        height, width = rgb.shape[:2]
        if (width, height) != (image.width, image.height):
            raise TrainerError(
                f"{image.path} is {width} × {height} pixels, but {image.width} × {image.height} "
                "were recorded",
                fix="The file changed after it was ingested: bring the old one back.",
            )
        work = work_image(rgb, self._side)
        scale = work.scale_x, work.scale_y
        boxes = propose(work.lab, sizes, limit=self._proposals)
        integral = integral_channels(work.lab)
        return _View(
            boxes=boxes,
            rows=describe(integral, boxes).astype(np.float16),
            truth_rows=describe(integral, _boxes(truth, scale)).astype(np.float16),
            scale=scale,
            size=(work.lab.shape[1], work.lab.shape[0]),
        )


def _one_thread() -> Callable[[], AbstractContextManager[Any]]:
    """Blocks in which the linear algebra of the libraries loaded by now runs on one thread.

    On matrices this small more threads only wait for each other (seven times the CPU time,
    measured), and the last bits of a model would depend on the machine.
    """
    from threadpoolctl import ThreadpoolController

    return functools.partial(ThreadpoolController().limit, limits=1, user_api="blas")


def _stamp(file: str) -> tuple[Any, ...] | None:
    """What tells a changed file, or None for one that only its storage could tell."""
    if "://" in file:
        return None
    try:
        known = Path(file).stat()
    except OSError:  # reading it will say what is wrong
        return None
    return file, known.st_size, known.st_mtime_ns


def _boxes(labels: Sequence[Label], scale: tuple[float, float]) -> Boxes:
    boxes = np.array([label.box for label in labels], dtype=np.float64).reshape(-1, 4)
    return np.asarray(boxes * np.tile(scale, 2), dtype=np.float32)


def _in_image(box: Boxes, view: _View, image: LabeledImage) -> tuple[float, float, float, float]:
    """A box of the working image in the image's own pixels, never beyond its border."""
    x, y = float(box[0]) / view.scale[0], float(box[1]) / view.scale[1]
    width = min(float(box[2]) / view.scale[0], image.width - x)
    height = min(float(box[3]) / view.scale[1], image.height - y)
    return x, y, width, height


def _save(folder: Path, model: RegionModel, about: dict[str, Any]) -> None:
    """Arrays first, the manifest with their hash last: a killed run leaves no model."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **model.arrays())
    data = buffer.getvalue()
    (folder / ARRAYS).write_bytes(data)
    manifest = {"format": FORMAT, "blake2b": _digest(data), **about}
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _load(folder: Path, classes: Sequence[str], *, side: int) -> tuple[RegionModel, SizeRange]:
    file = folder / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        data = (folder / ARRAYS).read_bytes()
    except (OSError, ValueError) as error:
        raise TrainerError(f"{folder} holds no whole model: {error}", fix=RETRAIN) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise TrainerError(
            f"{file} is not of the trainer 'classical' of this version",
            fix="Use the trainer that made the model, or train again.",
        )
    if manifest.get("blake2b") != _digest(data):
        raise TrainerError(f"{folder / ARRAYS} is not what was trained", fix=RETRAIN)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            model = RegionModel(**arrays)
        sizes = SizeRange(*(tuple(manifest["sizes"][key]) for key in ("width", "height")))
        made_for = list(manifest["classes"]), int(manifest["side"])
    except (BadZipFile, KeyError, TypeError, ValueError) as error:
        raise TrainerError(f"{folder} holds no whole model: {error}", fix=RETRAIN) from error
    if made_for[0] != list(classes):
        raise TrainerError(
            f"the model in {folder} was trained for the classes {made_for[0]}, not {list(classes)}",
            fix=RETRAIN,
        )
    if made_for[1] != side:
        raise TrainerError(
            f"the model in {folder} was trained with side = {made_for[1]}, not {side}",
            fix="Set the option back, or train again.",
        )
    return model, sizes
