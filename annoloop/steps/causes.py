"""A review comes back: what the failures are, recorded with their iteration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from sqlalchemy import Connection

from annoloop.core import ambiguity
from annoloop.core.ambiguity import Disputed, Judged, Share, Shares
from annoloop.core.stopping_words import review as in_words
from annoloop.records import Annotation, Answer, Batch, BatchKind, Failure, FailureType, Label
from annoloop.steps.context import Context
from annoloop.store import batches, iterations
from annoloop.store.iterations import Iteration

STEP = "review"
"""The step under which an iteration keeps what its review found."""


def close_review(
    context: Context, connection: Connection, batch: Batch
) -> tuple[Mapping[str, Any] | None, tuple[str, ...]]:
    """Compute and record what the failures are; (record, what to say). None if nobody can tell."""
    given = batches.load_annotations(connection, batch=batch.name)
    people = [name for name, _ in Counter(one.annotator for one in given).most_common()]
    if len(people) < 2 or "evaluation" not in batch.report:
        return None, (
            f"{batch.name} has the answers of {len(people)} person: shares of causes need two "
            "blind ones for each image, so none were computed",
        )
    first, second = (_answers(given, name) for name in people[:2])
    picks = [pick for pick, _ in batches.load_picks(connection, batch.name)]
    both = [pick for pick in picks if pick.sample_id in first and pick.sample_id in second]
    judged = [
        Judged(
            pick.sample_id,
            disputed.failure.type,
            ambiguity.cause(disputed, first[pick.sample_id], second[pick.sample_id]),
        )
        for pick in both
        for disputed in (_unpacked(pick.sample_id, row) for row in pick.details["failures"])
    ]
    weights = {FailureType(kind): float(w) for kind, w in batch.report["weights"].items()}
    rng = np.random.default_rng([context.settings.select.seed, batch.report["evaluation"], 8])
    found = ambiguity.shares(judged, weights, rng=rng)
    if found is None:
        return None, (f"no image of {batch.name} with a failure has two people's answers",)
    decoys = [pick.sample_id for pick in both if pick.source == "decoy"]
    record = {
        "batch": batch.name,
        "model": batch.report["model"],
        "evaluation": batch.report["evaluation"],
        "people": people[:2],
        "shares": asdict(found),
        "causes": [asdict(one) for one in judged],
        "decoys": {"images": len(decoys), "agree": _agreeing(decoys, first, second)},
    }
    number = int(batch.report["iteration"])
    iterations.add_step(connection, number, STEP, at=context.now(), who=context.who, record=record)
    return record, tuple(_notes(record, found, asked=int(batch.report["failures"]), people=people))


def _answers(given: Iterable[Annotation], who: str) -> dict[str, tuple[Label, ...] | None]:
    """Sample id → this person's newest boxes, None where they could not tell."""
    newest = batches.newest(one for one in given if one.annotator == who)
    sure = (Answer.COMPLETE, Answer.EMPTY)
    return {key: one.labels if one.answer in sure else None for key, one in newest.items()}


def _agreeing(
    ids: Iterable[str],
    first: Mapping[str, tuple[Label, ...] | None],
    second: Mapping[str, tuple[Label, ...] | None],
) -> int:
    pairs = ((first[key], second[key]) for key in ids)
    return sum(a is not None and b is not None and ambiguity.agree(a, b) for a, b in pairs)


def _notes(
    record: Mapping[str, Any], found: Shares, *, asked: int, people: Sequence[str]
) -> Iterable[str]:
    yield in_words(found)
    decoys = record["decoys"]
    if decoys["images"]:
        yield (
            f"where the model was right the two agree on {decoys['agree']} of "
            f"{decoys['images']} images"
        )
    if found.failures < asked:
        yield f"{asked - found.failures} of {asked} failures lack a second answer and were left out"
    if len(people) > 2:
        yield f"answers of {', '.join(people[:2])} count; those of {', '.join(people[2:])} do not"
    yield "`annoloop decide` takes it into account"


def newest_review(connection: Connection, iteration: Iteration) -> tuple[Shares, str] | None:
    """What the newest review found and where, as far as it still holds at this iteration.

    It speaks for the model whose failures it judged and for the next one, and no longer once labels
    were corrected after it.
    """
    done = iterations.step_history(connection, STEP)
    if not done or iteration.number - done[-1].iteration > 1:
        return None
    newest = done[-1]
    for batch in batches.load_all(connection, BatchKind.RELABEL):
        if batch.closed_at is not None and batch.closed_at >= newest.at:
            return None
    told = dict(newest.record["shares"])
    for name in ("ambiguous", "label", "model", "not_model"):
        told[name] = Share(**told[name])
    where = f"{newest.record['batch']} reviewed model {newest.record['model']}"
    return Shares(**told), where


def _unpacked(sample_id: str, row: Mapping[str, Any]) -> Disputed:
    old = row["label"]
    label = None if old is None else Label(int(old[0]), tuple(old[1:]))
    failure = Failure(sample_id, FailureType(row["type"]), int(row["class_id"]), tuple(row["box"]))
    return Disputed(failure, label)
