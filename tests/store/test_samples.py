"""Samples and reference labels: what moves, what never moves, what is versioned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection

from annoloop.errors import BusyError, ProjectError
from annoloop.records import Half, Label, Reference, Sample, Split, Status
from annoloop.store import samples
from annoloop.store.db import Store


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    store = Store("sqlite:///annoloop.db", tmp_path)
    store.migrate("t")
    with store.write() as connection:
        new = [Sample(f"s{i}", f"a/{i}.png", f"/a/{i}.png", 10, 8, f"h{i}") for i in range(6)]
        samples.add_samples(connection, new, "t")
        yield connection


def test_classes_keep_their_order_and_are_only_appended(connection: Connection) -> None:
    samples.add_classes(connection, ["cup", "plate", "cup"])
    schema = samples.add_classes(connection, ["fork", "cup"])
    assert schema.classes == ("cup", "plate", "fork")
    assert samples.schema(connection) == schema


def test_a_sample_never_changes_split(connection: Connection) -> None:
    samples.set_splits(connection, {"s0": (Split.VAL, Half.MINE, "g")})
    with pytest.raises(ProjectError, match="already have a split"):
        samples.set_splits(connection, {"s0": (Split.POOL, None, None)})
    assert samples.locked(connection) == [("s0", Split.VAL, Half.MINE)]
    assert samples.locked_groups(connection) == {"g": Split.VAL}


def test_a_status_moves_only_from_where_it_was_seen(connection: Connection) -> None:
    ids = ["s0", "s1"]
    samples.set_status(connection, ids, status=Status.SELECTED, came_from=(Status.UNLABELED,))
    with pytest.raises(BusyError, match="changed meanwhile"):
        samples.set_status(
            connection, ["s1", "s2"], status=Status.SELECTED, came_from=(Status.UNLABELED,)
        )


def test_references_are_versioned_and_equal_ones_add_nothing(connection: Connection) -> None:
    first = Reference("s0", (Label(0, (1, 2, 3, 4)),), "labels")
    second = Reference("s0", (Label(1, (1, 2, 3, 4.5), crowd=True),), "relabel-1")
    for one, new in ((first, 1), (first, 0), (second, 1)):
        assert samples.add_references(connection, [one], who="w", at="t") == new
    newest = samples.newest_references(connection, ids=["s0", "s1"])
    assert set(newest) == {"s0"}
    assert (newest["s0"].version, newest["s0"].labels) == (2, second.labels)


def test_flags_of_labels_survive() -> None:
    labels = (Label(3, (0.5, 1, 2, 3), crowd=True), Label(0, (1, 1, 1, 1), difficult=True))
    assert samples.unpack(samples.pack(labels)) == labels


def test_any_number_of_ids_can_be_asked_for(connection: Connection) -> None:
    many = [f"s{i}" for i in range(100_000)]
    assert [s.id for s in samples.load(connection, ids=many)] == [f"s{i}" for i in range(6)]


def test_counts_and_filters(connection: Connection) -> None:
    samples.set_splits(
        connection,
        {f"s{i}": (Split.POOL if i else Split.TEST, None, None) for i in range(5)},
    )
    assert samples.counts(connection) == {
        (None, Status.UNLABELED): 1,
        (Split.TEST, Status.UNLABELED): 1,
        (Split.POOL, Status.UNLABELED): 4,
    }
    pool = samples.load(connection, split=Split.POOL, statuses=(Status.UNLABELED,))
    assert [s.id for s in pool] == ["s1", "s2", "s3", "s4"]
    assert samples.load(connection, statuses=(Status.PENDING,)) == []


def test_near_duplicates_are_stored_once_in_either_order(connection: Connection) -> None:
    samples.add_near_duplicates(connection, [("s1", "s0")], binding=True)
    samples.add_near_duplicates(connection, [("s0", "s1"), ("s2", "s3")], binding=False)
    assert samples.load_near_duplicates(connection) == [("s0", "s1"), ("s2", "s3")]
