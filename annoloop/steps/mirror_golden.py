"""What a mirror shows of golden: the boxes of each pass as a field of its own, and the counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from annoloop.ports import Mirror
from annoloop.records import Label, Problem, sample_id
from annoloop.records_loop import Mirrored
from annoloop.steps import passes
from annoloop.steps.context import Context
from annoloop.steps.mirror_state import BY, Standing, drawn
from annoloop.store import iterations

PASSES, HISTORY = "golden_passes", "golden_qa_history"
"""Entries of the whole: what each field holds, and the notebooks' counts of each iteration."""
COUNTS = ("samples_with_labels", "total_detections", "top_classes")
WRITING = {"by": BY, "writing": True}
"""Told before boxes are written, so that half of them is known as ours by whoever comes next."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Answers of one pass over golden images: labels by sample id, and what is told of it."""

    field: str
    labels: Mapping[str, tuple[Label, ...]]
    told: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pushed:
    """How many answers were written, what is to be told of the whole, and what was left."""

    answers: int
    info: Mapping[str, Any]
    conflicts: tuple[Problem, ...]
    notes: tuple[str, ...]


def push_golden(
    context: Context, mirror: Mirror, found: Standing, there: Mirrored, *, force: bool
) -> Pushed:
    """The boxes of passes that are not shown yet; fields and entries of others stay.

    A pass never changes once its batch is closed, so what people do to its boxes there stays.
    """
    with context.store.read() as connection:
        every = (*_blind(connection), *_qualification(connection))
        counts = _counts(connection)
    shown = there.info.get(PASSES)
    known = dict(shown) if isinstance(shown, Mapping) else {}
    key = {s.id: k for k, s in found.samples.items() if k in there.samples}
    answers, conflicts = 0, []
    told = dict(known)
    for one in every:
        before = known.get(one.field)
        mine = before if isinstance(before, Mapping) and before.get("by") == BY else None
        if one.field in there.fields and mine is None and not force:
            what = f"the field `{one.field}` there is of somebody else"
            conflicts.append(Problem(one.field, "", what, "left as it is"))
            continue
        if mine is None or not _alike(mine, one.told):
            mirror.push_summary({}, {PASSES: {**told, one.field: WRITING}})
            some = {key[i]: labels for i, labels in one.labels.items() if i in key}
            values = {k: drawn(found.samples[k], rows, found.classes) for k, rows in some.items()}
            mirror.push_values(one.field, values)
            answers += len(values)
        told[one.field] = dict(one.told)
    info: dict[str, Any] = {} if told == known else {PASSES: told}
    history, notes = _history(there.info.get(HISTORY), counts, force=force)
    return Pushed(answers, info | history, tuple(conflicts), notes)


def _alike(before: Mapping[str, Any], told: Mapping[str, Any]) -> bool:
    """The same pass; its verdict may have come since."""
    return all(before.get(name) == told[name] for name in told.keys() - {"verdict"})


def _told(labels: Mapping[str, tuple[Label, ...]], **more: Any) -> dict[str, Any]:
    return {**more, "images": len(labels), "boxes": sum(map(len, labels.values())), "by": BY}


def _blind(connection: Connection) -> list[Pass]:
    """Blind answers of each iteration whose batch is closed: an open one would give them away."""
    made = []
    for one in iterations.load_iterations(connection):
        labels = passes.blind_pass(connection, one) if "annotate" in one.steps else {}
        if labels:
            checked = one.steps.get("golden")
            verdict = None if checked is None else str(checked.record["verdict"])
            told = _told(labels, batch=one.batch, role="blind", verdict=verdict)
            made.append(Pass(f"golden_{one.name}", labels, told))
    return made


def _qualification(connection: Connection) -> list[Pass]:
    made = []
    for number, (batch, who, by_path) in enumerate(passes.baseline_passes(connection), start=1):
        labels = {sample_id(path): rows for path, rows in by_path.items()}
        told = _told(labels, batch=batch, role="qualification", annotator=who)
        made.append(Pass(f"golden_pass_{number}", labels, told))
    return made


def _counts(connection: Connection) -> dict[int, dict[str, Any]]:
    """The notebooks' entry of each iteration whose batch is closed, where golden was answered."""
    found = {}
    for one in iterations.load_iterations(connection):
        step = one.steps.get("annotate")
        counted = {} if step is None else step.record.get("golden_statistics", {})
        if all(counted.get(name) for name in COUNTS):
            entry = {name: counted[name] for name in COUNTS}
            found[one.number] = {"iteration": one.number, **entry, "by": BY}
    return found


def _history(
    shown: Any, counts: Mapping[int, Mapping[str, Any]], *, force: bool
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The history with our entries, if that changes it; and what is said of others' entries."""
    now = list(shown or ())
    place = {e["iteration"]: i for i, e in enumerate(now) if isinstance(e, Mapping) and _named(e)}
    made, others = list(now), 0
    for number, entry in counts.items():
        if number not in place:
            made.append(dict(entry))
            continue
        before = now[place[number]]
        if force or before.get("by") == BY:
            made[place[number]] = dict(entry)
        else:
            others += any(before.get(name) != entry[name] for name in COUNTS)
    notes = (f"`{HISTORY}` has {others} entries of others that count otherwise: left as they are",)
    return {} if made == now else {HISTORY: made}, notes if others else ()


def _named(entry: Mapping[str, Any]) -> bool:
    return isinstance(entry.get("iteration"), int)
