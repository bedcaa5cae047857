"""Regions instead of whole images: proposals, their cut, an image as near as its best region."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.cluster_picks import rank_clusters
from annoloop.core.clusters import find_clusters
from annoloop.core.patches import Patches, patches_of, proposals, with_context
from annoloop.core.selection import Candidates, Evidence, select
from annoloop.core.targeting import Query, rank_neighbours
from annoloop.errors import VectorError
from annoloop.records import Detection, Failure, FailureType


def query(vector, *, image="a.jpg", class_id=0):
    failure = Failure(f"id of {image}", FailureType.MISSED, class_id, (0, 0, 9, 9), price=0.1)
    return Query(failure, f"missed `{class_id}`", image, np.asarray(vector, dtype=np.float32))


def patches(*rows):
    """(owner, vector, box or None) each."""
    owners, vectors, boxes = zip(*rows, strict=True)
    return Patches(
        np.array(vectors, dtype=np.float32),
        np.array(owners),
        np.array([b or (np.nan,) * 4 for b in boxes], dtype=float),
    )


def test_proposals_are_the_best_regions_each_once_whatever_the_class():
    cup, same, far, weak = (
        Detection(0, (10, 10, 20, 20), 0.3),
        Detection(1, (11, 10, 20, 20), 0.9),
        Detection(0, (60, 60, 20, 20), 0.02),
        Detection(0, (90, 0, 5, 5), 0.019),
    )
    assert proposals([cup, same, far, weak]) == [same.box, far.box]
    assert proposals([weak, far, same, cup]) == [same.box, far.box]
    assert proposals([cup, same, far], most=1) == [same.box]
    assert proposals([]) == []


@given(
    box=st.tuples(*[st.floats(-20, 120)] * 2, *[st.floats(0, 150)] * 2),
    width=st.integers(1, 100),
    height=st.integers(1, 100),
)
def test_a_cut_lies_inside_the_image_and_holds_what_of_the_box_does(box, width, height):
    x, y, w, h = with_context(box, width=width, height=height)
    assert 0 <= x <= width - 1
    assert 0 <= y <= height - 1
    assert 1 <= w <= width - x
    assert 1 <= h <= height - y
    assert all(value == int(value) for value in (x, y, w, h))
    inside = max(box[0], 0), min(box[0] + box[2], width)
    if inside[0] < inside[1]:
        assert x <= inside[0]
        assert x + w >= inside[1]


def test_context_is_a_share_of_each_side():
    assert with_context((40, 40, 20, 10), width=100, height=100) == (37, 38, 26, 14)


def test_an_image_is_as_near_as_its_nearest_region_and_the_reason_names_it():
    found = patches(
        (0, (0.8, 0.6), None),
        (1, (0.0, 1.0), None),
        (1, (1.0, 0.0), (5, 6, 7, 8)),
        (1, (0.9, 0.1), (1, 1, 1, 1)),
        (2, (0.0, 1.0), None),
    )
    by_cluster = rank_clusters(find_clusters([query((1, 0))]), found, want=3)
    assert by_cluster.positions.tolist() == [1, 0, 2]
    assert by_cluster.cosines.tolist() == pytest.approx([1.0, 0.8, 0.0], abs=1e-6)
    reason, details = by_cluster.explain(0)
    assert reason.endswith("cosine 1.00 of its region x 5, y 6, 7 × 8")
    assert details["region"] == [5, 6, 7, 8]
    assert "region" not in by_cluster.explain(1)[1]
    ranked = rank_neighbours([query((1, 0))], found, want=3)
    assert ranked.positions.tolist() == [1, 0, 2]
    assert ranked.explain(0)[0].endswith("cosine 1.00 of its region x 5, y 6, 7 × 8")
    closed = np.array([False, True, False])
    assert rank_neighbours([query((1, 0))], found, want=3, taken=closed).positions.tolist() == [
        0,
        2,
    ]
    assert rank_clusters(
        find_clusters([query((1, 0))]), found, want=3, taken=closed
    ).positions.tolist() == [0, 2]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 30),
    per=st.integers(0, 6),
    want=st.integers(1, 30),
    asked=st.integers(1, 6),
)
def test_regions_rank_like_images_whose_vector_is_the_nearest_of_them(seed, n, per, want, asked):
    rng = np.random.default_rng(seed)
    owners = np.concatenate([np.arange(n), rng.integers(0, n, per * n)])
    vectors = rng.normal(size=(len(owners), 5)).astype(np.float32)
    found = Patches(vectors, owners, np.zeros((len(owners), 4)))
    queries = [query(v, image=f"{i}.jpg") for i, v in enumerate(rng.normal(size=(asked, 5)))]
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    wanted = np.stack([q.vector / np.linalg.norm(q.vector) for q in queries])
    best = np.full(n, -2.0)
    np.maximum.at(best, owners, (units @ wanted.T).max(axis=1))
    taken = rng.random(n) < 0.3
    for ranked in (
        rank_clusters(find_clusters(queries), found, want=want, taken=taken),
        rank_neighbours(queries, found, want=want, taken=taken),
    ):
        assert len(ranked.positions) == min(want, int((~taken).sum()))
        assert not taken[ranked.positions].any()
        assert max(Counter(ranked.positions.tolist()).values(), default=1) == 1
    single = rank_neighbours(queries[:1], found, want=n)
    np.testing.assert_allclose(
        single.cosines,
        np.sort((units @ wanted[:1].T)[_best_of(units @ wanted[0], owners, n), 0])[::-1],
        atol=1e-5,
    )


def _best_of(cosines, owners, n):
    """The place of the nearest patch of each owner."""
    order = np.lexsort((-cosines, owners))
    return order[np.searchsorted(owners[order], np.arange(n))]


def test_vectors_are_patches_of_whole_images_and_what_does_not_fit_is_refused():
    vectors = np.eye(3, dtype=np.float32)
    found = patches_of(vectors)
    assert found.owners.tolist() == [0, 1, 2]
    assert found.box(1) is None
    assert patches_of(found) is found
    with pytest.raises(VectorError, match="one candidate"):
        Patches(vectors, np.arange(2), np.zeros((3, 4)))


def test_the_order_of_rows_does_not_matter_for_regions_either():
    rng = np.random.default_rng(0)
    n, m = 40, 160
    owners = np.concatenate([np.arange(n), rng.integers(0, n, m - n)])
    vectors, boxes = rng.normal(size=(m, 4)).astype(np.float32), rng.random((m, 4))
    ids = np.array([f"s{i:03}" for i in range(n)])
    scores = rng.random(n)
    known = Evidence(
        tuple(query(v, image=f"{i}.jpg") for i, v in enumerate(rng.normal(size=(9, 4))))
    )

    def drawn(order):
        place = np.argsort(order)
        candidates = Candidates(
            tuple(ids[order]),
            None,
            scores[order],
            patches=Patches(vectors, place[owners], boxes),
        )
        mix = {"coverage": 0.3, "targeted": 0.7}
        return select(candidates, known, size=12, mix=mix, rng=np.random.default_rng(0)).picks

    plain = drawn(np.arange(n))
    assert Counter(p.source for p in plain) == {"coverage": 3, "targeted": 9}
    assert any("region" in p.details for p in plain)
    assert drawn(rng.permutation(n)) == plain
