"""YOLO and RT-DETR by Ultralytics (AGPL-3.0), trained on a machine that may be without network."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.adapters.ultralytics.offline import LICENCE, SAID, quiet
from annoloop.adapters.ultralytics.prepare import LEAST_SIDE, check_size, write_data
from annoloop.adapters.ultralytics.sight import see
from annoloop.adapters.ultralytics.start import inspected, local_file
from annoloop.adapters.ultralytics.training import DATA, RUN, Training, run
from annoloop.core.training_set import count_boxes, hold_out
from annoloop.errors import SettingsError, TrainerError
from annoloop.features import Eye, at_once, described, features_name
from annoloop.images import read_rgb
from annoloop.networks import (
    LEAST_SCORE,
    MOST,
    NetworkOptions,
    choose_device,
    detections,
    digest_images,
    digest_of,
    earlier_model,
    plain_options,
    read_manifest,
    resumable,
    write_manifest,
)
from annoloop.ports import Progress
from annoloop.records import Box, Detection, LabeledImage, ModelCard

FORMAT = "annoloop-ultralytics-1"
WEIGHTS, LOG, CURVE = "model.pt", "log.txt", "results.csv"
_CHUNK = 16
_OURS = {
    *("task", "mode", "model", "data", "epochs", "patience", "batch", "imgsz", "device", "project"),
    *("name", "save_dir", "exist_ok", "seed", "resume", "val", "split", "save", "classes", "cfg"),
    *("single_cls", "time", "fraction", "distill_model"),
}


class UltralyticsTrainer:
    """Trains `model`: a local .pt file (with our classes or others), or a .yaml from scratch.

    Takes the options of NetworkOptions; `arguments` are passed on to Ultralytics. Nothing is
    downloaded. Raises SettingsError for options that are wrong.
    """

    resumes = True

    def __init__(self, **options: Any) -> None:
        self._options = NetworkOptions(**options)
        self._options.check("ultralytics")
        for key in self._options.arguments:
            if key in _OURS:
                raise SettingsError(
                    f"trainer 'ultralytics': arguments.{key} is set by annoloop",
                    fix="Remove it; [train.options] has what can be chosen.",
                )
        self._loaded: tuple[str, Any] | None = None

    def fit(
        self,
        images: Sequence[LabeledImage],
        *,
        classes: Sequence[str],
        folder: Path,
        seed: int,
        progress: Progress,
    ) -> ModelCard:
        """Train, going on where a killed run of the same training in `folder` was.

        Raises TrainerError for a training set or weights of no use and for what Ultralytics says,
        SettingsError for a model that is not there, InputError for a broken image.
        """
        started = time.perf_counter()
        counts = count_boxes(images, classes)
        model = local_file(self._options.model)
        progress(0, self._options.epochs, SAID)
        folder = folder.absolute()
        usable = [image for image in images if min(image.width, image.height) >= LEAST_SIDE]
        count_boxes(usable, classes)
        train, held = hold_out(usable, self._options.holdout)
        with quiet(None) as ultralytics:
            continues = self._earlier(folder, classes)
            kind, start = inspected(ultralytics, continues or model, classes)
            about = {
                "classes": list(classes),
                "initial": start.record | ({"continues": continues} if continues else {}),
                "options": plain_options(self._options),
                "seed": seed,
                "trained_on": {"images": len(usable), "blake2b": digest_images(usable)},
                "ultralytics": ultralytics.__version__,
            }
        resumable(folder, digest_of(about))
        data = write_data(folder / DATA, train, held, classes=classes)
        counted = {"images": len(train), "held": len(held), "seed": seed}
        task = Training(kind, start.model, data, folder, options=self._options, **counted)
        with quiet(folder / LOG):
            found = run(task, progress)
        notes = [f"Ultralytics is under {LICENCE}", *start.notes, *found.pop("notes")]
        if len(usable) < len(images):
            notes.append(f"{len(images) - len(usable)} images below {LEAST_SIDE} pixels left out")
        if not held:
            notes.append("no image held out: trained all epochs, nothing said when to stop")
        _keep(folder)
        details = {"images": len(usable), "held_out": len(held), "boxes_by_class": counts, **found}
        write_manifest(folder, form=FORMAT, weights=WEIGHTS, about=about | details)
        details |= {"initial": about["initial"], "licence": LICENCE, "notes": notes, "seed": seed}
        return ModelCard("ultralytics", str(folder), time.perf_counter() - started, details)

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
        that is missing, broken, foreign, or made for other classes.
        """
        manifest = read_manifest(folder, form=FORMAT, classes=classes)
        side = int(manifest["options"]["side"])
        return self._detections(self._model(folder, manifest), side, images, progress)

    def features_name(self, folder: Path, *, classes: Sequence[str]) -> str:
        """`ultralytics-MODEL-HASH`, by the weights and the side that images are brought to."""
        return features_name("ultralytics", read_manifest(folder, form=FORMAT, classes=classes))

    def features(
        self,
        folder: Path,
        files: Sequence[str],
        boxes: Sequence[Sequence[Box]] | None = None,
        *,
        classes: Sequence[str],
    ) -> NDArray[np.float32]:
        """The maps that the detection head reads, pooled over images or over their boxes.

        Raises TrainerError as `predict` does, InputError naming a bad image, VectorError where the
        network gives NaN or infinity.
        """
        manifest = read_manifest(folder, form=FORMAT, classes=classes)
        with quiet(None):
            import torch

            device = choose_device(torch, self._options.device, who="trainer 'ultralytics'")
            network = self._model(folder, manifest).model.to(device).eval()
            network.fuse(verbose=False)  # as prediction does: it would change the last bits later
            look = partial(see, torch, network, side=int(manifest["options"]["side"]))
            eye = Eye(torch, look, f"the model in {folder}", at_once(device))
            return described(eye, files, boxes)

    def _model(self, folder: Path, manifest: dict[str, Any]) -> Any:
        """The trained model, kept for the next call."""
        if self._loaded is None or self._loaded[0] != manifest["blake2b"]:
            with quiet(None) as ultralytics:
                model = ultralytics.YOLO(str(folder / WEIGHTS))
            self._loaded = str(manifest["blake2b"]), model
        return self._loaded[1]

    def _detections(
        self, model: Any, side: int, images: Sequence[LabeledImage], progress: Progress
    ) -> Iterator[tuple[str, tuple[Detection, ...]]]:
        for start in range(0, len(images), _CHUNK):
            part = images[start : start + _CHUNK]
            with quiet(None):
                found = self._found(model, side, part)
            for done, (image, rows) in enumerate(zip(part, found, strict=True), start=start + 1):
                progress(done, len(images), "predicting")
                yield image.sample_id, detections(rows, image)

    def _found(
        self, model: Any, side: int, images: Sequence[LabeledImage]
    ) -> list[list[tuple[int, float, list[float]]]]:
        """Rows of each image. Images of one size go together on a GPU: what an image gets must not
        depend on its neighbours, and padding does on their size."""
        import torch

        device = choose_device(torch, self._options.device, who="trainer 'ultralytics'")
        alone = not device.startswith("cuda")
        how = {"imgsz": side, "device": device, "conf": LEAST_SCORE, "max_det": MOST}
        found = []
        groups = groupby(enumerate(images), lambda one: (one[0] if alone else 0, _size(one[1])))
        for _, group in groups:
            pictures = []
            for _, image in group:
                rgb = read_rgb(image.file)
                check_size(image, (rgb.shape[1], rgb.shape[0]))
                pictures.append(np.ascontiguousarray(rgb[..., ::-1]))
            how["batch"] = len(pictures)
            for result in model.predict(pictures, verbose=False, save=False, **how):
                boxes = result.boxes
                kinds, scores = boxes.cls.int().tolist(), boxes.conf.tolist()
                found.append(list(zip(kinds, scores, boxes.xyxy.tolist(), strict=True)))
        return found

    def _earlier(self, folder: Path, classes: Sequence[str]) -> str | None:
        wanted = self._options.continue_from
        found = earlier_model(wanted, folder, form=FORMAT, classes=classes) if wanted else None
        return str(found / WEIGHTS) if found else None


def _size(image: LabeledImage) -> tuple[int, int]:
    return image.width, image.height


def _keep(folder: Path) -> None:
    """The best weights and the curve stay; data, checkpoints and settings of the run go."""
    weights = folder / RUN / "weights"
    best = weights / "best.pt"
    chosen = best if best.is_file() else weights / "last.pt"
    if not chosen.is_file():
        raise TrainerError(
            f"Ultralytics ended without weights in {weights}", fix=f"See {folder / LOG}."
        )
    chosen.replace(folder / WEIGHTS)
    if (folder / RUN / CURVE).is_file():
        (folder / RUN / CURVE).replace(folder / CURVE)
    for part in (RUN, DATA):
        shutil.rmtree(folder / part)
