"""What another tool should show of a sample, and whose state is overwritten there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annoloop.core import mirrored
from annoloop.core.adoption import REASON
from annoloop.core.mirrored import Picked, Shown, loop_tags, may_write, state
from annoloop.records import Half, Sample, Split, Status

V0 = Picked(0, "coverage", REASON, answered=False, open=False)
V1 = Picked(1, "pending", "came back", answered=False, open=True)


def sample(status: str, split: Split = Split.POOL) -> Sample:
    return Sample("a", "a.jpg", "a.jpg", 8, 8, "0", split=split, status=Status(status))


def show(one: Sample, *picked: Picked, **more: Any) -> Shown:
    more = {"failures": None, "shown": Shown(), "score": None, **more}
    return mirrored.show(one, picked, **more)


def test_a_sample_that_waits_for_people() -> None:
    made = show(sample("selected"), V0, V1, score=0.25)
    assert made.tags == (
        "batch:v0",
        "batch:v1",
        "source:coverage",
        "source:pending",
        "split:pool",
        "to_annotate",
    )
    assert (made.status, made.reason, made.score) == ("selected", "came back", 0.25)


def test_an_answered_one_waits_no_more_and_is_annotated_once_the_batch_is_closed() -> None:
    answered = Picked(1, "targeted", "why", answered=True, open=True)
    assert show(sample("selected"), answered).tags == ("batch:v1", "source:targeted", "split:pool")
    closed = Picked(1, "targeted", "why", answered=True, open=False)
    assert "annotated:v1" in show(sample("annotated"), closed).tags


def test_outside_the_pool_the_status_there_stays() -> None:
    made = show(sample("unlabeled", Split.VAL), shown=Shown("annotated"), failures=("high_fn",))
    assert (made.status, made.tags) == ("annotated", ("failure:high_fn", "split:val"))


def test_what_the_project_has_no_own_for_stays() -> None:
    there = Shown("unlabeled", ("failure:high_fp",), "their reason", 0.5)
    made = show(sample("unlabeled"), V0, shown=there)
    assert (made.reason, made.score) == ("their reason", 0.5)
    assert "failure:high_fp" in made.tags
    assert "failure:high_fp" not in show(sample("unlabeled"), shown=there, failures=()).tags


def test_halves_of_val_and_batches_outside_the_loop() -> None:
    val = replace(sample("unlabeled", Split.VAL), half=Half.MINE)
    there = Shown(None, ("annotated:review-2", "batch:review-2", "val:gauge"))
    made = show(val, shown=there, outside=("batch:val-1",))
    assert made.tags == (
        "annotated:review-2",
        "batch:review-2",
        "batch:val-1",
        "split:val",
        "val:mine",
    )


def test_only_the_loops_tags_count() -> None:
    tags = ["mine", "split:val", "batch:v2", "batch:x", "source:a b", "failure:high_fn", "train"]
    assert loop_tags(tags) == ("batch:v2", "failure:high_fn", "split:val")
    outside = ("annotated:golden-1", "batch:relabel-12", "val:mine")
    assert loop_tags([*outside, "val:both", "batch:select-1", "batch:val-"]) == outside
    assert state(Shown(None, ("mine", "split:val", "failure:high_fn"))) == "unlabeled|split:val"


@pytest.mark.parametrize(
    ("there", "seen", "ours"),
    [
        (Shown(), (), True),  # nothing there, nothing known
        (Shown("skipped"), (), False),
        (Shown("selected", ("batch:v0",)), ("selected|batch:v0",), True),
        (Shown("selected"), ("selected|batch:v0",), False),
        (Shown("annotated", ("batch:v0",)), ("selected|batch:v0",), False),
        # between two states of a push that was killed
        (Shown("selected", ("batch:v0",)), ("selected|", "annotated|annotated:v0 batch:v0"), True),
        (Shown("pending", ("batch:v0",)), ("selected|", "annotated|annotated:v0 batch:v0"), False),
        (Shown("selected", ("batch:v7",)), ("selected|", "annotated|annotated:v0 batch:v0"), False),
    ],
)
def test_whose_state_may_be_overwritten(there: Shown, seen: tuple[str, ...], ours: bool) -> None:
    assert may_write(there, Shown("annotated", ("batch:v0", "annotated:v0")), seen) is ours


def test_what_is_as_it_should_be_is_nobodys_change() -> None:
    wanted = Shown("annotated", ("batch:v0", "annotated:v0"))
    assert may_write(wanted, wanted, ("selected|batch:v0",))


names = st.sets(st.sampled_from(["batch:v0", "batch:v1", "annotated:v0", "to_annotate"]))
statuses = st.sampled_from(["unlabeled", "selected", "annotated"])


@given(statuses, names, statuses, names, st.data())
def test_every_step_of_a_push_from_one_state_to_another_is_ours(
    old: str, before: set[str], new: str, after: set[str], data: st.DataObject
) -> None:
    """Tags change one by one in any order, and the status at any time."""
    seen = tuple(state(Shown(s, tuple(t))) for s, t in ((old, before), (new, after)))
    done = data.draw(st.sets(st.sampled_from(sorted(before ^ after)))) if before ^ after else set()
    halfway = Shown(data.draw(st.sampled_from([old, new])), tuple(before ^ done))
    assert may_write(halfway, Shown("skipped"), seen)
