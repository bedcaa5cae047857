"""`failures review`: are the failures the model's? A blind batch of them for two people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection

from annoloop.core import ambiguity
from annoloop.core.ambiguity import Disputed
from annoloop.core.failures import describe
from annoloop.errors import BatchOpenError, NotReadyError
from annoloop.records import Batch, BatchKind, Failure, FailureType, Half, Pick, Split
from annoloop.results_batches import BatchMakeResult
from annoloop.steps.context import Context
from annoloop.store import batches, db, iterations, samples
from annoloop.store.iterations import StepRecord

FAILURES, DECOYS = 60, 0.25
"""Failures in a review, and images without any in it, as a share of them (methods B2)."""


def make_review(context: Context, *, size: int | None = None) -> BatchMakeResult:
    """A `review` batch of `size` failures of the newest evaluation, 60 if nobody says how many.

    Random failures within each type, as many as the type's share of the price, with images without
    failures in between, so that nobody knows from being asked that something is wrong.
    """
    with context.store.write() as connection:
        if waiting := [b for b in batches.load_all(connection, BatchKind.REVIEW) if b.open]:
            raise BatchOpenError(
                f"review {waiting[0].name} is still open",
                fix="Let two people answer it, then close it: `annoloop annotate close "
                f"{waiting[0].name}`.",
            )
        evaluated = _newest_evaluation(connection)
        found = iterations.load_failures(connection, evaluated.seq)
        if not found:
            raise NotReadyError(
                "the newest evaluation found no failure, so there is nothing to review",
                fix="`annoloop failures` lists what the newest model did wrong on mine.",
            )
        rng = np.random.default_rng([context.settings.select.seed, evaluated.seq, 7])
        chosen = _sample(found, FAILURES if size is None else size, rng)
        picks = _picks(connection, chosen, evaluated, rng)
        number = batches.next_number(connection, BatchKind.REVIEW)
        name, at = batches.batch_name(BatchKind.REVIEW, number), context.now()
        weights = {str(kind): sum(prices) for kind, prices in _prices(found).items()}
        report = {
            "iteration": evaluated.iteration,
            "evaluation": evaluated.seq,
            "model": evaluated.record["model"],
            "failures": len(chosen),
            "weights": weights,
        }
        batch = Batch(name, BatchKind.REVIEW, True, at, None, len(picks), seed=0, report=report)
        batches.add(connection, batch, number, [(pick, False) for pick in picks])
        db.record(
            connection,
            at=at,
            who=context.who,
            what="failures review",
            target=name,
            details={"images": len(picks), "failures": len(chosen)},
        )
    decoys = sum(pick.source == "decoy" for pick in picks)
    return BatchMakeResult(
        name,
        str(BatchKind.REVIEW),
        len(picks),
        notes=(
            f"{len(chosen)} failures on {len(picks) - decoys} images, {decoys} images without one "
            f"between them; two people answer all of {name}, each in an import of their own",
        ),
    )


def _newest_evaluation(connection: Connection) -> StepRecord:
    done = iterations.step_history(connection, "evaluate")
    if not done:
        raise NotReadyError(
            "there is nothing to send out for a review batch: nothing was evaluated yet",
            fix="Run `annoloop evaluate` first: a review batch is made of failures.",
        )
    return done[-1]


def _sample(found: Sequence[Failure], size: int, rng: np.random.Generator) -> list[Failure]:
    chosen = []
    for kind, number in ambiguity.allocate(_prices(found), size).items():
        rows = [one for one in found if one.type is kind]
        chosen += [rows[row] for row in sorted(rng.permutation(len(rows))[:number].tolist())]
    return chosen


def _prices(found: Sequence[Failure]) -> dict[FailureType, list[float]]:
    prices: dict[FailureType, list[float]] = {}
    for one in found:
        prices.setdefault(one.type, []).append(one.price)
    return prices


def _picks(
    connection: Connection,
    chosen: Sequence[Failure],
    evaluated: StepRecord,
    rng: np.random.Generator,
) -> list[Pick]:
    """One pick for each image, with the failures that it is there for, and decoys; shuffled."""
    classes = samples.schema(connection).classes
    failed = {one.sample_id for one in iterations.load_failures(connection, evaluated.seq)}
    val = samples.load(connection, split=Split.VAL)
    known = samples.newest_references(connection, split=Split.VAL)
    clean = sorted(
        s.id for s in val if s.half is Half.MINE and s.id in known and s.id not in failed
    )
    by_image: dict[str, list[Failure]] = {}
    for one in chosen:
        by_image.setdefault(one.sample_id, []).append(one)
    decoys = rng.permutation(clean)[: int(np.ceil(DECOYS * len(chosen)))].tolist()
    rows = [
        (
            key,
            "review",
            f"model {evaluated.record['model']}: {', '.join(describe(f, classes) for f in rows)}",
            [_packed(ambiguity.dispute(f, known[key].labels)) for f in rows],
        )
        for key, rows in sorted(by_image.items())
    ]
    rows += [(key, "decoy", "no failure here: it keeps the review blind", []) for key in decoys]
    order = rng.permutation(len(rows)).tolist()
    return [
        Pick(key, source, rank, 0.0, reason, {"failures": failures})
        for rank, (key, source, reason, failures) in enumerate((rows[i] for i in order), start=1)
    ]


def _packed(disputed: Disputed) -> dict[str, Any]:
    failure, label = disputed.failure, disputed.label
    return {
        "type": str(failure.type),
        "class_id": failure.class_id,
        "box": list(failure.box),
        "label": None if label is None else [label.class_id, *label.box],
    }
