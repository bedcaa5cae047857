"""What a mirror of this project should show, read from the store: samples, boxes, evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from annoloop.core import failures as core_failures
from annoloop.core.mirrored import Picked
from annoloop.core.shares import to_shares
from annoloop.records import (
    Annotation,
    Answer,
    Batch,
    BatchKind,
    Detection,
    Half,
    Label,
    Sample,
    Split,
)
from annoloop.records_loop import Drawn
from annoloop.steps.context import Context
from annoloop.store import batches, db, iterations, samples
from annoloop.store.iterations import Iteration

ANSWERED = (Answer.COMPLETE, Answer.EMPTY)
BY = "annoloop"
"""Marks an entry of the whole as written by us; others are never overwritten."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The project by external id: samples, their picks (oldest first), and the newest answers.

    `answers` hold every answer of pool samples that has boxes or is empty, oldest first. `outside`
    are the tags of batches that are not of the loop. `failures` is None before the first
    evaluation.
    """

    samples: Mapping[str, Sample]
    picked: Mapping[str, tuple[Picked, ...]]
    answers: Mapping[str, tuple[Annotation, ...]]
    outside: Mapping[str, tuple[str, ...]]
    failures: Mapping[str, tuple[str, ...]] | None
    views: Mapping[str, str | tuple[str, ...]]
    info: Mapping[str, Any]
    classes: tuple[str, ...]
    model: str | None


def standing(context: Context) -> Standing:
    """Read all of it in one consistent view."""
    with context.store.read() as connection:
        everyone = {s.id: s for s in samples.load(connection)}
        key = {s.id: s.external_id for s in everyone.values() if s.external_id is not None}
        every = batches.load_all(connection)
        answers: dict[str, list[Annotation]] = {}
        for one in batches.load_annotations(connection, split=Split.POOL):
            if one.answer in ANSWERED and one.sample_id in key:
                answers.setdefault(key[one.sample_id], []).append(one)
        picked = _picked(connection, [b for b in every if b.kind is BatchKind.SELECT], key, answers)
        outside = _outside(connection, [b for b in every if b.kind is not BatchKind.SELECT], key)
        history = iterations.load_iterations(connection)
        failed = _failures(connection, history, everyone)
        val = len(samples.load_ids(connection, split=Split.VAL))
        classes = samples.schema(connection).classes
        models = iterations.step_history(connection, "train")
    views: dict[str, str | tuple[str, ...]] = {f"batch_{b.name}": f"batch:{b.name}" for b in every}
    views |= {
        f"eval_{name}_failures": tuple(sorted(key[i] for i in found if i in key))
        for name, found in failed.items()
    }
    newest = failed[next(reversed(failed))] if failed else None
    return Standing(
        samples={str(key[i]): s for i, s in everyone.items() if i in key},
        picked={k: tuple(found) for k, found in picked.items()},
        answers={k: tuple(found) for k, found in answers.items()},
        outside={k: tuple(found) for k, found in outside.items()},
        failures=None if newest is None else {key[i]: t for i, t in newest.items() if i in key},
        views=views,
        info={f"eval_{one.name}": _entry(context, one, val) for one in history if _done(one)},
        classes=classes,
        model=str(models[-1].record["model"]) if models else None,
    )


def _picked(
    connection: Connection,
    loop: Sequence[Batch],
    key: Mapping[str, str],
    answers: Mapping[str, Sequence[Annotation]],
) -> dict[str, list[Picked]]:
    """The picks of the loop's batches by external id, without the blind ones."""
    picked: dict[str, list[Picked]] = {}
    for batch in loop:
        number = int(batch.name.removeprefix("v"))
        for pick, blind in batches.load_picks(connection, batch.name):
            if not blind and pick.sample_id in key:
                mine = answers.get(key[pick.sample_id], ())
                done = any(one.batch == batch.name for one in mine)
                picked.setdefault(key[pick.sample_id], []).append(
                    Picked(number, pick.source, pick.reason, done, batch.open)
                )
    return picked


def _outside(
    connection: Connection, others: Sequence[Batch], key: Mapping[str, str]
) -> dict[str, list[str]]:
    """Tags of batches that are not of the loop: who is in them, and who was answered once closed.

    They do not say `to_annotate`: these are not answered there.
    """
    tags: dict[str, list[str]] = {}
    for batch in others:
        given = [] if batch.open else batches.load_annotations(connection, batch=batch.name)
        done = {k for k, one in batches.newest(given).items() if one.answer in ANSWERED}
        for pick, _ in batches.load_picks(connection, batch.name):
            if pick.sample_id in key:
                mine = tags.setdefault(key[pick.sample_id], [])
                mine.append(f"batch:{batch.name}")
                mine += [f"annotated:{batch.name}"] if pick.sample_id in done else []
    return tags


def _done(one: Iteration) -> bool:
    return "evaluate" in one.steps and "train" in one.steps


def _entry(context: Context, one: Iteration, val: int) -> dict[str, Any]:
    """The notebooks' entry of an evaluation; their mAP is of all of val."""
    found, trained = one.steps["evaluate"].record, one.steps["train"].record
    return {
        "mAP": found["val"]["summary"]["AP"],
        "mAP_gauge": found["gauge"]["summary"]["AP"],
        "train_samples": int(trained["images"]),
        "val_samples": int(found["val"].get("images", val)),
        "model_path": str(context.model_folder(str(found["model"]))),
        "by": BY,
    }


def _failures(
    connection: Connection, history: list[Iteration], everyone: Mapping[str, Sample]
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Iteration → sample id → `high_fn`, `high_fp`: of mine alone, as gauge is measured on."""
    made: dict[str, dict[str, tuple[str, ...]]] = {}
    for one in history:
        if not _done(one):
            continue
        results = [
            r
            for r in iterations.load_results(connection, one.steps["evaluate"].seq)
            if everyone[r.sample_id].half is Half.MINE
        ]
        found: dict[str, list[str]] = {}
        for kind, chosen in (
            ("high_fn", core_failures.high_fn(results)),
            ("high_fp", core_failures.high_fp(results)),
        ):
            for key in chosen:
                found.setdefault(key, []).append(kind)
        made[one.name] = {key: tuple(kinds) for key, kinds in found.items()}
    return made


def scores(context: Context, found: Standing) -> dict[str, float]:
    """The stored coverage scores by external id; none of a run that was killed."""
    stored = context.vectors.load_scores()
    if stored is None:
        return {}
    with context.store.read() as connection:
        about = stored[2]
        known = db.recorded(connection, what="score", target=about["embedder"], at=about["at"])
    if not known:
        return {}
    key = {s.id: k for k, s in found.samples.items()}
    return {
        key[i]: float(score)
        for i, score in zip(stored[0], stored[1].tolist(), strict=True)
        if i in key
    }


def drawn(sample: Sample, labels: tuple[Label, ...], classes: tuple[str, ...]) -> tuple[Drawn, ...]:
    """Labels as another tool has them."""
    return tuple(
        Drawn(classes[one.class_id], to_shares(one.box, sample.width, sample.height), one.crowd)
        for one in labels
    )


def detected(
    sample: Sample, found: tuple[Detection, ...], classes: tuple[str, ...]
) -> tuple[Drawn, ...]:
    """Detections as another tool has them."""
    size = sample.width, sample.height
    return tuple(
        Drawn(classes[one.class_id], to_shares(one.box, *size), score=one.score) for one in found
    )
