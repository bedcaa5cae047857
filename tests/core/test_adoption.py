"""A foreign loop in our words: statuses, batches, sources, and what is said about the rest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annoloop.core import adoption
from annoloop.errors import LockedSplitError, NotReadyError
from annoloop.records import BatchKind, Split, Status
from annoloop.records_loop import ForeignLoop, LoopSample


def sample(key: str, status: str = "unlabeled", **more: Any) -> LoopSample:
    more.setdefault("split", Split.POOL)
    return LoopSample(key, f"/images/{key}.jpg", status=Status(status), **more)


def adopt(*samples: LoopSample) -> adoption.Adoption:
    return adoption.adopt(ForeignLoop("set", ("cup",), samples))


def members(batch: adoption.AdoptedBatch) -> list[tuple[str, str]]:
    return [(one.external_id, one.source) for one in batch.members]


def test_the_newest_batch_is_open_while_a_sample_of_it_is_selected() -> None:
    made = adopt(
        sample("a", "annotated", batches=(0,), sources=("coverage",)),
        sample("b", "annotated", batches=(1,), sources=("targeted",)),
        sample("c", "selected", batches=(1,), sources=("targeted",)),
        sample("d"),
    )
    assert [(b.number, b.open) for b in made.batches] == [(0, False), (1, True)]
    assert made.answered == {"a": 0, "b": 1}
    assert made.statuses["c"] == (Status.SELECTED, None)
    assert made.notes == ()


def test_a_batch_without_selected_samples_is_closed() -> None:
    made = adopt(
        sample("a", "annotated", batches=(0,)),
        sample("b", "pending", batches=(0,)),
        sample("c", "skipped", batches=(0,)),
    )
    assert [b.open for b in made.batches] == [False]
    assert members(made.batches[0]) == [("a", "adopted"), ("b", "adopted"), ("c", "adopted")]
    assert made.answered == {"a": 0}
    assert made.statuses["c"] == (Status.SKIPPED, adoption.SKIPPED)


def test_what_was_sent_out_before_comes_back_as_pending_and_is_said() -> None:
    made = adopt(
        sample("a", "selected", batches=(0,)),
        sample("b", "selected"),
        sample("c", "selected", batches=(1,)),
    )
    assert made.statuses["a"] == made.statuses["b"] == (Status.PENDING, adoption.NEVER_ANSWERED)
    assert made.statuses["c"][0] is Status.SELECTED
    assert any(note.startswith("2 samples were `selected` outside") for note in made.notes)


def test_picked_again_is_pending_in_the_last_batch_and_its_first_source_before() -> None:
    one = sample("a", "selected", batches=(0, 2), sources=("coverage", "pending"), reason="why")
    made = adopt(one)
    assert [members(b)[0][1] for b in made.batches] == ["coverage", "pending"]
    assert [b.members[0].reason for b in made.batches] == [adoption.REASON, "why"]


def test_several_sources_are_kept_and_said() -> None:
    made = adopt(sample("a", "annotated", batches=(0,), sources=("coverage", "targeted")))
    assert members(made.batches[0]) == [("a", "coverage+targeted")]
    assert any("joined by +" in note for note in made.notes)


def test_an_answer_belongs_to_the_batch_that_its_tag_names() -> None:
    made = adopt(sample("a", "annotated", batches=(0, 1), answered=(0,)), sample("b", batches=(1,)))
    assert made.answered == {"a": 0}


def test_annotated_samples_of_no_batch_are_a_batch_of_their_own() -> None:
    alone = adopt(sample("a", "annotated"), sample("b"))
    assert [(b.kind, b.number, b.open) for b in alone.batches] == [(BatchKind.SELECT, 0, False)]
    beside = adopt(sample("a", "annotated"), sample("b", "annotated", batches=(0,)))
    first = beside.batches[0]
    assert (first.kind, first.number, members(first)) == (
        BatchKind.RELABEL,
        1,
        [("a", "adopted")],
    )
    assert beside.answered == {"a": 0, "b": 1}
    assert any("they are batch relabel-1" in note for note in beside.notes)


def test_samples_of_an_open_batch_that_were_put_back_are_left_out_of_it() -> None:
    made = adopt(sample("a", "selected", batches=(0,)), sample("b", batches=(0,)))
    assert members(made.batches[0]) == [("a", "adopted")]
    assert any("left out of it" in note for note in made.notes)


def test_a_skipped_sample_of_the_open_batch_is_answered_there() -> None:
    made = adopt(sample("a", "selected", batches=(0,)), sample("b", "skipped", batches=(0,)))
    assert made.answered == {"b": 0}


def test_a_locked_sample_in_a_batch_is_refused() -> None:
    with pytest.raises(LockedSplitError, match=r"a\.jpg is in val and in batch v3"):
        adopt(sample("a", batches=(3,), split=Split.VAL))


def test_outside_the_pool_only_skipped_is_kept() -> None:
    made = adopt(
        sample("a", "annotated", split=Split.VAL), sample("b", "skipped", split=Split.TEST)
    )
    assert made.statuses["a"] == (Status.UNLABELED, None)
    assert made.statuses["b"][0] is Status.SKIPPED
    assert any(note.startswith("1 samples of test, val and golden") for note in made.notes)


def test_no_splits_some_splits_all_splits() -> None:
    bare = ForeignLoop("set", (), (sample("a", split=None),))
    assert not adoption.has_splits(bare)
    some = ForeignLoop("set", (), (sample("a"), sample("b", split=Split.VAL)))
    with pytest.raises(NotReadyError, match=r"val 1, pool 1.*not 2 samples of val"):
        adoption.has_splits(some)
    three = (*some.samples, sample("c", split=Split.VAL), sample("d", split=None))
    assert adoption.has_splits(ForeignLoop("set", (), three))
    assert "1 samples have no split" in " ".join(adopt(*three).notes)


statuses = st.sampled_from(list(Status))
pools = st.lists(
    st.tuples(statuses, st.sets(st.integers(0, 3)), st.sets(st.integers(0, 3))), max_size=12
)


@given(pools)
def test_nothing_is_lost_whatever_the_tags_say(pool: list[Any]) -> None:
    made = adopt(
        *(
            sample(str(i), status, batches=tuple(sorted(b)), answered=tuple(sorted(a)))
            for i, (status, b, a) in enumerate(pool)
        )
    )
    open_ones = [b for b in made.batches if b.open]
    assert len(open_ones) <= 1
    numbers = [(b.kind, b.number) for b in made.batches]
    assert len(set(numbers)) == len(numbers)
    waiting = {m.external_id for b in open_ones for m in b.members}
    for i, (status, _, _) in enumerate(pool):
        now, _ = made.statuses[str(i)]
        assert now is status or (status, now) == (Status.SELECTED, Status.PENDING)
        if now is Status.SELECTED:
            assert str(i) in waiting
        if now is Status.ANNOTATED:
            batch = made.batches[made.answered[str(i)]]
            assert str(i) in {m.external_id for m in batch.members}
    assert all(batch.members for batch in made.batches if not batch.open)
