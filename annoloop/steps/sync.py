"""`fiftyone sync`: the dataset shows what the loop decided; what people set there stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annoloop.core.mirrored import further, may_write, show, state
from annoloop.errors import NotReadyError
from annoloop.ports import Mirror
from annoloop.records import Problem, Status
from annoloop.records_loop import Drawn, Mirrored, Shown
from annoloop.results_fiftyone import SyncResult
from annoloop.steps.adopt_boxes import ORIGIN
from annoloop.steps.context import Context
from annoloop.steps.mirror_golden import push_golden
from annoloop.steps.mirror_state import BY, Standing, detected, drawn, scores, standing

CHUNK = 5_000
"""Samples whose boxes are held at once."""
CLOSE = 1e-6
"""Boxes of a sample that differ by less, as shares of the image, are the same."""
SIDES = {"test_set": "test", "val_set": "val", "golden_qa": "golden", "pool": "pool"}
"""The saved views of the splits; those of the halves of val are `val_mine` and `val_gauge`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be pushed: tag → ids to add and to remove, column → values; and what is not."""

    add: dict[str, list[str]]
    remove: dict[str, list[str]]
    values: dict[str, dict[str, Any]]
    conflicts: list[Problem]
    seen: dict[str, tuple[str, ...]]
    to_ingest: int


def sync(context: Context, mirror: Mirror, *, force: bool = False) -> SyncResult:
    """Push splits, statuses, batches, scores, answers, predictions, evaluations, golden passes.

    Only what differs is written, so that a second call writes nothing and a killed one is finished
    by the next. What somebody else has set since this project last looked is reported and stays,
    unless `force`. Raises NotReadyError before the splits are made.
    """
    found = standing(context)
    if any(one.split is None for one in found.samples.values()):
        raise NotReadyError("there are no splits to show yet", fix="Run `annoloop split` first.")
    there = mirror.look()
    seen = context.vectors.load_seen()
    plan = _plan(context, found, there, seen, force=force)
    views, info, summary_conflicts = _summary(found, there, force=force)
    # Before anything is written, so that half of it is known as ours by whoever comes next.
    if plan.add or plan.remove or plan.values:
        context.vectors.write_seen({**seen, **_between(plan, there)})
    mirror.push_tags(plan.add, plan.remove)
    for name, values in plan.values.items():
        mirror.push_values(name, values)
    boxes, box_conflicts = _push_answers(context, mirror, found, there, force=force)
    predictions, told, notes = _push_predictions(context, mirror, found, there, force=force)
    golden = push_golden(context, mirror, found, there, force=force)
    told = {**info, **told, **golden.info}
    mirror.push_summary(views, told)
    if (now := {**seen, **plan.seen}) != seen:
        context.vectors.write_seen(now)
    tags = {key for ids in (*plan.add.values(), *plan.remove.values()) for key in ids}
    return SyncResult(
        dataset=str(context.settings.fiftyone.dataset),
        changed={
            "tags": len(tags),
            **{name: len(values) for name, values in plan.values.items()},
            "labels": boxes,
            "predictions": predictions,
            "golden": golden.answers,
        },
        views=tuple(views),
        info=tuple(told),
        conflicts=(*plan.conflicts, *box_conflicts, *summary_conflicts, *golden.conflicts),
        to_ingest=plan.to_ingest,
        notes=(*notes, *golden.notes, *_strangers(found, there)),
    )


def _plan(
    context: Context,
    found: Standing,
    there: Mirrored,
    seen: Mapping[str, Sequence[str]],
    *,
    force: bool,
) -> Plan:
    """What each sample lacks; nothing for one whose state somebody else has set."""
    score = scores(context, found)
    plan = Plan({}, {}, {"status": {}, "reason": {}, "score": {}}, [], {}, 0)
    ahead = 0
    alike: dict[str, tuple[str, ...]] = {}  # a million samples are in few states
    for key, sample in found.samples.items():
        now = there.samples.get(key)
        if now is None:
            continue
        picked = found.picked.get(key, ())
        failures = None if found.failures is None else found.failures.get(key, ())
        outside = found.outside.get(key, ())
        wanted = show(
            sample,
            picked,
            failures=failures,
            shown=now,
            score=score.get(key),
            outside=outside,
        )
        if further(now, wanted, picked):
            ahead += not any(one.open and one.answered for one in picked)
            continue
        if force or may_write(now, wanted, seen.get(key, ())):
            said = state(wanted)
            plan.seen[key] = alike.setdefault(said, (said,))
            _differences(plan, key, now, wanted)
        else:
            what = f"is `{state(now)}` there and `{state(wanted)}` here"
            plan.conflicts.append(Problem(sample.path, "", what, "left as it is"))
    values = {name: column for name, column in plan.values.items() if column}
    return Plan(plan.add, plan.remove, values, plan.conflicts, plan.seen, ahead)


def _between(plan: Plan, there: Mirrored) -> dict[str, tuple[str, ...]]:
    """Both ends of the push, for each sample."""
    alike: dict[tuple[str, ...], tuple[str, ...]] = {}
    ends = {}
    for key, after in plan.seen.items():
        both = (state(there.samples[key]), *after)
        ends[key] = alike.setdefault(both, tuple(dict.fromkeys(both)))
    return ends


def _differences(plan: Plan, key: str, now: Shown, wanted: Shown) -> None:
    for tag in set(wanted.tags) - set(now.tags):
        plan.add.setdefault(tag, []).append(key)
    for tag in set(now.tags) - set(wanted.tags):
        plan.remove.setdefault(tag, []).append(key)
    for name in ("status", "reason", "score"):
        value = getattr(wanted, name)
        if value is not None and value != getattr(now, name):
            plan.values[name][key] = value


# --- boxes ----------------------------------------------------------------------------------------


def _push_answers(
    context: Context, mirror: Mirror, found: Standing, there: Mirrored, *, force: bool
) -> tuple[int, list[Problem]]:
    """People's boxes that were drawn here. Those there that are no answer of ours stay."""
    mine = [
        key
        for key, given in found.answers.items()
        if given[-1].origin != ORIGIN
        and found.samples[key].status is Status.ANNOTATED
        and key in there.samples
    ]
    pushed, conflicts = 0, []
    for start in range(0, len(mine), CHUNK):
        part = mine[start : start + CHUNK]
        shown = mirror.boxes(part)
        write = {}
        for key in part:
            sample, given, now = found.samples[key], found.answers[key], shown[key].human
            wanted = drawn(sample, given[-1].labels, found.classes)
            if now is not None and alike(now, wanted):
                continue
            ours = (drawn(sample, one.labels, found.classes) for one in given)
            if force or now is None or any(alike(now, one) for one in ours):
                write[key] = wanted
            else:
                what = f"has {len(now)} boxes of people there that are no answer of this project"
                conflicts.append(Problem(sample.path, "", what, "left as they are"))
        mirror.push_values("human", write)
        pushed += len(write)
        context.progress(start + len(part), len(mine), "pushing labels")
    return pushed, conflicts


def alike(one: Sequence[Drawn], other: Sequence[Drawn]) -> bool:
    """The same classes and boxes, in any order."""

    def ordered(drawn: Sequence[Drawn]) -> list[Drawn]:
        return sorted(drawn, key=lambda d: (d.name, *(round(v, 4) for v in d.shares)))

    return len(one) == len(other) and all(
        a.name == b.name
        and all(abs(x - y) <= CLOSE for x, y in zip(a.shares, b.shares, strict=True))
        for a, b in zip(ordered(one), ordered(other), strict=True)
    )


def _push_predictions(
    context: Context, mirror: Mirror, found: Standing, there: Mirrored, *, force: bool
) -> tuple[int, dict[str, Any], list[str]]:
    """The newest model's detections, once; those of somebody else's model stay."""
    known = None if found.model is None else context.vectors.load_predictions(found.model)
    if known is None:
        return 0, {}, []
    key = {s.id: k for k, s in found.samples.items() if k in there.samples}
    some = [(key[i], boxes) for i, boxes in known.items() if i in key]
    told = {"predictions": found.model, "predicted": len(some)}
    shown = there.info.get(BY)
    if shown == told:
        return 0, {}, []
    if "predictions" in there.fields and not isinstance(shown, Mapping) and not force:
        return 0, {}, ["`predictions` there are not of this project: left as they are"]
    # Half of them is known as ours, and made again, by whoever comes after a kill.
    mirror.push_summary({}, {BY: {"predictions": found.model, "writing": True}})
    for start in range(0, len(some), CHUNK):
        part = some[start : start + CHUNK]
        values = {k: detected(found.samples[k], boxes, found.classes) for k, boxes in part}
        mirror.push_values("predictions", values)
        context.progress(start + len(part), len(some), "pushing predictions")
    return len(some), {BY: told}, []


# --- the whole ------------------------------------------------------------------------------------


def _summary(
    found: Standing, there: Mirrored, *, force: bool
) -> tuple[dict[str, str | tuple[str, ...]], dict[str, Any], list[Problem]]:
    """Saved views that are missing, and evaluations that are new; those of others stay."""
    conflicts: list[Problem] = []
    info: dict[str, Any] = {}
    others = set()
    for name, entry in found.info.items():
        now = there.info.get(name)
        if now == entry:
            continue
        if now is None or force or (isinstance(now, Mapping) and now.get("by") == BY):
            info[name] = entry
        else:
            others.add(f"{name}_failures")
            what = f"`{name}` there is of another evaluation than here"
            conflicts.append(Problem(name, "", what, "left as it is"))
    used = {f"split:{one.split}" for one in found.samples.values()}
    sides = {name: f"split:{side}" for name, side in SIDES.items() if f"split:{side}" in used}
    halves = {str(one.half) for one in found.samples.values() if one.half}
    sides |= {f"val_{half}": f"val:{half}" for half in sorted(halves)}
    wanted: dict[str, str | tuple[str, ...]] = {**sides, **found.views}
    return (
        {
            name: what
            for name, what in wanted.items()
            if what
            and name not in others
            and (name not in there.views or name.removesuffix("_failures") in info)
        },
        info,
        conflicts,
    )


def _strangers(found: Standing, there: Mirrored) -> Iterator[str]:
    gone = len(found.samples.keys() - there.samples.keys())
    if gone:
        yield f"{gone} images of this project are no longer in the dataset"
    new = len(there.samples.keys() - found.samples.keys())
    if new:
        yield f"{new} samples of the dataset are not in this project: `annoloop ingest`"
