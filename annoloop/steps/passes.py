"""Passes over the golden images: who labelled them blind, and which of them count as in control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from annoloop.core.control import MIN_PASSES
from annoloop.core.golden_check import GoldenPasses
from annoloop.records import Annotation, Answer, Batch, BatchKind, GoldenVerdict, Label, Split
from annoloop.store import batches, iterations, samples
from annoloop.store.iterations import Iteration

BASELINE = "baseline"
"""Role of a golden batch whose answers are qualification passes, not reference labels."""

ANSWERED = (Answer.COMPLETE, Answer.EMPTY)

Pass = dict[str, tuple[Label, ...]]


def is_baseline(batch: Batch) -> bool:
    return batch.kind is BatchKind.GOLDEN and batch.report.get("role") == BASELINE


def baseline_passes(connection: Connection) -> list[tuple[str, str, Pass]]:
    """(batch, annotator, labels by path) of every qualification pass, oldest first."""
    paths = _paths(connection)
    found = []
    for batch in batches.load_all(connection, BatchKind.GOLDEN):
        if batch.open or not is_baseline(batch):
            continue
        answers = batches.load_annotations(connection, batch=batch.name)
        for name in dict.fromkeys(one.annotator for one in answers):
            mine = batches.newest(one for one in answers if one.annotator == name)
            found.append((batch.name, name, _pass(mine, paths)))
    return found


def gather(connection: Connection, iteration: Iteration) -> GoldenPasses:
    """What the check of one iteration compares, with image paths as keys.

    Three qualification passes are the baseline; until there are three, the passes of earlier
    iterations that did not fail, or were accepted, count too.
    """
    paths = _paths(connection)
    known = samples.newest_references(connection, split=Split.GOLDEN)
    qualified = [labels for _, _, labels in baseline_passes(connection)]
    earlier = [
        (one, _pass(_blind_answers(connection, one), paths))
        for one in iterations.load_iterations(connection)
        if one.number < iteration.number
    ]
    in_control = [labels for one, labels in earlier if labels and _accepted(one)]
    enough = len(qualified) >= MIN_PASSES
    answers = _blind_answers(connection, iteration)
    return GoldenPasses(
        reference={paths[key]: one.labels for key, one in known.items()},
        baselines=qualified if enough else [*in_control, *qualified],
        since=[labels for _, labels in earlier if labels] if enough else (),
        new=_pass(answers, paths),
        annotators={paths[key]: one.annotator for key, one in answers.items()},
    )


def _accepted(iteration: Iteration) -> bool:
    step = iteration.steps.get("golden")
    if step is None:
        return False
    return step.record["verdict"] != GoldenVerdict.FAIL or bool(step.record.get("accepted"))


def _blind_answers(connection: Connection, iteration: Iteration) -> dict[str, Annotation]:
    picks = batches.load_picks(connection, iteration.batch)
    blind = {pick.sample_id for pick, hidden in picks if hidden}
    found = batches.load_annotations(connection, batch=iteration.batch, ids=blind)
    return batches.newest(found)


def blind_pass(connection: Connection, iteration: Iteration) -> Pass:
    """Blind golden answers of one iteration: labels by sample id."""
    found = _blind_answers(connection, iteration)
    return {key: one.labels for key, one in found.items() if one.answer in ANSWERED}


def _pass(answers: Mapping[str, Annotation], paths: Mapping[str, str]) -> Pass:
    return {
        paths[key]: one.labels
        for key, one in answers.items()
        if key in paths and one.answer in ANSWERED
    }


def _paths(connection: Connection) -> dict[str, str]:
    return {s.id: s.path for s in samples.load(connection, split=Split.GOLDEN)}


def shown_before(connection: Connection, number: int) -> tuple[list[str], dict[str, int]]:
    """Blind golden ids of the batch before `number`, and how often each id was hidden so far."""
    last: Sequence[str] = ()
    shown: dict[str, int] = {}
    for one in iterations.load_iterations(connection):
        if one.number >= number:
            break
        picks = batches.load_picks(connection, one.batch)
        last = [pick.sample_id for pick, hidden in picks if hidden]
        for key in last:
            shown[key] = shown.get(key, 0) + 1
    return list(last), shown
