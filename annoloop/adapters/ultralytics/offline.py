"""Ultralytics as a library: nothing is fetched, installed, sent or printed, nothing stays changed.

By itself it looks for fonts, weights for a check of half precision, newer versions and missing
packages, reports how it is used, and sets OpenCV's threads, environment and random numbers.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import random
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np

from annoloop.errors import DependencyError, TrainerError

LICENCE = "AGPL-3.0"
SAID = (
    "Ultralytics is under AGPL-3.0: who passes on, or serves over a network, what is built with it "
    "has to pass on the source of the whole, or buy a licence from Ultralytics"
)
_SLOW_HALF = ("1660", "1650", "1630", "t400", "t550", "t600", "t1000", "t1200", "t2000", "k40m")


def sdk() -> Any:
    """The module `ultralytics`. Raises DependencyError without it."""
    with _kept(), patch.dict(os.environ):
        os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
        if "YOLO_CONFIG_DIR" not in os.environ:  # else it writes into the home folder
            os.environ["YOLO_CONFIG_DIR"] = _room()
        try:
            importlib.import_module("torch")  # first: Ultralytics would hold it to one thread
            import ultralytics
            import ultralytics.engine.trainer
            import ultralytics.models
        except ImportError as error:
            raise DependencyError(
                f"trainer 'ultralytics' does not import: {error}",
                fix=f"Install it: `pip install 'annoloop[ultralytics]'` ({LICENCE}).",
            ) from error
    return ultralytics


_ROOM: list[str] = []


def _room() -> str:
    """One folder for the settings that Ultralytics insists on writing, gone when we are."""
    if not _ROOM:
        _ROOM.append(tempfile.mkdtemp(prefix="annoloop-ultralytics-"))
        atexit.register(shutil.rmtree, _ROOM[0], ignore_errors=True)
    return _ROOM[0]


@contextmanager
def quiet(log: Path | None) -> Iterator[Any]:
    """The module, inside of which it keeps to itself; what it says is added to `log`."""
    ultralytics = sdk()
    import torch
    from ultralytics.utils import LOGGER, NUM_THREADS

    before = LOGGER.handlers[:], LOGGER.level, LOGGER.propagate
    with ExitStack() as stack:
        stack.enter_context(_kept())
        stack.enter_context(patch.dict(os.environ))
        for where, value in _REPLACED.items():
            stack.enter_context(patch(f"ultralytics.{where}", value))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stream = stack.enter_context((log or Path(os.devnull)).open("a", encoding="utf-8"))
        stack.enter_context(redirect_stdout(stream))
        LOGGER.handlers[:] = [logging.StreamHandler(stream)]
        LOGGER.propagate = False
        LOGGER.setLevel(logging.INFO if log else logging.ERROR)
        torch.set_num_threads(NUM_THREADS)  # from the start: other sums would give other last bits
        cv2.setNumThreads(0)  # forked data loaders would wait for its threads without end
        try:
            yield ultralytics
        finally:
            LOGGER.handlers[:], LOGGER.propagate = before[0], before[2]
            LOGGER.setLevel(before[1])


@contextmanager
def _kept() -> Iterator[None]:
    """Random numbers, threads and determinism are afterwards as they were before.

    NPY002 asks for a Generator; it is NumPy's global numbers that Ultralytics sets.
    """
    threads, state = cv2.getNumThreads(), (random.getstate(), np.random.get_state())  # noqa: NPY002
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        numbers, cpus = torch.get_rng_state(), torch.get_num_threads()
        strict = torch.are_deterministic_algorithms_enabled()
        warn = torch.is_deterministic_algorithms_warn_only_enabled()
        exact = torch.backends.cudnn.deterministic
        filled = torch.utils.deterministic.fill_uninitialized_memory
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
        random.setstate(state[0])
        np.random.set_state(state[1])  # noqa: NPY002
        if torch is not None:
            torch.set_rng_state(numbers)
            torch.set_num_threads(cpus)
            torch.use_deterministic_algorithms(strict, warn_only=warn)
            torch.backends.cudnn.deterministic = exact
            torch.utils.deterministic.fill_uninitialized_memory = filled


def _refused(*args: Any, **named: Any) -> Any:
    what = named.get("url") or (args[0] if args else "a file")
    raise TrainerError(
        f"Ultralytics wanted to download {what}, which annoloop does not allow",
        fix="Fetch it yourself, and name the file in [train.options].",
    )


def _half_precision(model: Any) -> bool:
    """Whether training in half precision is sound, by the name of the GPU; theirs downloads."""
    import torch

    device = next(model.parameters()).device
    if device.type != "cuda":
        return False
    name = torch.cuda.get_device_name(device).lower()
    return not any(slow in name for slow in _SLOW_HALF)


def _nothing(*_args: Any, **_named: Any) -> None:
    return None


_REPLACED: dict[str, Any] = {
    "engine.trainer.check_amp": _half_precision,
    "data.utils.check_font": _nothing,
    "utils.plotting.check_font": _nothing,
    "utils.callbacks.add_integration_callbacks": _nothing,
    "utils.downloads.safe_download": _refused,
    "data.utils.safe_download": _refused,
    "utils.checks.AUTOINSTALL": False,
    "nn.tasks.SAFE_LOAD": True,  # weights are numbers and known layers: no code in them runs
}
