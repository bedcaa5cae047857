"""Clusters of failures: modes, quotas, variety inside a mode, floors that order, and dominance."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core import cluster_picks, clusters
from annoloop.core.cluster_picks import rank_clusters
from annoloop.core.clusters import find_clusters
from annoloop.core.cosines import coarse, fine
from annoloop.core.targeting import Query, rank_neighbours
from annoloop.errors import SettingsError, VectorError
from annoloop.records import Failure, FailureType

MISSED, BACKGROUND = FailureType.MISSED, FailureType.BACKGROUND


def query(vector, *, image="a.jpg", kind=MISSED, class_id=0, price=0.1, x=0):
    failure = Failure(f"id of {image}", kind, class_id, (x, 0, 9, 9), price=price)
    return Query(failure, f"{kind} `{class_id}`", image, np.asarray(vector, dtype=np.float32))


def turned(*degrees):
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def members(found):
    return [sorted(p.query.where for p in cluster.probes) for cluster in found]


# --- which clusters there are ----------------------------------------------------------------


def test_alike_failures_of_one_class_and_type_are_one_cluster():
    ways = turned(0, 10, 20, 90, 100)
    found = find_clusters([query(v, image=f"{i}.jpg") for i, v in enumerate(ways)])
    assert members(found) == [["0.jpg", "1.jpg", "2.jpg"], ["3.jpg", "4.jpg"]]
    assert [c.failures for c in found] == [3, 2]
    assert found[0].weight / found[1].weight == pytest.approx((3 / 2) ** 0.5)
    assert found[1].floor == pytest.approx(np.cos(np.deg2rad(10)), abs=1e-6)
    pairs = np.cos(np.deg2rad([10, 20, 10]))
    assert found[0].floor == pytest.approx(np.percentile(pairs, 5), abs=1e-6)


def test_classes_and_types_are_never_mixed_and_a_type_weighs_what_it_costs():
    found = find_clusters(
        [
            query([1, 0], image="a.jpg", price=0.1),
            query([1, 0], image="b.jpg", price=0.1, class_id=1),
            query([1, 0], image="c.jpg", price=0.3, kind=BACKGROUND),
        ]
    )
    assert members(found) == [["c.jpg"], ["a.jpg"], ["b.jpg"]]
    assert [c.weight for c in found] == pytest.approx([0.3, 0.2, 0.2])


def test_a_crowd_in_one_image_counts_once_and_where_nothing_has_a_price_all_types_weigh_alike():
    crowd = [query([1, 0], image="crowd.jpg", x=i, price=0.0) for i in range(20)]
    other = query([1, 0.1], image="z.jpg", class_id=1, price=0.0)
    found = find_clusters([*crowd, other])
    assert [(c.failures, len(c.probes), c.weight) for c in found] == [(20, 1, 1.0), (1, 1, 1.0)]
    assert found[0].floor == clusters.THRESHOLD


def test_the_threshold_is_a_mean_cosine():
    ways = [query(v, image=f"{i}.jpg") for i, v in enumerate(turned(0, 59, 118))]
    assert members(find_clusters(ways)) == [["0.jpg", "1.jpg"], ["2.jpg"]]
    assert len(find_clusters(ways, threshold=0.0)) == 1
    assert len(find_clusters(ways, threshold=0.9)) == 3
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(SettingsError, match="0\\.5"):
            find_clusters(ways, threshold=wrong)
    with pytest.raises(VectorError, match=r"hall\.jpg"):
        find_clusters([*ways, query([np.nan, 0], image="hall.jpg")])
    assert find_clusters([]) == ()


def test_more_vectors_than_are_linked_at_once_join_what_they_look_like(monkeypatch):
    monkeypatch.setattr(clusters, "AT_ONCE", 4)
    ways = turned(0, 1, 120, 121, 2, 122, 240, 241, 3, 242)
    found = find_clusters([query(v, image=f"{i}.jpg") for i, v in enumerate(ways)])
    assert sorted(members(found)) == [
        ["0.jpg", "1.jpg", "4.jpg", "8.jpg"],
        ["2.jpg", "3.jpg", "5.jpg"],
        ["6.jpg", "7.jpg", "9.jpg"],
    ]


def test_products_on_the_grid_do_not_depend_on_the_order_of_the_sum():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 700)) * 10.0 ** rng.integers(-3, 3, (40, 1))
    for on_grid, error in ((fine, 1e-6), (coarse, 2e-3)):
        units = on_grid(vectors)
        whole = units @ units.T
        shuffled = rng.permutation(700)
        np.testing.assert_array_equal(whole, units[:, shuffled] @ units[:, shuffled].T)
        np.testing.assert_array_equal(whole[3, 5], sum((units[3] * units[5])[::-1].tolist()))
        exact = vectors @ vectors.T / np.outer(*[np.linalg.norm(vectors, axis=1)] * 2)
        np.testing.assert_allclose(whole, exact, atol=error)
    assert not fine(np.zeros((1, 3))).any()


# --- which images they get -------------------------------------------------------------------


def test_reason_and_details():
    ways = turned(0, 2)
    asked = [query(ways[0], image="kitchen/0042.jpg", x=i) for i in range(11)]
    asked.append(query(ways[1], image="kitchen/0043.jpg"))
    found = rank_clusters(find_clusters(asked), turned(150, 34, 0), want=3)
    assert found.positions.tolist() == [2, 1, 0]
    reason, details = found.explain(1)
    assert reason == (
        "targeted: 2 of 3 for missed `0` (cluster of 12 failures in 2 images, e.g. val image "
        "kitchen/0043.jpg), cosine 0.85, below the 1.00 that belongs to the cluster"
    )
    assert details == {
        "failure_sample_id": "id of kitchen/0043.jpg",
        "failure_type": "missed",
        "class_id": 0,
        "failures": 12,
        "cluster": 0,
        "clusters": 1,
        "cluster_images": 2,
        "cluster_pick": 2,
        "cluster_quota": 3,
        "cosine": pytest.approx(np.cos(np.deg2rad(32)), abs=1e-6),
        "floor": pytest.approx(np.cos(np.deg2rad(2)), abs=1e-6),
        "below_floor": True,
    }


def test_variety_passes_over_the_twin_of_a_pick():
    pool = np.array([[1, 0.5, 0], [1, 0.51, 0], [1, 0, 0.55]], dtype=np.float32)
    found = find_clusters([query([1, 0, 0])])
    assert rank_clusters(found, pool, want=2).positions.tolist() == [0, 2]
    assert rank_clusters(found, pool, want=2, variety=0.0).positions.tolist() == [0, 1]


def one_of_each(weights, floor=0.0):
    """Clusters along the axes, all of one vector, of these weights."""
    axes = np.eye(len(weights), dtype=np.float32)
    found = find_clusters([query(v, image=f"{i}.jpg", class_id=i) for i, v in enumerate(axes)])
    return [replace(c, weight=w, floor=floor) for c, w in zip(found, weights, strict=True)]


def around(*axes, d):
    """A pool with images along the axes, each a little farther than the one before it."""
    rows = np.zeros((len(axes), d), dtype=np.float32)
    for row, axis in enumerate(axes):
        rows[row, axis], rows[row, (axis + 1) % d] = 1.0, 0.001 * row
    return rows


def test_every_cluster_has_one_before_any_has_two_and_the_heaviest_comes_first():
    found = rank_clusters(one_of_each([9.0, 4.0, 1.0]), around(*[0, 1, 2] * 9, d=3), want=14)
    assert found.owners.tolist()[:3] == [0, 1, 2]
    assert Counter(found.owners.tolist()) == {0: 9, 1: 4, 2: 1}
    assert rank_clusters(one_of_each([9.0, 4.0, 1.0]), around(*[2, 1], d=3), want=1).owners == [0]


def test_of_four_clusters_none_gets_more_than_a_quarter_of_any_beginning():
    pool = around(*[0, 1, 2, 3] * 20, d=4)
    found = rank_clusters(one_of_each([1e6, 1.0, 1.0, 1.0]), pool, want=41)
    for size in range(1, 42):
        assert max(Counter(found.owners[:size].tolist()).values()) <= -(-size // 4)


def test_what_a_cluster_cannot_spend_flows_on_first_within_a_quarter():
    pool = around(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 4, 4, d=5)
    weights = [5.0, 4.0, 3.0, 2.0, 1.0]
    found = rank_clusters(one_of_each(weights, floor=0.5), pool, want=16)
    assert sorted(found.positions.tolist()) == list(range(16))
    below = [found.explain(i)[1]["below_floor"] for i in range(16)]
    # Eight images can go above the floors and within the quarters; six of axis 0 are over them.
    assert Counter(found.owners[:6].tolist())[0] == 2
    assert sum(below) > 0
    assert Counter(found.owners[:12].tolist())[0] <= 3


def test_images_below_their_floor_come_last_but_for_the_first_of_each_cluster():
    pool = np.array([[1, 0], [1, 0.1], [1, 0.2], [0.3, -1], [0.2, -1]], dtype=np.float32)
    found = rank_clusters(one_of_each([1.0, 1.0], floor=0.9), pool, want=5)
    assert found.owners.tolist()[:2] == [0, 1]
    assert found.positions.tolist()[:3] == [0, 2, 1]
    assert [found.explain(i)[1]["below_floor"] for i in range(5)] == [
        False,
        True,
        False,
        True,
        True,
    ]


def test_clusters_that_share_all_their_images_do_not_run_dry():
    asked = [query([1, 0], image="a.jpg", class_id=i) for i in range(12)]
    rng = np.random.default_rng(0)
    pool = np.stack([np.ones(300), rng.random(300)], axis=1).astype(np.float32)
    found = rank_clusters(find_clusters(asked), pool, want=300)
    assert sorted(found.positions.tolist()) == list(range(300))
    assert set(Counter(found.owners.tolist()).values()) == {25}


@pytest.mark.parametrize("want", [0, 3])
def test_nothing_to_rank(want):
    found = find_clusters([query([1, 0])])
    taken = np.ones(2, dtype=bool)
    assert len(rank_clusters(found, turned(0, 1), want=want, taken=taken).positions) == 0
    assert len(rank_clusters((), turned(0, 1), want=want).positions) == 0


# --- as it is defined ------------------------------------------------------------------------


def plain(found, pool, want, taken):
    """The rule written out with all cosines at hand."""
    units = coarse(pool).astype(float)
    near = []
    for cluster in found:
        rows = np.stack([p.query.vector for p in cluster.probes]).astype(float)
        products = np.stack([(rows * p).sum(axis=1) for p in pool.astype(float)], axis=1)
        lengths = np.outer(
            np.sqrt((rows * rows).sum(axis=1)), np.sqrt((pool.astype(float) ** 2).sum(axis=1))
        )
        cosines = np.where(lengths > 0, products / np.where(lengths > 0, lengths, 1), 0)
        near.append(np.clip(cosines, -1, 1).astype(np.float32).max(axis=0))
    free = {i for i in range(len(pool)) if not taken[i]}
    mine = [[] for _ in found]
    answer = []

    def candidates(k, floored):
        got = len(mine[k])
        window = sorted(free, key=lambda r: (-near[k][r], r))[: min(32 + 3 * got, 1024)]
        floor = found[k].floor if floored and got else -2
        return [r for r in window if near[k][r] >= floor]

    while len(answer) < want and free:
        cap = -(-(len(answer) + 1) // 4) if len(found) >= 4 else len(pool)
        for capped, floored in ((True, True), (True, False), (False, True), (False, False)):
            may = [
                k
                for k in range(len(found))
                if (not capped or len(mine[k]) < cap) and candidates(k, floored)
            ]
            if may:
                break

        def claim(k):
            n = len(mine[k])
            return found[k].weight / np.sqrt(n * (n + 1)) if n else np.inf

        k = max(may, key=lambda k: (claim(k), -k))

        def gain(r, k=k):
            alike = max([0.0] + [float(np.float32(units[r] @ units[p])) for p in mine[k]])
            return float(near[k][r]) - 0.3 * alike

        row = max(candidates(k, floored), key=lambda r: (gain(r), near[k][r], -r))
        free.discard(row)
        mine[k].append(row)
        answer.append((row, k))
    return answer


@st.composite
def searches(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, d, q = draw(st.integers(1, 60)), draw(st.integers(1, 4)), draw(st.integers(1, 12))
    pool = rng.integers(-2, 3, size=(n, d)).astype(np.float32)
    asked = [
        query(
            v,
            image=f"{i}.jpg",
            class_id=int(rng.integers(3)),
            kind=[MISSED, BACKGROUND][int(rng.integers(2))],
            price=float(rng.integers(3)),
        )
        for i, v in enumerate(rng.integers(-2, 3, size=(q, d)))
    ]
    return asked, pool, rng.random(n) < 0.3, draw(st.integers(0, 70))


@settings(max_examples=50, deadline=None)
@given(searches(), st.integers(1, 9), st.randoms(use_true_random=False))
def test_equal_to_the_rule_as_defined_whatever_the_order_and_the_search(search, entries, shuffler):
    asked, pool, taken, want = search
    found = find_clusters(asked)
    ranked = rank_clusters(found, pool, want=want, taken=taken)
    got = list(zip(ranked.positions.tolist(), ranked.owners.tolist(), strict=True))
    assert got == plain(found, pool, want, taken)
    assert len(got) == min(want, int((~taken).sum()))
    shuffled = list(asked)
    shuffler.shuffle(shuffled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("annoloop.core.cluster_reach.ENTRIES", entries)
        patch.setattr("annoloop.core.cluster_reach.SPARE", 1)
        again = rank_clusters(find_clusters(shuffled), pool, want=want, taken=taken)
    reasons = [ranked.explain(i) for i in range(len(got))]
    assert [again.explain(i) for i in range(len(got))] == reasons
    assert again.positions.tolist() == ranked.positions.tolist()
    half = rank_clusters(found, pool, want=want // 2, taken=taken)
    assert half.positions.tolist() == ranked.positions[: len(half.positions)].tolist()


def test_a_list_that_was_too_short_is_drawn_up_again(monkeypatch):
    rng = np.random.default_rng(3)
    pool = rng.normal(size=(400, 6)).astype(np.float32)
    asked = [query(v, image=f"{i}.jpg") for i, v in enumerate(rng.normal(size=(8, 6)))]
    whole = rank_clusters(find_clusters(asked), pool, want=120)
    monkeypatch.setattr(cluster_picks, "_room", lambda picks: np.ones_like(picks))
    again = rank_clusters(find_clusters(asked), pool, want=120)
    np.testing.assert_array_equal(whole.positions, again.positions)
    np.testing.assert_array_equal(whole.members, again.members)


# --- dominance -------------------------------------------------------------------------------


def crowded(seed, *, rare, d=32):
    """70 of 100 failures in one mode, the rest spread over `rare`; a pool with all modes in it."""
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.normal(size=(d, d)))[0][: rare + 11]

    def near(mode, count):
        return centres[mode] + rng.normal(scale=0.5 / d**0.5, size=(count, d))

    spread = np.bincount(np.arange(30) % rare, minlength=rare)
    asked = [
        query(v, image=f"{mode}/{i}.jpg", price=0.01)
        for mode, count in enumerate([70, *spread])
        for i, v in enumerate(near(mode, count))
    ]
    # Modes 0 … rare are failures; the other ten are what the model already knows.
    modes = np.repeat(np.arange(rare + 11), [600, *[60] * rare, *[200] * 10])
    pool = np.concatenate([near(mode, 1) for mode in modes]).astype(np.float32)
    return asked, pool, modes


@pytest.mark.parametrize("rare", [4, 6, 9])
@pytest.mark.parametrize("want", [40, 140])
def test_the_largest_mode_does_not_dominate(rare, want):
    worst = {"clusters": 0.0, "neighbours": 0.0}
    for seed in range(3):
        asked, pool, modes = crowded(seed, rare=rare)
        found = find_clusters(asked)
        assert sorted(len(c.probes) for c in found) == sorted(
            [70, *np.bincount(np.arange(30) % rare)]
        )
        picks = modes[rank_clusters(found, pool, want=want).positions]
        assert len(picks) == want
        shares = np.array([c.weight for c in found])
        quotas = np.floor(want * shares / shares.sum())
        by_mode = [int(found[k].probes[0].query.where.split("/")[0]) for k in range(len(found))]
        counts = np.bincount(picks, minlength=rare + 11)
        for mode, quota in zip(by_mode, quotas, strict=True):
            if mode:
                assert counts[mode] >= max(1, quota)
        assert counts[: rare + 1].sum() == want  # nothing is spent on what the model knows
        worst["clusters"] = max(worst["clusters"], counts[0] / want)
        ranked = modes[rank_neighbours(asked, pool, want=want).positions]
        worst["neighbours"] = max(worst["neighbours"], float((ranked == 0).mean()))
    assert worst["clusters"] <= 0.4
    assert worst["neighbours"] >= worst["clusters"] + 0.1, worst


def test_blocks_of_rows_and_picks_do_not_change_what_is_picked(monkeypatch):
    asked, pool, _ = crowded(5, rare=4)
    found = find_clusters(asked)
    wanted = rank_clusters(found, pool, want=400)
    monkeypatch.setattr(cluster_picks, "TOGETHER", 7)
    monkeypatch.setattr(cluster_picks, "WINDOW", 3)
    small = rank_clusters(found, pool, want=400)
    monkeypatch.setattr(cluster_picks, "TOGETHER", 4_096)
    np.testing.assert_array_equal(rank_clusters(found, pool, want=400).positions, small.positions)
    monkeypatch.undo()
    monkeypatch.setattr(cluster_picks, "TOGETHER", 7)
    again = rank_clusters(found, pool, want=400)
    np.testing.assert_array_equal(again.positions, wanted.positions)
    np.testing.assert_array_equal(again.owners, wanted.owners)
