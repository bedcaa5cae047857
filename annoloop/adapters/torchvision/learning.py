"""The epochs: the same from a seed, whether undisturbed or gone on with after a kill."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from annoloop.adapters.torchvision.network import TorchvisionOptions, set_training
from annoloop.core.documents import clipped
from annoloop.core.evaluation import evaluate
from annoloop.errors import TrainerError
from annoloop.feeding import ahead
from annoloop.images import read_rgb
from annoloop.networks import detections
from annoloop.ports import Progress
from annoloop.records import Detection, LabeledImage

_THREADS = 2
_WARM_UP = 200
"""Steps in which the learning rate rises, at most a whole epoch's."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What learns, and where: `batch` images at once on `device`."""

    torch: Any
    network: Any
    device: str
    batch: int
    progress: Progress


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is learnt from, and in which folder; `run/` in it is for checkpoints."""

    train: Sequence[LabeledImage]
    held: Sequence[LabeledImage]
    classes: Sequence[str]
    folder: Path
    seed: int
    options: TorchvisionOptions

    @property
    def last(self) -> Path:
        return self.folder / "run" / "last.pt"

    @property
    def best(self) -> Path:
        return self.folder / "run" / "best.pt"


def learn(setup: Setup, lesson: Lesson) -> dict[str, Any]:
    """Train to the end or until the images held out gain nothing more; what is to be remembered.

    The best weights are in `lesson.best`. Raises TrainerError where the loss is not finite.
    """
    torch, network, options = setup.torch, setup.network, lesson.options
    network.to(setup.device)
    weights = [one for one in network.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=options.learning_rate, weight_decay=1e-4)
    state = _restored(setup, optimizer, lesson)
    first, started = state["epoch"], time.perf_counter()
    while state["epoch"] < options.epochs and not _over(state, lesson):
        epoch = state["epoch"]
        torch.manual_seed(_seed(lesson.seed, epoch))
        _epoch(setup, optimizer, lesson, epoch=epoch)
        score = _score(setup, lesson) if lesson.held else float(epoch)
        state["epoch"] += 1
        if score > state["best"]:
            state |= {"best": score, "best_epoch": state["epoch"]}
            _save(torch, lesson.best, network.state_dict())
        whole = state | {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
        _save(torch, lesson.last, whole)
    seconds = time.perf_counter() - started
    done = state["epoch"] - first
    setup.progress(options.epochs, options.epochs, f"trained {state['epoch']} epochs")
    found = {
        "epochs": state["epoch"],
        "best_epoch": state["best_epoch"],
        "stopped_early": state["epoch"] < options.epochs,
        "batch": setup.batch,
        "train_seconds": round(seconds, 3),
        "images_per_second": round(len(lesson.train) * done / seconds, 1) if done else None,
    }
    if lesson.held:
        found["held_out_ap50"] = round(state["best"], 4)
    return found | ({"resumed_at_epoch": first} if first else {})


def _restored(setup: Setup, optimizer: Any, lesson: Lesson) -> dict[str, Any]:
    """What a killed run had reached, put into network and optimizer; the beginning without one."""
    begin: dict[str, Any] = {"epoch": 0, "best": -1.0, "best_epoch": 0}
    if not lesson.last.is_file():
        return begin
    saved = setup.torch.load(lesson.last, map_location=setup.device, weights_only=True)
    setup.network.load_state_dict(saved["network"])
    optimizer.load_state_dict(saved["optimizer"])
    return {key: saved[key] for key in begin}


def found_on(
    torch: Any, network: Any, images: Sequence[LabeledImage], *, device: str
) -> Iterator[tuple[Detection, ...]]:
    """Detections of each image in order, one image at a time: padding to the size of others would
    change them."""
    network.to(device)
    network.eval()
    with ThreadPoolExecutor(_THREADS) as pool:
        for image, rgb in zip(images, ahead(pool, pixels, images, room=8), strict=True):
            with torch.inference_mode():
                (out,) = network([_tensor(torch, rgb, device)])
            kinds, scores = (out["labels"] - 1).tolist(), out["scores"].tolist()
            rows = zip(kinds, scores, out["boxes"].tolist(), strict=True)
            yield detections([row for row in rows if row[0] >= 0], image)


def pixels(image: LabeledImage) -> Any:
    """(height, width, 3) RGB. Raises TrainerError for a file that is not what was recorded."""
    rgb = read_rgb(image.file)
    height, width = rgb.shape[:2]
    if (width, height) != (image.width, image.height):
        raise TrainerError(
            f"{image.path} is {width} × {height} pixels, but {image.width} × {image.height} "
            "were recorded",
            fix="The file changed after it was ingested: bring the old one back.",
        )
    return rgb


def _epoch(setup: Setup, optimizer: Any, lesson: Lesson, *, epoch: int) -> None:
    torch, network = setup.torch, setup.network
    rng = np.random.default_rng([lesson.seed, epoch])
    order = [lesson.train[i] for i in rng.permutation(len(lesson.train))]
    flips = rng.random(len(order)) < (0.5 if lesson.options.flip else 0)
    parts = _parts(len(order), setup.batch)
    rate = _rate(lesson.options, len(parts))
    set_training(torch, network)
    with ThreadPoolExecutor(_THREADS) as pool:
        loaded = ahead(pool, pixels, order, room=2 * setup.batch)
        for step, part in enumerate(parts):
            shown = [
                _example(torch, next(loaded), image, flip=bool(flip), device=setup.device)
                for image, flip in zip(order[part], flips[part], strict=True)
            ]
            for group in optimizer.param_groups:
                group["lr"] = rate(epoch * len(parts) + step)
            losses = network([one for one, _ in shown], [target for _, target in shown])
            loss = sum(losses.values())
            if not bool(torch.isfinite(loss)):
                raise TrainerError(
                    f"the loss is {loss.item()} in epoch {epoch + 1}",
                    fix="Lower learning_rate in [train.options], and look for labels without area.",
                )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimizer.step()
            what = f"training epoch {epoch + 1}, batch {step + 1} of {len(parts)}"
            setup.progress(epoch, lesson.options.epochs, what)


def _parts(images: int, batch: int) -> list[slice]:
    """Batches of an epoch; one image left over joins the last: alone it cannot be normalised."""
    starts = list(range(0, images, batch))
    if len(starts) > 1 and images - starts[-1] == 1:
        starts.pop()
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], images], strict=True)]


def _rate(options: TorchvisionOptions, steps: int) -> Callable[[int], float]:
    """The learning rate of each step: it rises for a while, then falls as a cosine."""
    warm, total = min(_WARM_UP, steps), max(options.epochs * steps, 1)

    def rate(step: int) -> float:
        rise = min(1.0, (step + 1) / warm)
        return options.learning_rate * rise * (0.505 + 0.495 * math.cos(math.pi * step / total))

    return rate


def _example(
    torch: Any, rgb: Any, image: LabeledImage, *, flip: bool, device: str
) -> tuple[Any, dict[str, Any]]:
    """A picture (3, h, w) from 0 to 1, and its boxes as corners; ignored labels are left out."""
    boxes, kinds = [], []
    for label in image.labels:
        box = clipped(label.box, image.width, image.height)
        if label.ignored or box is None:
            continue
        x, y, width, height = box
        x = image.width - x - width if flip else x
        boxes.append([x, y, x + width, y + height])
        kinds.append(label.class_id + 1)  # 0 is the background
    target = {
        "boxes": torch.tensor(boxes, dtype=torch.float32, device=device).reshape(-1, 4),
        "labels": torch.tensor(kinds, dtype=torch.int64, device=device),
    }
    return _tensor(torch, rgb[:, ::-1] if flip else rgb, device), target


def _tensor(torch: Any, rgb: Any, device: str) -> Any:
    plain = np.ascontiguousarray(rgb.transpose(2, 0, 1))
    return torch.from_numpy(plain).to(device).float().div_(255)


def _score(setup: Setup, lesson: Lesson) -> float:
    """AP50 on the images held out."""
    found = found_on(setup.torch, setup.network, lesson.held, device=setup.device)
    said = {image.sample_id: rows for image, rows in zip(lesson.held, found, strict=True)}
    truth = {image.sample_id: image.labels for image in lesson.held}
    return evaluate(truth, said, classes=lesson.classes).summary["AP50"] or 0.0


def _over(state: dict[str, Any], lesson: Lesson) -> bool:
    waited = state["epoch"] - state["best_epoch"]
    return bool(lesson.held) and state["epoch"] > 0 and waited >= lesson.options.patience


def _save(torch: Any, file: Path, state: Any) -> None:
    """Whole or not at all: a killed run leaves the checkpoint before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    torch.save(state, part)
    part.replace(file)


def _seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
