"""Batches and answers: append-only, idempotent, the newest counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from annoloop.errors import BatchClosedError, BatchError, BusyError
from annoloop.records import Annotation, Answer, Batch, BatchKind, Label, Pick, Sample
from annoloop.store import batches, samples
from annoloop.store.db import Store

BATCH = Batch("v0", BatchKind.SELECT, True, "t", None, asked=2, seed=0, report={"mix": {}})
PICKS = [
    (Pick("s1", "coverage", 1, 0.9, "far from all", {"x": 1}), False),
    (Pick("s0", "golden", 1, 0.0, "blind"), True),
]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    store = Store("sqlite:///annoloop.db", tmp_path)
    store.migrate("t")
    with store.write() as connection:
        new = [Sample(f"s{i}", f"{i}.png", f"/{i}.png", 10, 8, f"h{i}") for i in range(3)]
        samples.add_samples(connection, new, "t")
        batches.add(connection, BATCH, 0, PICKS)
        yield connection


def answer(labels: tuple[Label, ...] = (), *, by: str = "ann") -> Annotation:
    kind = Answer.COMPLETE if labels else Answer.EMPTY
    return Annotation("s1", "v0", by, kind, labels, at="t")


def test_picks_come_back_in_task_order(connection: Connection) -> None:
    assert batches.load_picks(connection, "v0") == PICKS
    assert batches.pick_counts(connection) == {"v0": {"coverage": 1, "golden": 1}}


def test_numbers_go_on_by_kind(connection: Connection) -> None:
    assert batches.next_number(connection, BatchKind.SELECT) == 1
    assert batches.next_number(connection, BatchKind.VAL) == 1
    assert batches.batch_name(BatchKind.SELECT, 1) == "v1"
    assert batches.batch_name(BatchKind.RELABEL, 2) == "relabel-2"


def test_the_same_batch_twice_is_refused_by_name(connection: Connection) -> None:
    with pytest.raises(BusyError, match="just made batch v0"):
        batches.add(connection, BATCH, 0, PICKS)


def test_the_same_answer_twice_adds_nothing(connection: Connection) -> None:
    box = Label(0, (1, 1, 2, 2))
    assert batches.add_annotations(connection, [answer((box,))]) == 1
    assert batches.add_annotations(connection, [answer((box,))]) == 0
    assert batches.add_annotations(connection, [answer(())]) == 1
    assert batches.add_annotations(connection, [answer((box,))]) == 1  # changed back: news
    assert batches.add_annotations(connection, [answer((box,), by="bob")]) == 1
    stored = batches.load_annotations(connection, batch="v0")
    assert [one.annotator for one in stored] == ["ann", "ann", "ann", "bob"]
    assert batches.newest(stored)["s1"].annotator == "bob"
    assert batches.answered_counts(connection) == {"v0": 1}


def test_a_closed_batch_points_to_relabel(connection: Connection) -> None:
    batches.close(connection, "v0", "later")
    assert batches.get(connection, "v0") == replace(BATCH, open=False, closed_at="later")
    with pytest.raises(BatchClosedError, match="relabel"):
        batches.get_open(connection, "v0")


def test_an_unknown_batch_lists_the_known_ones(connection: Connection) -> None:
    with pytest.raises(BatchError, match="Batches here: v0"):
        batches.get(connection, "v7")
