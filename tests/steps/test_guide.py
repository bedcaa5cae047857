"""What is said to be next, at the forks of the loop that are easily missed."""

from __future__ import annotations

from annoloop.records import Split, Status
from annoloop.results_batches import BatchSummary
from annoloop.steps.guide import NEXT, next_step
from annoloop.store.iterations import Iteration, StepRecord

COUNTS = {(Split.POOL, Status.UNLABELED): 5}


def batch(name: str, kind: str, at: str, *, open_: bool = False) -> BatchSummary:
    return BatchSummary(name, kind, open_, 1, {"coverage": 1}, 1, at, None if open_ else at)


def failed(at: str, **more: str) -> Iteration:
    record = {"verdict": "fail", "reason": "more errors"} | more
    steps = {
        name: StepRecord(place, 0, name, at, "ann", record if name == "golden" else {})
        for place, name in enumerate(("select", "annotate", "golden"))
    }
    return Iteration(0, "v0", "1", steps)


def said(history: list[Iteration], batches: list[BatchSummary], *, classes: bool = True) -> str:
    return next_step(history, batches, COUNTS, val_labeled=True, classes=classes)


def test_without_classes_there_is_nothing_to_label_with() -> None:
    assert said([], [], classes=False) == NEXT["classes"]
    assert "annoloop select" in said([], [])


def test_a_failed_golden_check_asks_for_corrections_once() -> None:
    v0 = batch("v0", "select", "1")
    relabel = NEXT["relabel"].format(batch="v0")
    assert said([failed("3")], [v0]) == relabel
    assert said([failed("3")], [v0, batch("relabel-1", "relabel", "2")]) == relabel
    assert said([failed("3")], [v0, batch("relabel-1", "relabel", "4")]) == NEXT["accept"]
    waits = [v0, batch("relabel-1", "relabel", "4", open_=True)]
    assert said([failed("3")], waits) == NEXT["close"].format(batch="relabel-1")
    assert said([failed("3", accepted="a new camera")], [v0]) == NEXT["train"]
