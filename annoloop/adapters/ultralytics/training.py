"""One training by Ultralytics in the folder of a model: begun, or gone on with after a kill."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annoloop.errors import AnnoloopError, SettingsError, TrainerError
from annoloop.networks import (
    NetworkOptions,
    choose_device,
    is_out_of_memory,
    peak_memory,
    shrinking,
)
from annoloop.ports import Progress

RUN, DATA = "run", "data"
STEPS, LEAST_BATCH, LARGEST_BATCH = 8, 4, 16
"""About so many steps of the optimizer an epoch, where the training set is small."""


@dataclass(frozen=True, slots=True)
class Training:
    """What is trained: `kind` is the trainer class of Ultralytics, `model` what it starts from."""

    kind: Any
    model: str
    data: Path
    folder: Path
    images: int
    held: int
    seed: int
    options: NetworkOptions

    @property
    def batch(self) -> int:
        return self.options.batch or min(LARGEST_BATCH, max(LEAST_BATCH, self.images // STEPS))

    @property
    def nominal(self) -> int:
        """Images a step of the optimizer; by itself Ultralytics gathers 64, which for a first batch
        of labels is less than one step an epoch: nothing would be learnt."""
        return min(64, max(self.batch, self.images // STEPS))

    @property
    def last(self) -> Path:
        return self.folder / RUN / "weights" / "last.pt"


def run(task: Training, progress: Progress) -> dict[str, Any]:
    """Train to the end; what is to be remembered of it, with `notes` for people.

    Half the batch is taken where the memory is too small. Raises TrainerError for what Ultralytics
    says, SettingsError for an argument that it does not know.
    """
    import torch

    notes: list[str] = []

    def say(what: str) -> None:
        notes.append(what)
        progress(0, task.options.epochs, what)

    device = choose_device(torch, task.options.device, who="trainer 'ultralytics'")
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    found = shrinking(task.batch, lambda n: _once(task, n, device, progress), say)
    name, peak = peak_memory(torch, device)
    if found["batch"] < task.batch and not notes:
        notes.append(f"out of memory: {found['batch']} images at once")
    return found | {"device": device, name: peak, "notes": notes}


def _once(task: Training, batch: int, device: str, progress: Progress) -> dict[str, Any]:
    done = epochs_done(task.last, task.options.epochs)
    if done >= task.options.epochs:  # killed after the last epoch, before its model was kept
        return {"epochs": done, "batch": batch, "resumed_at_epoch": done}
    if not done:
        shutil.rmtree(task.folder / RUN, ignore_errors=True)
    started = time.perf_counter()
    try:
        trainer = task.kind(overrides=_arguments(task, batch, device, resuming=bool(done)))
    except (SyntaxError, TypeError, ValueError) as error:
        raise SettingsError(
            f"trainer 'ultralytics': {_reason(error)}",
            fix="Correct [train.options.arguments] (docs.ultralytics.com lists them).",
        ) from error
    _listen(trainer, task, progress)
    try:
        trainer.train()
    except AnnoloopError:
        raise
    except Exception as error:  # theirs has many kinds
        if is_out_of_memory(error):
            raise
        raise TrainerError(
            f"Ultralytics failed: {_reason(error)}",
            fix=f"See {task.folder / 'log.txt'} for what it did before.",
        ) from error
    seconds = time.perf_counter() - started
    epochs = trainer.epoch + 1
    progress(task.options.epochs, task.options.epochs, f"trained {epochs} epochs")
    found = {
        "epochs": epochs,
        "best_epoch": trainer.stopper.best_epoch,
        "stopped_early": epochs < task.options.epochs,
        "batch": trainer.batch_size,
        "train_seconds": round(seconds, 3),
        "images_per_second": round(task.images * (epochs - done) / seconds, 1),
    }
    if task.held:
        found["held_out_ap50"] = round(float(trainer.metrics["metrics/mAP50(B)"]), 4)
    return found | ({"resumed_at_epoch": done} if done else {})


def _arguments(task: Training, batch: int, device: str, *, resuming: bool) -> dict[str, Any]:
    options, run = task.options, task.folder / RUN
    ours = {
        "task": "detect",
        "mode": "train",
        "model": task.model,
        "data": str(task.data),
        "epochs": options.epochs,
        "patience": options.patience if task.held else options.epochs,
        "batch": batch,
        "imgsz": options.side,
        "device": device,
        "save_dir": str(run),
        "project": str(run.parent),
        "name": run.name,
        "exist_ok": True,
        "seed": task.seed,
        "val": task.held > 0,
    }
    defaults = {"plots": False, "verbose": False, "workers": 4, "nbs": task.nominal}
    return defaults | options.arguments | ours | ({"resume": str(task.last)} if resuming else {})


def _listen(trainer: Any, task: Training, progress: Progress) -> None:
    """Tell how far it is, and refuse to go on where Ultralytics silently drops images."""
    batches = [0]

    def begins(one: Any) -> None:
        there = len(one.train_loader.dataset)
        if there != task.images:
            raise TrainerError(
                f"Ultralytics left out {task.images - there} of {task.images} training images",
                fix=f"See {task.folder / 'log.txt'}: it names them and says why.",
            )

    def epoch(_: Any) -> None:
        batches[0] = 0

    def batch(one: Any) -> None:
        batches[0] += 1
        what = f"training epoch {one.epoch + 1}, batch {batches[0]} of {len(one.train_loader)}"
        progress(min(one.epoch, task.options.epochs), task.options.epochs, what)

    trainer.add_callback("on_pretrain_routine_end", begins)
    trainer.add_callback("on_train_epoch_start", epoch)
    trainer.add_callback("on_train_batch_end", batch)


def epochs_done(last: Path, epochs: int) -> int:
    """How many epochs the checkpoint of a killed run has behind it; 0 if it is not whole."""
    from ultralytics.nn.tasks import load_checkpoint

    if not last.is_file():
        return 0
    try:
        _, checkpoint = load_checkpoint(last)
    except Exception:  # it was killed while it wrote
        return 0
    if checkpoint.get("optimizer") is None:  # stripped at the very end
        return epochs
    return int(checkpoint["epoch"]) + 1


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
