"""Targeted picks: ranked, fair over failures, credited to the failure that reached them first."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.targeting import Query, probes, rank_neighbours
from annoloop.errors import VectorError
from annoloop.records import Failure, FailureType


def query(vector, *, image="kitchen/0042.jpg", text="missed `cup`", price=0.1, class_id=3):
    failure = Failure(f"id of {image}", FailureType.MISSED, class_id, (1, 2, 3, 4), price=price)
    return Query(failure, text, image, np.asarray(vector, dtype=np.float32))


def turned(*degrees):
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def test_reason_and_details_of_a_neighbour():
    found = rank_neighbours([query([1, 0])], turned(60, 34, 0.5), want=2)
    assert found.positions.tolist() == [2, 1]
    reason, details = found.explain(1)
    assert reason == "neighbour 2 of missed `cup` in val image kitchen/0042.jpg, cosine 0.83"
    assert details == {
        "failure_sample_id": "id of kitchen/0042.jpg",
        "failure_type": "missed",
        "class_id": 3,
        "failures": 1,
        "neighbour": 2,
        "cosine": pytest.approx(np.cos(np.deg2rad(34)), abs=1e-6),
    }


def test_rounds_take_the_first_of_every_failure_before_the_second_of_any():
    a, b = query(turned(0)[0], image="a.jpg"), query(turned(90)[0], image="b.jpg")
    pool = turned(1, 2, 3, 4, 85, 80)
    found = rank_neighbours([a, b], pool, want=6)
    assert found.positions.tolist() == [0, 4, 1, 5, 2, 3]
    assert found.ranks.tolist() == [1, 1, 2, 2, 3, 3]
    assert [found.probes[i].query.where for i in found.credits] == [
        "a.jpg", "b.jpg", "a.jpg", "b.jpg", "a.jpg", "b.jpg",
    ]  # fmt: skip


def test_a_shared_neighbour_is_credited_to_the_nearer_failure():
    a, b = query(turned(0)[0], image="a.jpg"), query(turned(50)[0], image="b.jpg")
    found = rank_neighbours([a, b], turned(30, 170), want=1)
    assert found.positions.tolist() == [0]
    assert found.probes[found.credits[0]].query.where == "b.jpg"


def test_failures_of_one_image_speak_with_one_voice_named_by_the_dearest():
    crowd = [query([1, 0], text=f"missed `{n}`", price=n / 10) for n in range(4)]
    other = query([0, 1], image="hall/1.jpg", text="background `cat`", price=0.05)
    assert [(p.query.text, p.others) for p in probes([*crowd, other])] == [
        ("missed `3`", 3),
        ("background `cat`", 0),
    ]
    found = rank_neighbours([*crowd, other], turned(1, 2, 89, 88), want=4)
    assert found.positions.tolist() == [0, 2, 1, 3]
    assert found.explain(0)[0] == (
        "neighbour 1 of missed `3` and 3 more failures in val image kitchen/0042.jpg, cosine 1.00"
    )
    two = rank_neighbours(crowd[:2], turned(1), want=1)
    assert "missed `1` and 1 more failure in val" in two.explain(0)[0]


def test_taken_rows_are_left_out_and_keep_their_rank():
    pool = turned(1, 2, 3)
    found = rank_neighbours([query([1, 0])], pool, want=2, taken=np.array([True, False, False]))
    assert found.positions.tolist() == [1, 2]
    assert found.ranks.tolist() == [2, 3]


def test_broken_and_misfit_query_vectors_are_named_by_their_image():
    good = query([1, 0], image="good.jpg")
    for vector in ([np.nan, 0.0], [1.0, 0.0, 0.0]):
        with pytest.raises(VectorError, match=r"val image (hall/1|good)\.jpg"):
            rank_neighbours([good, query(vector, image="hall/1.jpg")], turned(1), want=1)


def test_broken_pool_vectors_are_named_by_their_sample():
    pool = turned(1, 2)
    pool[1, 0] = np.inf
    with pytest.raises(VectorError, match="sample-b"):
        rank_neighbours([query([1, 0])], pool, want=1, names=["sample-a", "sample-b"])


def plain(queries, pool, want, taken):
    """The rounds as they are defined, with everything at hand."""
    asked = probes(queries)
    cosines = np.empty((len(asked), len(pool)), dtype=np.float32)
    for i, probe in enumerate(asked):
        v = np.asarray(probe.query.vector, dtype=float)
        for j, p in enumerate(pool.astype(float)):
            cosines[i, j] = (v * p).sum() / (np.sqrt((v * v).sum()) * np.sqrt((p * p).sum()))
    orders = np.argsort(-cosines, axis=1, kind="stable")
    done, answer = set(), []
    for rank in range(len(pool)):
        this_round = {}
        for i in range(len(asked)):
            row = int(orders[i, rank])
            if row not in done and (row not in this_round or cosines[i, row] > this_round[row][0]):
                this_round[row] = (cosines[i, row], i)
        for row in sorted(this_round, key=lambda r: (-this_round[r][0], r)):
            done.add(row)
            answer.append((row, rank + 1, this_round[row][1]))
    return [entry for entry in answer if not taken[entry[0]]][:want]


@st.composite
def searches(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, d, q = draw(st.integers(1, 20)), draw(st.integers(1, 4)), draw(st.integers(1, 6))
    pool = rng.integers(1, 5, size=(n, d)).astype(np.float32)
    vectors = rng.integers(1, 5, size=(q, d))
    queries = [
        query(v, image=f"{i}.jpg", price=float(rng.integers(3))) for i, v in enumerate(vectors)
    ]
    return queries, pool, rng.random(n) < 0.3, draw(st.integers(0, 22)), draw(st.integers(1, 6))


@settings(max_examples=80, deadline=None)
@given(searches(), st.randoms(use_true_random=False))
def test_equal_to_the_rounds_as_defined_whatever_the_depth_and_order(search, shuffler):
    queries, pool, taken, want, per_query = search
    found = rank_neighbours(queries, pool, want=want, taken=taken, per_query=per_query)
    got = list(
        zip(found.positions.tolist(), found.ranks.tolist(), found.credits.tolist(), strict=True)
    )
    assert got == plain(queries, pool, want, taken)
    assert len(got) == min(want, int((~taken).sum()))
    mixed = [replace(q) for q in queries]
    shuffler.shuffle(mixed)
    again = rank_neighbours(mixed, pool, want=want, taken=taken)
    assert [again.explain(i) for i in range(len(got))] == [
        found.explain(i) for i in range(len(got))
    ]


def test_many_probes_are_searched_in_parts(monkeypatch):
    from annoloop.core import targeting

    rng = np.random.default_rng(1)
    pool = rng.normal(size=(60, 4)).astype(np.float32)
    queries = [query(v, image=f"{i}.jpg") for i, v in enumerate(rng.normal(size=(9, 4)))]
    whole = rank_neighbours(queries, pool, want=50)
    monkeypatch.setattr(targeting, "ENTRIES", 30)
    parts = rank_neighbours(queries, pool, want=50)
    for name in ("positions", "cosines", "ranks", "credits"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
