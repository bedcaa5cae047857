"""kcenter, facility and typiclust as sources of a mix: reasons, labelled rows, one batch."""

import numpy as np
import pytest

from annoloop import plugins
from annoloop.core import strategies
from annoloop.core.selection import Candidates, Evidence, select
from annoloop.errors import VectorError

NAMES = ("kcenter", "facility", "typiclust")
KNOWN = {name: getattr(strategies, name) for name in NAMES}


def candidates(vectors, **more):
    ids = tuple(f"s{i:05}" for i in range(len(vectors)))
    return Candidates(ids, np.asarray(vectors, dtype=np.float32), **more)


def draw(pool, known, *, size, mix, seed=0):
    rng = np.random.default_rng(seed)
    return select(pool, known, size=size, mix=mix, strategies=KNOWN, rng=rng)


@pytest.fixture
def clusters():
    """Twenty clusters of 60; the vectors of the first ten's 30 labelled rows, and the rest."""
    rng = np.random.default_rng(5)
    middles = rng.normal(size=(20, 32))
    which = np.repeat(np.arange(20), 60)
    vectors = middles[which] + 0.25 * rng.normal(size=(1_200, 32))
    known = (which < 10) & (np.arange(1_200) % 20 == 0)
    return vectors[known], vectors[~known], which[~known]


@pytest.mark.parametrize("name", NAMES)
def test_labelled_clusters_get_a_tenth_of_the_picks_at_most(name, clusters):
    labelled, vectors, which = clusters
    pool = candidates(vectors)
    chosen = draw(pool, Evidence(labelled=labelled), size=10, mix={name: 1.0})
    rows = [int(p.sample_id[1:]) for p in chosen.picks]
    assert (which[rows] >= 10).mean() >= 0.9
    blind = draw(pool, Evidence(), size=10, mix={name: 1.0})
    rows = [int(p.sample_id[1:]) for p in blind.picks]
    assert 0.2 <= (which[rows] >= 10).mean() <= 0.8


@pytest.mark.parametrize("name", NAMES)
def test_exact_size_nobody_twice_same_seed_same_batch_any_order(name, clusters):
    labelled, vectors, _ = clusters
    pool = candidates(vectors, groups=np.arange(len(vectors)) // 3)
    known = Evidence(labelled=labelled, pending=("s00007",))
    mix = {name: 0.6, "random": 0.4}
    chosen = draw(pool, known, size=51, mix=mix)
    ids = [p.sample_id for p in chosen.picks]
    assert len(ids) == len(set(ids)) == 51
    assert "s00007" in ids[:3]
    mixed = np.random.default_rng(1).permutation(len(vectors))
    other = Candidates(
        tuple(pool.ids[i] for i in mixed), pool.vectors[mixed], groups=pool.groups[mixed]
    )
    again = draw(other, known, size=51, mix=mix)
    assert [(p.sample_id, p.score, p.reason) for p in again.picks] == [
        (p.sample_id, p.score, p.reason) for p in chosen.picks
    ]


def test_reasons_of_kcenter():
    pool = candidates([[1, 0], [0, 1], [0, -1], [-1, 0.1]])
    known = Evidence(labelled=np.array([[1.0, 0.0]]))
    picks = draw(pool, known, size=2, mix={"kcenter": 1.0}).picks
    assert picks[0].reason == (
        "farthest from everything chosen: cosine distance 2.00 to its nearest labelled image"
    )
    assert picks[1].sample_id == "s00002"
    first, second = draw(pool, Evidence(), size=2, mix={"kcenter": 1.0}).picks
    assert first.reason.startswith("nothing is labelled or chosen yet")
    assert second.reason.endswith(f"to its nearest image of this batch ({first.sample_id})")
    assert second.details["nearest"] == first.sample_id
    waiting = Evidence(labelled=np.array([[1.0, 0.0]]), pending=("s00003",))
    reasons = [p.reason for p in draw(pool, waiting, size=2, mix={"kcenter": 1.0}).picks]
    assert reasons[1] == (
        "farthest from everything chosen: cosine distance 1.00 to its nearest labelled image"
    )
    waiting = Evidence(pending=("s00003",))
    reasons = [p.reason for p in draw(pool, waiting, size=2, mix={"kcenter": 1.0}).picks]
    assert reasons[1].endswith("to its nearest image of this batch")


def test_reasons_of_facility_and_typiclust():
    pool = candidates([[1, 0]] * 7 + [[0, 1]] * 6)
    first, second = draw(pool, Evidence(), size=2, mix={"facility": 1.0}).picks
    assert first.reason == ("represents 7 images of the pool better than anything chosen before")
    assert (first.score, second.details["represents"]) == (7.0, 6)
    first, second = draw(pool, Evidence(), size=2, mix={"typiclust": 1.0}).picks
    assert first.reason == "most typical of cluster 1 of 2: 7 images, none labelled or chosen"
    assert second.details == {"cluster": 2, "clusters": 2, "images": 6, "labelled": 0}


def test_facility_says_when_all_is_represented_and_others_take_over():
    chosen = draw(candidates([[1, 0]] * 5), Evidence(), size=3, mix={"facility": 1.0})
    assert [p.source for p in chosen.picks] == ["facility", "random", "random"]
    assert "represented" in chosen.shortfalls[0].why


@pytest.mark.parametrize("name", NAMES)
def test_without_vectors_it_is_said_and_broken_ones_are_named(name):
    pool = Candidates(("a", "b"), coverage=np.array([0.5, 1.0]))
    chosen = draw(pool, Evidence(), size=1, mix={name: 1.0})
    assert chosen.picks[0].source == "coverage"
    assert "annoloop embed" in chosen.shortfalls[0].why
    with pytest.raises(VectorError, match=": b"):
        draw(
            Candidates(("a", "b"), np.array([[1, 0], [np.nan, 0]])),
            Evidence(),
            size=1,
            mix={name: 1},
        )
    with pytest.raises(VectorError, match="2 wide"):
        draw(candidates([[1, 0]]), Evidence(labelled=np.ones((1, 3))), size=1, mix={name: 1})


def test_they_come_by_entry_point_like_any_plugin():
    assert {name: plugins.load("strategies", name) for name in NAMES} == KNOWN
