"""Vectors, fingerprints, scores and predictions as Lance data sets: derived data, all of it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from annoloop.errors import BusyError, VectorError
from annoloop.records import Detection

if TYPE_CHECKING:
    from numpy.typing import NDArray


KINDS = ("vectors", "fingerprints", "scores", "predictions", "points")
"""The folders of data sets, all derived."""

_CONFLICT = re.compile(r"commit conflict|already exists", re.IGNORECASE)

FEW = 8
"""Up to one row in so many is picked from where it lies; for more all rows are read."""
READ = 1 << 14
"""Rows read at once, so that no copy of all of them is held beside what was asked."""
SEEN = "mirror"
"""The folder of what another tool showed: small, and nobody could compute it again."""


class VectorStore:
    """Lance data sets in one folder, each keyed by content hash or sample id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._keys: dict[tuple[str, str], tuple[tuple[int, int], Any]] = {}

    def _file(self, kind: str, name: str) -> Path:
        safe = "".join(c if c.isalnum() or c in "-._" else "_" for c in name)
        return self.folder / kind / f"{safe}.lance"

    # --- vectors, by content hash -------------------------------------------------------------

    def add_vectors(self, name: str, keys: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Append rows (n, d). Raises VectorError on NaN, infinity or another width."""
        import pyarrow as pa

        rows = np.ascontiguousarray(vectors, dtype=np.float32)
        if rows.ndim != 2 or len(rows) != len(keys):
            raise VectorError(
                f"embedder {name!r} returned an array of shape {rows.shape} for {len(keys)} images",
                fix="An embedder returns one row per image; mend the adapter.",
            )
        broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
        if len(broken):
            raise VectorError(
                f"embedder {name!r} returned NaN or infinity for {len(broken)} images, "
                f"first for the one with content hash {keys[int(broken[0])]}",
                fix="Look at that image, or choose another embedder with `embed --embedder`.",
            )
        width = self.width(name)
        if width is not None and width != rows.shape[1]:
            raise VectorError(
                f"embedder {name!r} now returns {rows.shape[1]} values a row; stored are {width}",
                fix="Give the embedder another name: its vectors are not the same any more.",
            )
        column = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
        self._append("vectors", name, {"key": pa.array(list(keys)), "vector": column})

    def width(self, name: str) -> int | None:
        """Number of values in a stored row, None if there are none."""
        data = self._open("vectors", name)
        return None if data is None else int(data.schema.field("vector").type.list_size)

    def vector_keys(self, name: str) -> set[str]:
        data = self._open("vectors", name)
        return set() if data is None else set(_table(data, ["key"])["key"].to_pylist())

    def having(self, name: str, keys: Sequence[str]) -> NDArray[np.bool_]:
        """Which of `keys` have a vector, (len(keys),)."""
        data = self._open("vectors", name)
        return np.zeros(len(keys), bool) if data is None else self._places(data, keys) >= 0

    def load_vectors(self, name: str, keys: Sequence[str]) -> NDArray[np.float32]:
        """Rows in the order of `keys`, (n, d). Raises VectorError naming what to run."""
        data = self._open("vectors", name)
        if data is None:
            raise VectorError(f"there are no {name!r} vectors yet", fix="Run `annoloop embed`.")
        wanted = self._places(data, keys)
        missing = int((wanted < 0).sum())
        if missing:
            raise VectorError(
                f"{missing} of {len(keys)} images have no {name!r} vector",
                fix="Run `annoloop embed`: it goes on where it stopped.",
            )
        width = int(data.schema.field("vector").type.list_size)
        # Picking rows is dear, and so is reading all of them.
        if 0 < len(wanted) * FEW <= data.count_rows():
            return _rows(_table(data, ["vector"], rows=wanted)["vector"].combine_chunks(), width)
        found = np.empty((len(keys), width), dtype=np.float32)
        order = np.argsort(wanted, kind="stable")
        first = 0
        with _healthy(Path(data.uri)):
            for batch in data.to_batches(columns=["vector"], batch_size=READ):
                low, high = np.searchsorted(wanted[order], [first, first + len(batch)])
                here = order[low:high]
                found[here] = _rows(batch["vector"], width)[wanted[here] - first]
                first += len(batch)
        return found

    # --- fingerprints, by content hash --------------------------------------------------------

    def add_fingerprints(self, prints: Mapping[str, tuple[int, bytes]]) -> None:
        import pyarrow as pa

        columns = {
            "key": pa.array(list(prints)),
            "hash": pa.array([hash_ for hash_, _ in prints.values()], pa.uint64()),
            "thumb": pa.array([thumb for _, thumb in prints.values()], pa.binary()),
        }
        self._append("fingerprints", "grey32", columns)

    def load_hashes(self, keys: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.uint64]]:
        """Which of `keys` have a fingerprint, and its perceptual hash, (len(keys),) both."""
        data = self._open("fingerprints", "grey32")
        if data is None:
            return np.zeros(len(keys), bool), np.zeros(len(keys), np.uint64)
        places = self._places(data, keys)
        stored = np.asarray(_table(data, ["hash"])["hash"].combine_chunks(), dtype=np.uint64)
        return places >= 0, np.where(places >= 0, stored[places], np.uint64(0))

    def load_thumbs(self, keys: Sequence[str]) -> NDArray[np.uint8]:
        """The grey thumbnails of `keys`, which have one: rows of bytes (len(keys), 1024)."""
        data = self._open("fingerprints", "grey32")
        if data is None or not len(keys):
            return np.empty((0, 0), np.uint8)
        found = _table(data, ["thumb"], rows=self._places(data, keys))["thumb"].to_pylist()
        return np.frombuffer(b"".join(found), np.uint8).reshape(len(keys), -1)

    # --- scores, by sample id -----------------------------------------------------------------

    def write_scores(
        self, ids: Sequence[str], scores: NDArray[np.float64], about: Mapping[str, Any]
    ) -> None:
        """Replace the stored coverage scores; `about` says when, from what, and of what."""
        import pyarrow as pa

        columns = {"id": pa.array(list(ids)), "score": pa.array(scores)}
        self._append("scores", "coverage", columns, about=about, replace=True)

    def load_scores(
        self,
    ) -> tuple[list[str], NDArray[np.float64], dict[str, Any]] | None:
        """(ids, their scores, about), None if none are stored."""
        data = self._open("scores", "coverage")
        if data is None:
            return None
        table = _table(data)
        about = json.loads((table.schema.metadata or {}).get(b"about", b"{}"))
        return table["id"].to_pylist(), table["score"].to_numpy(), about

    # --- points of the map, by content hash -----------------------------------------------------

    def write_points(
        self, name: str, keys: Sequence[str], points: NDArray[np.float32], about: Mapping[str, Any]
    ) -> None:
        """Replace the points (n, 2) that the vectors `name` lie at on the map, as one version."""
        import pyarrow as pa

        x, y = np.asarray(points, dtype=np.float32).T
        columns = {"key": pa.array(list(keys), pa.string()), "x": pa.array(x), "y": pa.array(y)}
        self._append("points", name, columns, about=about, replace=True)

    def load_points(
        self, name: str, keys: Sequence[str]
    ) -> tuple[NDArray[np.float32], dict[str, Any]] | None:
        """Points in the order of `keys`, (n, 2), NaN where a key has none, and what they are of.

        None if the vectors `name` have no map yet.
        """
        data = self._open("points", name)
        if data is None:
            return None
        table = _table(data, ["x", "y"])
        stored = np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()])
        places = self._places(data, keys)
        found = np.full((len(keys), 2), np.nan, dtype=np.float32)
        found[places >= 0] = stored[places[places >= 0]]
        return found, json.loads((data.schema.metadata or {}).get(b"about", b"{}"))

    # --- predictions, by model and sample id --------------------------------------------------

    def write_predictions(
        self, model: str, found: Iterable[tuple[str, Sequence[Detection]]]
    ) -> int:
        """Replace the predictions of one model; returns the number of images."""
        import pyarrow as pa

        rows = [(key, [(d.class_id, *d.box, d.score) for d in ds]) for key, ds in found]
        columns = {
            "id": pa.array([key for key, _ in rows]),
            "detections": pa.array([ds for _, ds in rows], pa.list_(pa.list_(pa.float64(), 6))),
        }
        self._append("predictions", model, columns, replace=True)
        return len(rows)

    def load_predictions(
        self, model: str, ids: Collection[str] | None = None
    ) -> dict[str, tuple[Detection, ...]] | None:
        """sample id → detections of one model, None if it has not predicted yet."""
        data = self._open("predictions", model)
        if data is None:
            return None
        if ids is None:
            table = _table(data)
        else:
            places = self._places(data, sorted(set(ids)), "id")
            table = _table(data, rows=places[places >= 0])
        rows = zip(table["id"].to_pylist(), table["detections"].to_pylist(), strict=True)
        return {
            key: tuple(Detection(int(c), (x, y, w, h), s) for c, x, y, w, h, s in found)
            for key, found in rows
        }

    # --- what a mirror showed, by external id --------------------------------------------------

    def write_seen(self, seen: Mapping[str, Sequence[str]]) -> None:
        """Replace what was seen or written of each sample in a data set of another tool."""
        import pyarrow as pa

        columns = {
            "id": pa.array(list(seen), pa.string()),
            "states": pa.array([list(s) for s in seen.values()], pa.list_(pa.string())),
        }
        self._append(SEEN, "seen", columns, replace=True)

    def load_seen(self) -> dict[str, tuple[str, ...]]:
        data = self._open(SEEN, "seen")
        if data is None:
            return {}
        table = _table(data, ["id", "states"])
        alike: dict[tuple[str, ...], tuple[str, ...]] = {}
        seen = {}
        for batch in table.to_batches(max_chunksize=READ):
            for key, states in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                seen[key] = alike.setdefault(tuple(states), tuple(states))
        return seen

    def copy_to(
        self, folder: Path, *, models: Collection[str], kinds: Collection[str] = KINDS
    ) -> list[str]:
        """Copy the newest version of every data set, predictions only of `models`; their names."""
        import lance

        wanted = {self._file("predictions", model) for model in models}
        copied = []
        for file in sorted(f for kind in kinds for f in (self.folder / kind).glob("*.lance")):
            if not _written(file) or (file.parent.name == "predictions" and file not in wanted):
                continue
            target = folder / file.relative_to(self.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            with _healthy(file):
                data = lance.dataset(str(file))  # this version, whatever is appended meanwhile
                lance.write_dataset(data.scanner().to_reader(), str(target), schema=data.schema)
            copied.append(file.relative_to(self.folder).as_posix())
        return copied

    # --- Lance --------------------------------------------------------------------------------

    def _open(self, kind: str, name: str) -> Any | None:
        import lance

        file = self._file(kind, name)
        if not _written(file):
            return None
        with _healthy(file):
            return lance.dataset(str(file))

    def _places(self, data: Any, keys: Sequence[str], column: str = "key") -> NDArray[np.int64]:
        """Where each key stands in a data set, (len(keys),); -1 where it does not.

        The stored keys are kept, so that one call after another on the same version reads them
        once.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        # A data set that was removed and made again counts its versions from 1 again.
        made = (data.version, (Path(data.uri) / "_versions").stat().st_mtime_ns)
        kept = self._keys.get((data.uri, column))
        if kept is None or kept[0] != made:
            kept = (made, _table(data, [column])[column].combine_chunks())
            self._keys[data.uri, column] = kept
        stored = kept[1]
        places = pc.index_in(pa.array(list(keys), stored.type), value_set=stored)
        return np.asarray(pc.fill_null(places, -1), dtype=np.int64)

    def forget_predictions(self, model: str) -> None:
        """Drop what a model of this name said: the name is about to mean another model."""
        shutil.rmtree(self._file("predictions", model), ignore_errors=True)

    def forget_vectors(self, name: str) -> None:
        """Drop all vectors of this name: they are about to be read again from where they are."""
        shutil.rmtree(self._file("vectors", name), ignore_errors=True)

    def _append(
        self,
        kind: str,
        name: str,
        columns: Mapping[str, Any],
        *,
        about: Mapping[str, Any] | None = None,
        replace: bool = False,
    ) -> None:
        import lance
        import pyarrow as pa

        file = self._file(kind, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        table = pa.table(dict(columns))
        if about is not None:
            table = table.replace_schema_metadata({"about": json.dumps(dict(about))})
        mode = "create" if not _written(file) else "overwrite" if replace else "append"
        try:
            lance.write_dataset(table, str(file), mode=mode)
        except OSError as error:
            if not _CONFLICT.search(str(error)):
                raise
            raise BusyError(
                f"another annoloop has written {file} meanwhile",
                fix="Run the command again: it will see the new state.",
            ) from error


def _table(
    data: Any,
    columns: Sequence[str] | None = None,
    rows: NDArray[np.int64] | None = None,
) -> Any:
    with _healthy(Path(data.uri)):
        return data.to_table(columns) if rows is None else data.take(rows, columns=columns)


@contextmanager
def _healthy(file: Path) -> Iterator[None]:
    """A data set that Lance cannot read is named, and may be made again: it is derived."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise VectorError(
            f"{file} cannot be read ({str(error)[:200]})",
            fix=f"Remove it (`rm -r {file}`) and run the command again: it is derived data, and "
            "will be computed again.",
        ) from error


def _rows(column: Any, width: int) -> NDArray[np.float32]:
    flat = np.asarray(column.flatten(), dtype=np.float32)
    return flat.reshape(-1, width)


def _written(file: Path) -> bool:
    # A writer killed before its first commit leaves a folder without a version: not a data set.
    versions = file / "_versions"
    return versions.is_dir() and any(versions.iterdir())
