"""TorchVision's detectors, trained from scratch or from a local file; nothing is downloaded."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.adapters.torchvision.learning import Lesson, Setup, found_on, learn
from annoloop.adapters.torchvision.network import (
    TorchvisionOptions,
    build,
    check_options,
    sdk,
    take_weights,
)
from annoloop.adapters.torchvision.sight import see
from annoloop.core.training_set import count_boxes, hold_out
from annoloop.errors import AnnoloopError, TrainerError
from annoloop.features import Eye, at_once, described, features_name
from annoloop.networks import (
    RETRAIN,
    choose_device,
    digest_images,
    digest_of,
    earlier_model,
    is_out_of_memory,
    own_state,
    peak_memory,
    plain_options,
    read_manifest,
    resumable,
    shrinking,
    write_manifest,
)
from annoloop.ports import Progress
from annoloop.records import Box, Detection, LabeledImage, ModelCard

FORMAT = "annoloop-torchvision-1"
WEIGHTS, RUN = "model.pt", "run"
BATCH = 4
_CHUNK = 16


class TorchvisionTrainer:
    """Trains `model`, the name of a detector of TorchVision, with the options of
    TorchvisionOptions; `arguments` go to TorchVision's builder. Raises SettingsError for options
    that are wrong, weights that are not there included.
    """

    resumes = True

    def __init__(self, **options: Any) -> None:
        self._options = TorchvisionOptions(**options)
        check_options(self._options)
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

        Raises TrainerError for a training set or weights of no use, InputError for a broken image.
        """
        started = time.perf_counter()
        counts = count_boxes(images, classes)
        torch, torchvision = sdk()
        device = choose_device(torch, self._options.device, who="trainer 'torchvision'")
        folder = folder.absolute()
        train, held = hold_out(images, self._options.holdout)
        earlier = self._earlier(folder, classes)
        with own_state(torch):
            _, initial, notes = self._begin(torch, len(classes), seed, earlier)
        about = {
            "classes": list(classes),
            "initial": initial,
            "options": plain_options(self._options),
            "seed": seed,
            "trained_on": {"images": len(images), "blake2b": digest_images(images)},
            "torchvision": torchvision.__version__,
        }
        resumable(folder, digest_of(about))
        lesson = Lesson(train, held, classes, folder, seed, self._options)

        def once(batch: int) -> dict[str, Any]:
            network = self._begin(torch, len(classes), seed, earlier)[0]
            return _explained(Setup(torch, network, device, batch, progress), lesson)

        def say(what: str) -> None:
            notes.append(what)
            progress(0, self._options.epochs, what)

        if device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(device)
        with own_state(torch):
            found = shrinking(self._options.batch or BATCH, once, say)
        name, peak = peak_memory(torch, device)
        if not held:
            notes.append("no image held out: trained all epochs, nothing said when to stop")
        lesson.best.replace(folder / WEIGHTS)
        shutil.rmtree(folder / RUN)
        details = {"images": len(images), "held_out": len(held), "boxes_by_class": counts, **found}
        details |= {"device": device, name: peak}
        write_manifest(folder, form=FORMAT, weights=WEIGHTS, about=about | details)
        details |= {"initial": initial, "notes": notes, "seed": seed}
        return ModelCard("torchvision", str(folder), time.perf_counter() - started, details)

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
        torch, _ = sdk()
        device = choose_device(torch, self._options.device, who="trainer 'torchvision'")
        network = self._network(torch, folder, manifest)
        return self._detections(network, images, device, progress)

    def features_name(self, folder: Path, *, classes: Sequence[str]) -> str:
        """`torchvision-MODEL-HASH`, by the weights and the side that images are brought to."""
        return features_name("torchvision", read_manifest(folder, form=FORMAT, classes=classes))

    def features(
        self,
        folder: Path,
        files: Sequence[str],
        boxes: Sequence[Sequence[Box]] | None = None,
        *,
        classes: Sequence[str],
    ) -> NDArray[np.float32]:
        """The maps of the backbone, feature pyramid included, pooled over images or their boxes.

        Raises TrainerError as `predict` does, InputError naming a bad image, VectorError where the
        network gives NaN or infinity.
        """
        manifest = read_manifest(folder, form=FORMAT, classes=classes)
        torch, _ = sdk()
        device = choose_device(torch, self._options.device, who="trainer 'torchvision'")
        network = self._network(torch, folder, manifest)
        look = partial(see, torch, network, device=device)
        eye = Eye(torch, look, f"the model in {folder}", at_once(device))
        with own_state(torch):
            return described(eye, files, boxes)

    def _network(self, torch: Any, folder: Path, manifest: dict[str, Any]) -> Any:
        """The trained network, kept for the next call. Raises TrainerError."""
        if self._loaded is None or self._loaded[0] != manifest["blake2b"]:
            with own_state(torch):
                options = TorchvisionOptions(**manifest["options"])
                network = build(options, len(manifest["classes"]))
            try:
                state = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
                network.load_state_dict(state)
            except Exception as error:  # torch has many kinds
                raise TrainerError(
                    f"{folder} holds no whole model: {error}", fix=RETRAIN
                ) from error
            self._loaded = str(manifest["blake2b"]), network
        return self._loaded[1]

    def _detections(
        self, network: Any, images: Sequence[LabeledImage], device: str, progress: Progress
    ) -> Iterator[tuple[str, tuple[Detection, ...]]]:
        torch, _ = sdk()
        for start in range(0, len(images), _CHUNK):
            part = images[start : start + _CHUNK]
            with own_state(torch):
                rows = list(found_on(torch, network, part, device=device))
            for done, (image, found) in enumerate(zip(part, rows, strict=True), start=start + 1):
                progress(done, len(images), "predicting")
                yield image.sample_id, found

    def _begin(
        self, torch: Any, classes: int, seed: int, earlier: Path | None
    ) -> tuple[Any, dict[str, Any], list[str]]:
        """The network as training starts: what the manifest keeps of it, and notes for people."""
        torch.manual_seed(seed)
        network = build(self._options, classes)
        weights = earlier / WEIGHTS if earlier else self._options.weights
        if weights is None:
            note = f"trained from scratch ({self._options.model})"
            return network, {"architecture": self._options.model}, [note]
        record, note = take_weights(torch, network, Path(weights).expanduser())
        if earlier:
            record["continues"] = str(earlier)
        return network, record, [note]

    def _earlier(self, folder: Path, classes: Sequence[str]) -> Path | None:
        wanted = self._options.continue_from
        return earlier_model(wanted, folder, form=FORMAT, classes=classes) if wanted else None


def _explained(setup: Setup, lesson: Lesson) -> dict[str, Any]:
    """`learn`, with what TorchVision says as a TrainerError."""
    try:
        return learn(setup, lesson)
    except AnnoloopError:
        raise
    except Exception as error:  # theirs has many kinds
        if is_out_of_memory(error):
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TrainerError(
            f"TorchVision failed: {reason}",
            fix="Check `side`, `batch` (2 at least from scratch) and `arguments` in "
            "[train.options].",
        ) from error
