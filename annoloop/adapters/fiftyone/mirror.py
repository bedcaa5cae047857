"""A FiftyOne dataset that shows what a project decided, under the notebooks' names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from annoloop.adapters.fiftyone.boxes import as_stored
from annoloop.adapters.fiftyone.dataset import CHUNK, REASON, SCORES, STATUS
from annoloop.adapters.fiftyone.reader import REFERENCE, FiftyoneLoop, opened
from annoloop.adapters.fiftyone.streams import stream
from annoloop.core.mirrored import loop_tags
from annoloop.records_loop import Drawn, Mirrored, Shown

COLUMNS = {"status": STATUS, "reason": REASON, "score": SCORES}


class FiftyoneMirror:
    """Opens a dataset, or one of its saved views, by name."""

    def __init__(self, view: str | None = None, labels: str = REFERENCE) -> None:
        self._view, self._labels = view, labels

    @contextmanager
    def open_loop(self, name: str, *, group: str | None = None) -> Iterator[FiftyoneShow]:
        """The dataset under its lock."""
        with opened(name) as found:
            yield FiftyoneShow(found, view=self._view, labels=self._labels, group=group)


class FiftyoneShow(FiftyoneLoop):
    """An opened dataset as a `Mirror`: bulk reads and bulk writes."""

    def look(self) -> Mirrored:
        """What is shown now. Raises InputError if people's boxes are not in a Detections field."""
        self._found.require_detections(self._human)
        known = {key: name for key, name in COLUMNS.items() if self._found.has(name)}
        place = {key: at for at, key in enumerate(known, start=2)}
        where = [place.get(key) for key in ("status", "reason", "score")]
        once: dict[Any, Any] = {}
        shown = {}
        for row in stream(self._base, ["id", "tags", *known.values()]):
            status, reason, score = (None if at is None else row[at] for at in where)
            tagged = tuple(row[1] or ())
            if tagged not in once:
                once[tagged] = loop_tags(tagged)
            status, reason = once.setdefault(status, status), once.setdefault(reason, reason)
            shown[row[0]] = Shown(status, once[tagged], reason, score)
        dataset = self._found.dataset
        return Mirrored(
            samples=shown,
            info=dict(dataset.info),
            views=frozenset(dataset.list_saved_views()),
            fields=frozenset(dataset.get_field_schema()),
        )

    def push_tags(
        self, add: Mapping[str, Sequence[str]], remove: Mapping[str, Sequence[str]]
    ) -> None:
        """Tag → ids that get it, and that lose it: one write a tag."""
        for tag, ids in sorted(add.items()):
            self._found.tag(ids, tag)
        for tag, ids in sorted(remove.items()):
            self._found.untag(ids, tag)

    def push_values(self, name: str, values: Mapping[str, Any]) -> None:
        """One value a sample: `status`, `reason`, `score`, or boxes of `human`, `predictions` or a
        golden pass (`golden_…`)."""
        if name in COLUMNS:
            self._found.write_column(COLUMNS[name], values)
            return
        self._write_boxes(self._human if name == "human" else name, values)

    def _write_boxes(self, field: str, values: Mapping[str, Sequence[Drawn]]) -> None:
        """As the SDK's `set_values` writes them, but for the making of its objects."""
        if not values:
            return
        import fiftyone
        from bson import ObjectId
        from pymongo import UpdateOne

        dataset = self._found.dataset
        if not self._found.has(field):
            kind = fiftyone.EmbeddedDocumentField
            dataset.add_sample_field(field, kind, embedded_doc_type=fiftyone.Detections)
        keys, now = list(values), datetime.now(UTC)
        for start in range(0, len(keys), CHUNK):
            part = keys[start : start + CHUNK]
            changes = [
                UpdateOne(
                    {"_id": ObjectId(key)},
                    {"$set": {field: as_stored(values[key]), "last_modified_at": now}},
                )
                for key in part
            ]
            dataset._bulk_write(changes, ids=part)

    def push_summary(
        self, views: Mapping[str, str | Sequence[str]], info: Mapping[str, Any]
    ) -> None:
        """Saved views, each by a tag or by ids, and what is told of the whole."""
        dataset, everyone = self._found.dataset, self._found.everyone
        for name, what in views.items():
            shown = everyone.match_tags(what) if isinstance(what, str) else everyone.select(what)
            if dataset.has_saved_view(name):
                dataset.delete_saved_view(name)
            dataset.save_view(name, shown)
        if info:
            dataset.reload()
            dataset.info.update(info)
            dataset.save()
