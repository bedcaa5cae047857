"""`demo`: generated digits, the whole loop with the oracle, and a page to look at."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from annoloop.errors import InputError
from annoloop.ports import Progress
from annoloop.project import Project
from annoloop.records import Source
from annoloop.results import DemoResult

PAGE = "report.html"
KEYS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "zero")
"""The classes in the order of the keys that choose them: a 3 is labelled by pressing 3."""

OPEN = 10
"""Picks of the batch that is left open: a few minutes of labelling, golden images on top."""


def run_demo(
    folder: Path,
    *,
    iterations: int,
    images: int,
    seed: int,
    say: Callable[[str], None],
    progress: Progress,
) -> DemoResult:
    """Make the data, run `iterations` passes, and leave the next batch open and unlabelled."""
    from annoloop.testing import make_digits

    if folder.exists() and any(folder.iterdir()):
        raise InputError(
            f"{folder} is not empty; the demo starts afresh",
            fix=f"Remove it (`rm -r {folder}`) or name another folder.",
        )
    started = time.perf_counter()
    say(f"making {images} images with handwritten digits")
    data = make_digits(folder / "data", images=images, seed=seed, progress=progress)
    project, made = Project.init(
        folder,
        Source(str(data / "images"), str(data / "labels.json"), classes=KEYS),
        group="folder",
        say=say,
        progress=progress,
    )
    # The oracle costs nothing, so the demo can afford golden checks that have something to say.
    with (project.folder / "annoloop.toml").open("a", encoding="utf-8") as settings:
        settings.write("\n[golden]\nshare = 0.8\nrotation = 0.0\n")
    project = Project(folder, say=say, progress=progress)
    say(f"{made.ingest.images_added} images, {made.ingest.boxes} boxes; splitting and embedding")
    project.run(iterations=iterations, annotator="oracle")
    project.select(OPEN)
    project.report(folder / PAGE)
    now = project.status()
    return DemoResult(
        project=str(folder),
        report=str(folder / PAGE),
        seconds=round(time.perf_counter() - started, 1),
        rows=now.iterations,
        open_batch=now.open_batch,
    )
