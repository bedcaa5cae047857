"""A FiftyOne dataset for a project: its samples, and what a loop has done with them so far."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop import foreign
from annoloop.adapters.fiftyone.boxes import drawn_of
from annoloop.adapters.fiftyone.dataset import (
    CHUNK,
    HISTORY,
    LABELS,
    REASON,
    SCHEMA,
    SCORES,
    STATUS,
    VECTORS,
    FiftyoneDataset,
    database,
    numbered,
    open_dataset,
)
from annoloop.adapters.fiftyone.said import Said, with_split_of_group
from annoloop.adapters.fiftyone.stored import NAME
from annoloop.adapters.fiftyone.streams import stream
from annoloop.core.mirrored import loop_tags
from annoloop.errors import BusyError, InputError, SettingsError, VectorError
from annoloop.records import ForeignDataset, ForeignImage, Label, Split
from annoloop.records_loop import ForeignLoop, LoopBoxes, LoopSample

REFERENCE = "ground_truth"
SIDES = {
    "test_set": Split.TEST,
    "val_set": Split.VAL,
    "golden_qa": Split.GOLDEN,
    "pool": Split.POOL,
}
"""The saved views of the splits; the tag of each is `split:` and its name."""


class FiftyoneReader:
    """Reads a dataset, or one of its saved views, by name."""

    def __init__(self, view: str | None = None, labels: str = REFERENCE) -> None:
        self._view, self._labels = view, labels

    def read(self, source: Path) -> ForeignDataset:
        """The images with their reference boxes; the name of the dataset is the source.

        Paths are those of the files without the first slash. Raises InputError where there is no
        such dataset, or a file or a box is broken.
        """
        from annoloop.core.shares import to_pixels
        from annoloop.images import size

        with self.open_loop(str(source)) as loop:
            found = loop.read_loop()
            boxes = loop.boxes([one.external_id for one in found.samples])
        order = {name: place for place, name in enumerate(found.classes)}
        images = []
        for one in found.samples:
            width, height = size(one.file)
            drawn = boxes[one.external_id].reference or ()
            labels = tuple(
                Label(order[d.name], to_pixels(d.shares, width, height), d.crowd)
                for d in drawn
                if d.name in order
            )
            images.append(
                ForeignImage(
                    one.file.lstrip("/"),
                    labels,
                    width,
                    height,
                    reviewed=boxes[one.external_id].reference is not None,
                    external_id=one.external_id,
                )
            )
        return foreign.assemble(source, found.classes, images=images, problems=())

    @contextmanager
    def open_loop(self, name: str, *, group: str | None = None) -> Iterator[FiftyoneLoop]:
        """The dataset under its lock; `group` is the field that names the group of a sample."""
        with opened(name) as found:
            yield FiftyoneLoop(found, view=self._view, labels=self._labels, group=group)


@contextmanager
def opened(name: str) -> Iterator[FiftyoneDataset]:
    """A dataset under its lock; what a killed process left half written in it is mended first."""
    with redirect_stdout(sys.stderr):  # FiftyOne talks there, and stdout is ours for data
        found = open_dataset(name)
        with database(), found.alone(at=datetime.now(UTC)):
            yield found


class FiftyoneLoop:
    """An opened dataset as a `LoopReader`."""

    def __init__(
        self, found: FiftyoneDataset, *, view: str | None, labels: str, group: str | None
    ) -> None:
        self._found, self._labels = found, labels
        self._base = found.everyone if view is None else self._saved(view)
        self._group = found.dataset.group_field if found.grouped else group
        self._width: int | None = None

    def _saved(self, name: str) -> Any:
        dataset = self._found.dataset
        if not dataset.has_saved_view(name):
            known = dataset.list_saved_views()
            near = difflib.get_close_matches(name, known, n=1)
            raise InputError(
                f"dataset {self._found.name!r} has no saved view {name!r}",
                fix=(f"Did you mean {near[0]!r}? " if near else "")
                + f"There are: {', '.join(known[:10]) or 'none'}.",
            )
        view = dataset.load_saved_view(name)
        if view._is_generated:
            raise InputError(
                f"the saved view {name!r} is made of patches, clips or frames, not of samples",
                fix="Name a view of whole samples.",
            )
        return self._found.flat(view)

    # --- samples ------------------------------------------------------------------------------

    def read_loop(self) -> ForeignLoop:
        """Every sample, without boxes and vectors.

        Raises InputError for an unknown status or a field of another type, LockedSplitError for a
        sample of two splits.
        """
        return self._loop

    @cached_property
    def _loop(self) -> ForeignLoop:
        self._require_labels()
        for field in (self._labels, self._human):
            self._found.require_detections(field)
        rows = self._rows()
        if not rows:
            raise InputError(
                f"dataset {self._found.name!r} has no samples", fix="Add some, or name another."
            )
        info = self._found.dataset.info
        return ForeignLoop(
            name=self._found.name,
            classes=self._classes(),
            samples=rows,
            vectors=NAME if self._first_width() else None,
            group=self._group,
            human=self._human if self._found.has(self._human) else None,
            golden_history=tuple(
                _plain(one) for one in info.get(HISTORY) or () if isinstance(one, Mapping)
            ),
            evaluations={key: _plain(info[key]) for _, key in numbered(r"eval_v(\d+)", info)},
            notes=tuple(self._left()),
        )

    def _require_labels(self) -> None:
        """Raise InputError if reference labels are asked of a field that is not there."""
        if self._labels == REFERENCE or self._found.has(self._labels):
            return
        known = list(self._found.dataset.get_field_schema())
        near = difflib.get_close_matches(self._labels, known, n=1)
        raise InputError(
            f"dataset {self._found.name!r} has no field {self._labels!r} of reference labels",
            fix=(f"Did you mean {near[0]!r}? " if near else "")
            + f"Correct `--labels`; there are: {', '.join(known)}.",
        )

    @property
    def _human(self) -> str:
        schema = self._found.dataset.info.get(SCHEMA) or {}
        field = schema.get("field_name") if isinstance(schema, Mapping) else None
        return str(field or LABELS)

    def _rows(self) -> tuple[LoopSample, ...]:
        fields = {"id": "id", "file": "filepath", "tags": "tags"}
        optional = {"status": STATUS, "score": SCORES, "reason": REASON}
        fields |= {key: name for key, name in optional.items() if self._found.has(name)}
        if self._group is not None:
            fields["group"] = self._group_field(self._group)
        said = Said(self._sides(), self._failed(), self._groups())
        rows = tuple(
            said.sample(dict(zip(fields, row, strict=True)))
            for row in stream(self._base, list(fields.values()))
        )
        return with_split_of_group(rows) if self._found.grouped else rows

    def _groups(self) -> dict[str, tuple[tuple[str, ...], Any]]:
        """Tags and status of slices that are no images, by group: of the first that has any."""
        slices = self._found.slices
        if not slices.others:
            return {}
        wanted = ["tags", slices.group_id, *([STATUS] if self._found.has(STATUS) else [])]
        said: dict[str, tuple[tuple[str, ...], Any]] = {}
        for tags, group, *status in stream(slices.rest, wanted):
            tagged = loop_tags(tags or ())
            if tagged or any(one is not None for one in status):
                said.setdefault(str(group), (tagged, status[0] if status else None))
        return said

    def _group_field(self, name: str) -> str:
        if self._found.grouped:
            return self._found.slices.group_id
        if not self._found.has(name):
            raise SettingsError(
                f"dataset {self._found.name!r} has no field {name!r} to group by",
                fix="Correct `--group column:FIELD`, or [split] group in annoloop.toml.",
            )
        return name

    def _sides(self) -> dict[str, tuple[Split, ...]]:
        """Which splits have a sample in their saved view."""
        sides: dict[str, tuple[Split, ...]] = {}
        known: dict[tuple[Split, ...], tuple[Split, ...]] = {}
        for name, side in SIDES.items():
            if self._found.dataset.has_saved_view(name):
                for key, _ in stream(self._found.view(name, f"split:{side}"), ["id", "tags"]):
                    both = (*sides.get(key, ()), side)
                    sides[key] = known.setdefault(both, both)
        return sides

    def _failed(self) -> dict[str, str]:
        """The newest failure view's name, at each of its samples."""
        name, failed = self._found.failures()
        return {} if failed is None else dict.fromkeys(failed.ids, str(name))

    def _classes(self) -> tuple[str, ...]:
        """Those of the schema, or of the dataset, or all that occur, by name."""
        dataset, where = self._found.dataset, f"dataset {self._found.name!r}"
        schema = dataset.info.get(SCHEMA) or {}
        named = schema.get("classes") if isinstance(schema, Mapping) else schema
        named = named or dataset.classes.get(self._labels) or dataset.default_classes
        if not named:
            fields = [f for f in (self._labels, self._human) if self._found.has(f)]
            found = {
                str(name)
                for field in fields
                for name in self._base.distinct(f"{field}.detections.label")
            }
            return foreign.class_names(sorted(found), where)
        if isinstance(named, str) or not all(isinstance(name, str) for name in named):
            raise InputError(
                f"the classes of {where} are {named!r:.80}, not a list of names",
                fix=f"Correct info['{SCHEMA}']['classes'].",
            )
        return foreign.class_names(list(named), where)

    def _left(self) -> Iterator[str]:
        """What to know of this dataset, and what of it a project does not take over."""
        if self._found.slices.note:
            yield self._found.slices.note
        if not self._found.dataset.persistent:
            yield (
                "the dataset is not persistent: FiftyOne deletes it at its next start, unless "
                "`dataset.persistent = True`"
            )
        for field in (self._labels, self._human):
            if not self._found.has(field):
                continue
            masks = self._base.count(f"{field}.detections.mask")
            masks += self._base.count(f"{field}.detections.mask_path")
            if masks:
                yield f"{masks} objects of `{field}` have masks: their boxes are taken, masks stay"
        if self._found.has("predictions"):
            yield "`predictions` stay in the dataset: a project trains and predicts by itself"

    # --- boxes --------------------------------------------------------------------------------

    def boxes(self, ids: Sequence[str]) -> Mapping[str, LoopBoxes]:
        """The boxes of these samples. Raises InputError for one without class or coordinates."""
        fields = [f for f in (self._labels, self._human) if self._found.has(f)]
        parts = ("label", "bounding_box", "iscrowd")
        wanted = ["id", "tags", *(f"{f}.detections.{part}" for f in fields for part in parts)]
        made: dict[str, LoopBoxes] = {}
        for start in range(0, len(ids), CHUNK):
            for key, _, *columns in stream(
                self._base.select(list(ids[start : start + CHUNK])), wanted
            ):
                found = {
                    field: drawn_of(
                        *columns[3 * place : 3 * place + 3],
                        where=partial(self._where, field, key),
                    )
                    for place, field in enumerate(fields)
                }
                made[key] = LoopBoxes(found.get(self._labels), found.get(self._human))
        if len(made) != len(set(ids)):
            raise _changed(self._found.name)
        return made

    def _where(self, field: str, key: str) -> str:
        return f"`{field}` of {self._found.file(key)}"

    # --- vectors ------------------------------------------------------------------------------

    def _first_width(self) -> int | None:
        if not self._found.has(VECTORS):
            return None
        some = self._base.exists(VECTORS).limit(1).values(VECTORS)
        if not some:
            return None
        shape = np.shape(some[0])
        if len(shape) != 1 or not shape[0]:
            raise VectorError(
                f"`{VECTORS}` of dataset {self._found.name!r} are no vectors, but of shape {shape}",
                fix="Keep one row of numbers a sample there, or rename the field.",
            )
        self._width = int(shape[0])
        return self._width

    def vectors(self, ids: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
        """Those of the samples that have `embeddings`, and the vectors (m, d)."""
        width = self._width or 0
        if not width:
            return [], np.empty((0, 0), dtype=np.float32)
        keys: list[str] = []
        rows: list[NDArray[np.float32]] = []
        for start in range(0, len(ids), CHUNK):
            part = list(ids[start : start + CHUNK])
            for key, row in stream(self._base.select(part), ["id", VECTORS]):
                if row is None:
                    continue
                one = np.asarray(row, dtype=np.float32)
                if one.shape != (width,):
                    raise VectorError(
                        f"`{VECTORS}` of {self._found.file(key)} has the shape {one.shape}, "
                        f"others have {width} numbers",
                        fix="Compute all of them with the same model.",
                    )
                if not np.isfinite(one).all():
                    raise VectorError(
                        f"`{VECTORS}` of {self._found.file(key)} holds NaN or infinity",
                        fix="Compute it again.",
                    )
                keys.append(key)
                rows.append(one)
        return keys, np.stack(rows) if rows else np.empty((0, width), dtype=np.float32)


def _plain(value: Any) -> Any:
    """What people keep in `info` as JSON has it; numbers of NumPy and dates as text."""
    return json.loads(json.dumps(value, default=str))


def _changed(name: str) -> BusyError:
    return BusyError(
        f"samples of dataset {name!r} were removed while it was read", fix="Run the same again."
    )
