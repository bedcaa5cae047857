"""A FiftyOne dataset as columns: bulk reads and bulk writes, never a loop over samples.

The names (tags, views, fields, keys of `info`) are those of the annotation tutorial's notebooks.
The SDK is imported when a dataset is opened, so that everything else runs without it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.adapters.fiftyone.lock import Lock
from annoloop.adapters.fiftyone.slices import Slices
from annoloop.adapters.fiftyone.streams import MANY, selections, stream
from annoloop.errors import DependencyError, InputError, NotReadyError, VectorError

STATUS, VECTORS, SCORES, LABELS, REASON = (
    "annotation_status",
    "embeddings",
    "zcore",
    "human_labels",
    "annoloop_reason",
)
HISTORY, SCHEMA, WAITING = "golden_qa_history", "annotation_schema", "to_annotate"
LOCKED = ("split:test", "split:val", "split:golden")
CHUNK = 10_000
"""Samples whose vectors are read at once: at 512 numbers 20 MB, and as much again on the way."""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Samples in one order: FiftyOne's ids, statuses, tags, and the group of each.

    `groups` are None where the dataset is not grouped. Equal statuses and tags are one object.
    """

    ids: tuple[str, ...]
    statuses: tuple[str, ...]
    tags: tuple[tuple[str, ...], ...]
    groups: tuple[str, ...] | None


def sdk() -> Any:
    """The module `fiftyone`. Raises DependencyError without it or without its database."""
    try:
        import fiftyone
    except ImportError as error:
        raise DependencyError(
            "FiftyOne is not installed", fix="Install it: `pip install 'annoloop[fiftyone]'`."
        ) from error
    except ConnectionError as error:  # it asks its database for its version at once
        raise _gone(error) from error
    return fiftyone


def open_dataset(name: str) -> FiftyoneDataset:
    """The dataset of this name. Raises DependencyError without FiftyOne or its database, InputError
    where there is no such dataset."""
    fiftyone = sdk()
    with database():
        if not fiftyone.dataset_exists(name):
            known = fiftyone.list_datasets()
            near = difflib.get_close_matches(name, known, n=1)
            listed = ", ".join(known[:10]) or "none"
            raise InputError(
                f"FiftyOne has no dataset {name!r}",
                fix=f"Did you mean {near[0]!r}? There are: {listed}."
                if near
                else f"There are: {listed}.",
            )
        return FiftyoneDataset(fiftyone.load_dataset(name))


@contextmanager
def database() -> Iterator[None]:
    """A server that is gone is an expected failure."""
    from pymongo.errors import PyMongoError

    try:
        yield
    except (PyMongoError, ConnectionError) as error:
        raise _gone(error) from error


def _gone(error: Exception) -> DependencyError:
    return DependencyError(
        f"FiftyOne's database does not answer ({str(error)[:200]})",
        fix="Start it (FIFTYONE_DATABASE_URI says which), then run the same again: what was "
        "half written is taken back first.",
    )


class FiftyoneDataset:
    """One image dataset, flat or grouped (then every slice counts, and a group is one unit)."""

    def __init__(self, dataset: Any) -> None:
        self.slices = Slices(dataset)
        self.dataset = dataset
        self.name: str = dataset.name
        self.grouped = self.slices.grouped

    @property
    def everyone(self) -> Any:
        """All images as one view, slices of groups included."""
        return self.slices.images

    def flat(self, samples: Any) -> Any:
        return self.slices.flat(samples)

    # --- reading ------------------------------------------------------------------------------

    def view(self, name: str, tag: str) -> Any:
        """A saved view, or what carries its tag where nobody saved one. Raises NotReadyError."""
        if self.dataset.has_saved_view(name):
            return self.flat(self.dataset.load_saved_view(name))
        found = self.slices.tagged(tag)
        if found is not None:
            return found
        raise NotReadyError(
            f"dataset {self.name!r} has neither a saved view {name!r} nor samples with the tag "
            f"{tag!r}",
            fix=f"Split it first: tag its samples {tag} and so on, and save the views.",
        )

    def columns(self, view: Any) -> Columns:
        """What there is to know of the samples of a view, but for their files and vectors."""
        wanted = ["id", "tags"]
        status = len(wanted) if self.has(STATUS) else None
        wanted += [] if status is None else [STATUS]
        wanted += [self.slices.group_id] if self.grouped else []
        known: dict[Any, Any] = {}
        ids, statuses, tags, groups = [], [], [], []
        for row in stream(view, wanted):
            said = None if status is None else row[status]
            said, tagged = "unlabeled" if said is None else str(said), tuple(row[1] or ())
            ids.append(row[0])
            statuses.append(known.setdefault(said, said))
            tags.append(known.setdefault(tagged, tagged))
            if self.grouped:
                groups.append(known.setdefault(str(row[-1]), str(row[-1])))
        return Columns(
            tuple(ids), tuple(statuses), tuple(tags), tuple(groups) if self.grouped else None
        )

    def files(self, ids: Sequence[str]) -> dict[str, str]:
        """The file of each of these samples."""
        return {
            key: file
            for part in selections(self.everyone, ids)
            for key, file in stream(part, ["id", "filepath"])
        }

    def file(self, key: str) -> str:
        return self.files([key]).get(key, key)

    def has(self, field: str) -> bool:
        return bool(self.everyone.has_field(field))

    def vectors(self, ids: Sequence[str]) -> NDArray[np.float32] | None:
        """The `embeddings` of these samples (n, d); None where nobody has one.

        Raises VectorError for samples without one, of another width, or with NaN.
        """
        if not self.has(VECTORS) or not ids:
            return None
        found: NDArray[np.float32] | None = None
        seen = np.zeros(len(ids), dtype=bool)
        for start in range(0, len(ids), CHUNK):
            part = ids[start : start + CHUNK]
            place = {key: row for row, key in enumerate(part, start)}
            for key, row in stream(self.everyone.select(list(part)), ["id", VECTORS]):
                if row is None:
                    continue
                if found is None:
                    found = np.empty((len(ids), len(row)), dtype=np.float32)
                if len(row) != found.shape[1]:
                    raise VectorError(
                        f"`{VECTORS}` of {self.file(key)} has {len(row)} numbers, others have "
                        f"{found.shape[1]}",
                        fix="Compute all of them with the same model.",
                    )
                found[place[key]] = row
                seen[place[key]] = True
        if found is not None:
            self._refuse_broken(ids, seen, found)
        return found

    def _refuse_broken(
        self, ids: Sequence[str], seen: NDArray[np.bool_], found: NDArray[np.float32]
    ) -> None:
        broken = np.flatnonzero(~seen)
        if len(broken):
            raise VectorError(
                f"{len(broken)} of {len(ids)} samples have no `{VECTORS}`, first "
                f"{self.file(ids[int(broken[0])])}",
                fix="Compute the rest with the model that made the others.",
            )
        finite = [
            np.isfinite(found[start : start + CHUNK]).all(axis=1)
            for start in range(0, len(found), CHUNK)
        ]
        broken = np.flatnonzero(~np.concatenate(finite))
        if len(broken):
            raise VectorError(
                f"`{VECTORS}` of {self.file(ids[int(broken[0])])} holds NaN or infinity "
                f"({len(broken)} such samples)",
                fix="Compute them again.",
            )

    def scores(self, ids: Sequence[str]) -> NDArray[np.float64] | None:
        """The stored `zcore` of these samples (n,); None unless all have one."""
        if not self.has(SCORES):
            return None
        known = {
            key: value
            for part in selections(self.everyone, ids)
            for key, value in stream(part, ["id", SCORES])
            if value is not None
        }
        if any(key not in known for key in ids):
            return None
        return np.array([known[key] for key in ids], dtype=np.float64)

    def label_counts(self, view: Any, field: str) -> list[dict[str, int]]:
        """How often each class was drawn on each sample of a view. Raises InputError if the field
        is not of detections."""
        if not self.has(field):
            return []
        self.require_detections(field)
        counts = []
        for labels in view.values(f"{field}.detections.label"):
            one: dict[str, int] = {}
            for label in labels or ():
                one[label] = one.get(label, 0) + 1
            counts.append(one)
        return counts

    def require_detections(self, field: str) -> None:
        """Raise InputError if there is such a field and it is not of detections."""
        kind = self.dataset.get_field(field)
        if kind is None:
            return
        if getattr(getattr(kind, "document_type", None), "__name__", "") != "Detections":
            raise InputError(
                f"field {field!r} of dataset {self.name!r} is {kind}, not Detections",
                fix="Keep boxes in a Detections field. The people's is named in "
                f"info['{SCHEMA}']['field_name'], that of the reference by `--labels FIELD`.",
            )

    def batch_sizes(self) -> dict[int, int]:
        """Number of samples in each batch, oldest first."""
        counts = self.everyone.count_values("tags")
        return {number: counts[tag] for number, tag in numbered(r"batch:v(\d+)", counts)}

    def waiting(self, batch: int) -> int:
        """How many samples of a batch still wait for their labels."""
        return len(self.everyone.match_tags([f"batch:v{batch}", WAITING], all=True))

    def failures(self) -> tuple[str | None, Columns | None]:
        """The newest `eval_vN_failures` view, its name and samples; None without one."""
        known = numbered(r"eval_v(\d+)_failures", self.dataset.list_saved_views())
        if not known:
            return None, None
        name = known[-1][1]
        return name, self.columns(self.flat(self.dataset.load_saved_view(name)))

    # --- writing ------------------------------------------------------------------------------

    def write_column(self, field: str, values: Mapping[str, Any]) -> None:
        """One value a sample, by id, in bulk writes."""
        if field in (STATUS, REASON):
            values = self.slices.with_followers(values)
        keys = list(values)
        for start in range(0, len(keys), MANY):
            part = keys[start : start + MANY]
            some = {key: values[key] for key in part}
            self.slices.every.select(part).set_values(field, some, key_field="id")

    def tag(self, ids: Sequence[str], tags: str | Sequence[str]) -> None:
        for part in selections(self.slices.every, [*self.slices.following(ids), *ids]):
            part.tag_samples(tags)

    def untag(self, ids: Sequence[str], tags: str | Sequence[str]) -> None:
        for part in selections(self.slices.every, [*self.slices.following(ids), *ids]):
            part.untag_samples(tags)

    def write_batch(
        self, number: int, by_source: Mapping[str, Sequence[str]], reasons: Mapping[str, str]
    ) -> None:
        """Tag, mark and explain a batch; its saved view comes last: with it the batch is whole."""
        name, ids = f"batch_v{number}", list(reasons)
        if self.dataset.has_saved_view(name):  # of a batch whose tags were removed
            self.dataset.delete_saved_view(name)
        self.tag(ids, [f"batch:v{number}", WAITING])
        for source, part in by_source.items():
            self.tag(part, f"source:{source}")
        self.write_column(STATUS, dict.fromkeys(ids, "selected"))
        self.write_column(REASON, reasons)
        self.dataset.save_view(name, self.everyone.match_tags(f"batch:v{number}"))

    def mend(self, left: Mapping[str, Any]) -> None:
        """Finish what a process that died was writing if the batch is whole, else take it back.

        `left` is what it noted down: the `batch`, those of its samples that were `pending`, and the
        `golden` entry. People may have labelled a batch that is whole.
        """
        if not self.dataset.has_saved_view(f"batch_v{left['batch']}"):
            self._take_back(left["batch"], frozenset(left["pending"]))
        elif len(self.dataset.info.get(HISTORY) or ()) == left["golden"]["iteration"]:
            self.append_info(HISTORY, left["golden"])

    def _take_back(self, number: int, pending: frozenset[str]) -> None:
        """Undo `write_batch`; a status that somebody has set since stays."""
        view = self.slices.every.match_tags(f"batch:v{number}")
        ids = view.values("id")
        if not ids:
            return
        statuses = dict(zip(ids, view.values(STATUS), strict=True)) if self.has(STATUS) else {}
        sources = [tag for tag in view.count_values("tags") if tag.startswith("source:")]
        fresh = [key for key in ids if key not in pending]
        self.untag(ids, [WAITING, "source:pending"])
        self.untag(fresh, sources)  # pending ones have an earlier source
        if self.has(REASON):
            self.write_column(REASON, dict.fromkeys(ids))
        self.write_column(
            STATUS,
            {
                key: "pending" if key in pending else "unlabeled"
                for key, status in statuses.items()
                if status == "selected"
            },
        )
        self.untag(ids, f"batch:v{number}")  # last: by it they are found

    def append_info(self, key: str, entry: Mapping[str, Any]) -> None:
        self.dataset.reload()
        self.dataset.info[key] = [*self.dataset.info.get(key, []), dict(entry)]
        self.dataset.save()

    # --- one at a time ------------------------------------------------------------------------

    @contextmanager
    def alone(self, *, at: datetime) -> Iterator[Lock]:
        """Hold the dataset's lock, which lies in its database. Raises BusyError if another does.

        What a killed process left is mended first.
        """
        from fiftyone.core.odm import get_db_conn

        lock = Lock(get_db_conn()["annoloop.locks"], str(self.dataset._doc.id), at)
        left = lock.take(self.name)
        try:
            if left is not None:
                self.mend(left)
                lock.writing(None)
            yield lock
        except BaseException:
            lock.drop()
            raise
        lock.release()


def numbered(pattern: str, names: Iterable[str]) -> list[tuple[int, str]]:
    """The number N in each of the names such as `batch:vN`, and the name; by number."""
    found = [(re.fullmatch(pattern, name), name) for name in names]
    return sorted((int(one[1]), name) for one, name in found if one)
