"""`golden prelabels`: what the model's boxes do to the labels of people who start from them."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from sqlalchemy import Connection

from annoloop.core import prelabels as core
from annoloop.core.prelabels import Answered, Bias, Difference
from annoloop.records import Annotation, Answer, Split
from annoloop.results_golden import GoldenPrelabelsResult, PrelabelledBatch
from annoloop.steps.context import Context
from annoloop.store import batches, samples
from annoloop.store import prelabels as store

COUNTED = (Answer.COMPLETE, Answer.EMPTY)
ORACLE = "oracle"
"""Answers of the oracle were looked up: no boxes swayed them."""

SAID = {
    "agreement": "agree with the model in {given:.0%} of the boxes where they saw its boxes, in "
    "{blank:.0%} where they did not (F1 at IoU 0.5)",
    "boxes": "leave {given:.2f} boxes an image where they saw the model's, {blank:.2f} where they "
    "did not",
}


def prelabel_bias(context: Context) -> GoldenPrelabelsResult:
    """Closed batches that were given boxes: images with them against those left blank."""
    with context.store.read() as connection:
        answered, rows = _gather(connection)
    rng = np.random.default_rng([context.settings.select.seed, 11])
    found = core.bias(answered, rng=rng)
    return GoldenPrelabelsResult(
        verdict=found.verdict,
        reason=_reason(found, rows),
        images_given=found.images_given,
        images_blank=found.images_blank,
        alarming=found.alarming,
        level=core.ALPHA,
        measures={name: asdict(one) for name, one in found.measures.items()},
        batches=rows,
    )


def started_from(prelabel: store.Prelabel | None, answer: Annotation) -> str | None:
    """The model whose boxes the answer started from, `blank`, or None where none were given."""
    if prelabel is None or answer.origin == ORACLE or answer.at < prelabel.at:
        return None
    return "blank" if prelabel.blank else prelabel.model


def _gather(
    connection: Connection,
) -> tuple[list[Answered], tuple[PrelabelledBatch, ...]]:
    by_batch: dict[str, dict[str, store.Prelabel]] = {}
    for name, one in store.load(connection):
        by_batch.setdefault(name, {})[one.sample_id] = one
    golden = {
        key: one.labels
        for key, one in samples.newest_references(connection, split=Split.GOLDEN).items()
    }
    answered: list[Answered] = []
    rows = []
    for batch in batches.load_all(connection):
        known = by_batch.get(batch.name)
        if known is None or batch.open:
            continue
        newest = batches.newest(batches.load_annotations(connection, batch=batch.name))
        # Who is golden stays hidden in the numbers: both kinds are counted together.
        mine = [
            Answered(
                batch=batch.name,
                given=not known[key].blank,
                model=known[key].labels,
                drawn=tuple(one for one in said.labels if not one.ignored),
                seconds=said.seconds,
                reference=golden.get(key),
            )
            for key, said in sorted(newest.items())
            if key in known
            and said.answer in COUNTED
            and started_from(known[key], said) is not None
        ]
        answered += mine
        rows.append(
            PrelabelledBatch(
                batch=batch.name,
                model=next(iter(known.values())).model,
                given=sum(not one.blank for one in known.values()),
                blank=sum(one.blank for one in known.values()),
                answered_given=sum(one.given for one in mine),
                answered_blank=sum(not one.given for one in mine),
            )
        )
    return answered, tuple(rows)


def _reason(found: Bias, rows: tuple[PrelabelledBatch, ...]) -> str:
    if not rows:
        return (
            "no closed batch was given a model's boxes (`annoloop batch predict`, `batch export "
            "--prelabels`)"
        )
    if found.verdict == "too few":
        return (
            f"too few to tell: {found.images_given} answered images with the model's boxes and "
            f"{found.images_blank} without, and {core.MIN_IMAGES} of each are needed"
        )
    if found.verdict == "bias":
        said = (_said(name, found.measures[name]) for name in found.alarming)
        return "the model's boxes sway people: they " + ", and ".join(said)
    low, high = found.measures["agreement"].interval or (0.0, 0.0)
    return (
        "no bias seen: the agreement with the model differs by "
        f"{found.measures['agreement'].difference or 0.0:+.1%} (95 % between {low:+.1%} and "
        f"{high:+.1%}) where people saw its boxes, which chance explains"
    )


def _said(name: str, one: Difference) -> str:
    return SAID[name].format(given=one.given, blank=one.blank) + f", p {one.p_value:.2g}"
