"""What every step is given: the stores, the settings, and the outside world as arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annoloop.errors import InputError, LockedSplitError, NotReadyError
from annoloop.ports import Embedder, Progress, Trainer
from annoloop.records import LabeledImage, Sample, Split
from annoloop.settings import Settings
from annoloop.store.db import Store
from annoloop.store.iterations import Iteration
from annoloop.store.vectors import VectorStore


@dataclass(frozen=True, slots=True)
class Context:
    """The world of one call. Adapters are made only when a step asks for them."""

    folder: Path
    settings: Settings
    store: Store
    vectors: VectorStore
    who: str
    now: Callable[[], str]
    stopwatch: Callable[[], float]
    say: Callable[[str], None]
    progress: Progress
    embedder: Callable[[], Embedder]
    trainer: Callable[[], Trainer]
    strategies: Callable[[Iterable[str]], Mapping[str, Any]]

    @property
    def images_root(self) -> Path:
        return self.folder / self.settings.images.root

    def model_folder(self, model: str) -> Path:
        return self.folder / "models" / model


def require_batch_closed(iteration: Iteration | None) -> Iteration:
    """The newest iteration, with its answers in. Raises NotReadyError: only people can do that."""
    if iteration is None:
        raise NotReadyError(
            "there is no batch yet", fix="Run `annoloop select` to choose the first one."
        )
    if "annotate" not in iteration.steps:
        raise NotReadyError(
            f"batch {iteration.batch} is still open: its images are waiting for people",
            fix="Label them on the page of `annoloop app`, or bring answers with `annoloop "
            f"annotate import FILE --batch {iteration.batch} --annotator NAME`; then close the "
            f"batch: `annoloop annotate close {iteration.batch}`.",
        )
    return iteration


def refuse_locked(samples: Iterable[Sample], *, what: str) -> None:
    """Raise LockedSplitError if a test, val or golden sample is about to be used for `what`."""
    bad = [s for s in samples if s.split is not Split.POOL]
    if bad:
        raise LockedSplitError(
            f"{len(bad)} samples outside the pool would be {what}, first {bad[0].path} "
            f"({bad[0].split or 'no split yet'})",
            fix="Only pool samples are selected and trained on; run `annoloop split` if new "
            "images have no split yet.",
        )


def as_images(samples: Iterable[Sample]) -> list[LabeledImage]:
    """Samples as images without labels, on their way to a predictor or an annotator."""
    return [LabeledImage(s.id, s.path, s.uri, s.width, s.height) for s in samples]


def is_missing(uri: str) -> bool:
    """True if the file of a local image is gone."""
    return "://" not in uri and not Path(uri).is_file()


def require_files(wanted: Mapping[str, str]) -> None:
    """Raise InputError before long work starts, if an image that it needs (path → URI) is gone."""
    gone = [path for path, uri in wanted.items() if is_missing(uri)]
    if gone:
        raise InputError(
            f"{len(gone)} of {len(wanted)} images are gone, first {gone[0]}",
            fix="Bring them back, or take them out of the loop: "
            '`annoloop annotate skip --missing --why "deleted"`.',
        )
