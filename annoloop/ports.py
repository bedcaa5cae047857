"""The ports: what an adapter must offer; built-ins and plugins come by the same entry points.

Entry-point groups: annoloop.readers, annoloop.writers, annoloop.embedders, annoloop.trainers,
annoloop.annotators, annoloop.mirrors, annoloop.engines, annoloop.strategies. An entry point names a
class (or a function) that is called with the adapter's options as keyword arguments and returns an
object of the port; a strategy's entry point names the strategy function itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from annoloop.records import (
    Annotation,
    Batch,
    Box,
    Detection,
    ForeignDataset,
    LabeledImage,
    ModelCard,
)
from annoloop.records_loop import ForeignLoop, LoopBoxes, Mirrored

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what) by long work."""


def silent(done: int, total: int, what: str) -> None:
    """The progress callback of those who do not want one."""


class Reader(Protocol):
    """A foreign data set → images and labels. Raises InputError naming file and row."""

    def read(self, source: Path) -> ForeignDataset: ...


class LoopReader(Protocol):
    """A data set that another tool keeps, with what its loop has done; it is read in bulk."""

    def read_loop(self) -> ForeignLoop:
        """Every sample, without boxes and vectors. Raises InputError for what is not as it says."""
        ...

    def boxes(self, ids: Sequence[str]) -> Mapping[str, LoopBoxes]:
        """The boxes of these samples, by external id. Raises InputError naming file and field."""
        ...

    def vectors(self, ids: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
        """Those of the samples that have a vector, and the finite vectors (m, d).

        Raises VectorError naming a file whose vector is broken or of another width.
        """
        ...


class Writer(Protocol):
    """Images and labels → files of a foreign format, images without boxes included."""

    def write(
        self, out: Path, images: Sequence[LabeledImage], *, classes: Sequence[str]
    ) -> Sequence[Path]: ...


class Embedder(Protocol):
    """Image files → vectors. `name` identifies the vectors: change it when they would change."""

    @property
    def name(self) -> str: ...

    def embed(self, files: Sequence[str]) -> NDArray[np.float32]:
        """One finite row per file, shape (len(files), d). Raises InputError naming a bad file."""
        ...


class CropEmbedder(Embedder, Protocol):
    """An embedder that describes regions of images too, so that objects can be compared."""

    def embed_crops(
        self, files: Sequence[str], boxes: Sequence[Sequence[Box]]
    ) -> NDArray[np.float32]:
        """One finite row per box, (boxes of all files, d), file by file, in the order given.

        Boxes are whole pixels inside their image, context included; d is that of `embed`. Raises
        InputError naming a bad file.
        """
        ...


class Trainer(Protocol):
    """Fit on a training set into a folder; predict on images from that folder.

    A trainer with `resumes = True` is given the folder as a killed run of the same model left it,
    perhaps of another training set: it says itself what of that it goes on with. `notes` among a
    ModelCard's details are shown to people.
    """

    def fit(
        self,
        images: Sequence[LabeledImage],
        *,
        classes: Sequence[str],
        folder: Path,
        seed: int,
        progress: Progress,
    ) -> ModelCard: ...

    def predict(
        self,
        folder: Path,
        images: Sequence[LabeledImage],
        *,
        classes: Sequence[str],
        progress: Progress,
    ) -> Iterator[tuple[str, tuple[Detection, ...]]]:
        """(sample id, detections) for every image asked, in the order asked."""
        ...


class Features(Protocol):
    """What a trainer also has if its models can describe images: features of the network."""

    def features_name(self, folder: Path, *, classes: Sequence[str]) -> str:
        """Which vectors `features` gives: another model or another way of pooling, another name.

        Raises TrainerError for a model that is missing, broken, foreign, or made for other classes.
        """
        ...

    def features(
        self,
        folder: Path,
        files: Sequence[str],
        boxes: Sequence[Sequence[Box]] | None = None,
        *,
        classes: Sequence[str],
    ) -> NDArray[np.float32]:
        """A finite row of length 1 for each file, or for each box of each file; (n, d)."""
        ...


class ModelEmbedder(Protocol):
    """An embedder by the project's newest model: it is told each time which model that is."""

    def of(self, trainer: Features, folder: Path, *, classes: Sequence[str]) -> CropEmbedder: ...


class Annotator(Protocol):
    """Send a batch out to people, and bring their answers back."""

    def send(
        self, batch: Batch, images: Sequence[LabeledImage], *, classes: Sequence[str]
    ) -> Mapping[str, Any]: ...

    def fetch(self, batch: Batch, *, classes: Sequence[str]) -> Iterable[Annotation]: ...


class Mirror(LoopReader, Protocol):
    """A data set that shows what the loop decided; whoever pushes looks first what has changed."""

    def look(self) -> Mirrored:
        """What is shown now."""
        ...

    def push_tags(
        self, add: Mapping[str, Sequence[str]], remove: Mapping[str, Sequence[str]]
    ) -> None:
        """Tag → external ids that get it, and that lose it."""
        ...

    def push_values(self, name: str, values: Mapping[str, Any]) -> None:
        """One value a sample: `status`, `reason`, `score`, or boxes (`Drawn`) of `human`, of
        `predictions`, or of a golden pass (`golden_…`)."""
        ...

    def push_summary(
        self, views: Mapping[str, str | Sequence[str]], info: Mapping[str, Any]
    ) -> None:
        """Saved views, each by a tag or by external ids, and what is told of the whole."""
        ...


class Engine(Protocol):
    """Run a function over chunks, in the order given: local threads, or a cluster."""

    def map(self, function: Callable[[T], R], chunks: Iterable[T]) -> Iterator[R]: ...
