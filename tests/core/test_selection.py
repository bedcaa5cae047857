"""The mix: exact size, no overlap, whole groups, exact shares, same seed same batch, reasons."""

from collections import Counter
from dataclasses import asdict, replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from annoloop.core import selection
from annoloop.core.draft import Scenes
from annoloop.core.patches import Patches
from annoloop.core.selection import Candidates, Evidence, Query, Ranking, select
from annoloop.errors import InputError, SettingsError, VectorError
from annoloop.records import Failure, FailureType, Shortfall

MIX = {"coverage": 0.3, "targeted": 0.7}
NO_PAIRS = np.empty((0, 2), dtype=np.int64)


def query(vector, *, image="v.jpg", price=0.1):
    failure = Failure(f"id of {image}", FailureType.MISSED, 0, (0, 0, 1, 1), price=price)
    return Query(failure, "missed `cup`", image, np.asarray(vector, dtype=np.float32))


def pool(n, *, seed=0, groups=None, pairs=NO_PAIRS, vectors=True, coverage=True):
    rng = np.random.default_rng(seed)
    return Candidates(
        tuple(f"s{i:06}" for i in range(n)),
        rng.normal(size=(n, 3)).astype(np.float32) if vectors else None,
        rng.random(n) if coverage else None,
        None if groups is None else np.asarray(groups),
        np.asarray(pairs, dtype=np.int64).reshape(-1, 2),
    )


def evidence(count=3, *, seed=1, pending=()):
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    return Evidence(tuple(query(v, image=f"{i}.jpg") for i, v in enumerate(vectors)), pending)


def draw(candidates, known=None, *, size, mix=MIX, seed=0, **more):
    known = evidence() if known is None else known
    return select(candidates, known, size=size, mix=mix, rng=np.random.default_rng(seed), **more)


def by_source(chosen):
    counts = {}
    for pick in chosen.picks:
        counts[pick.source] = counts.get(pick.source, 0) + 1
    return counts


def ids_of(chosen):
    return [pick.sample_id for pick in chosen.picks]


# --- the mix ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "expected"), [(1, 0), (3, 0), (4, 1), (10, 3), (49, 14), (90, 27)]
)
def test_coverage_has_the_floor_of_its_share_and_targeted_the_rest(size, expected):
    chosen = draw(pool(100), size=size)
    assert chosen.quotas == {"coverage": expected, "targeted": size - expected}
    assert by_source(chosen).get("coverage", 0) == expected
    assert len(chosen.picks) == chosen.asked == size
    assert chosen.shortfalls == ()


def test_coverage_comes_first_then_the_mix_in_its_order_and_the_last_has_the_rest():
    chosen = draw(pool(50), size=11, mix={"random": 0.25, "targeted": 0.4, "coverage": 0.35})
    assert chosen.quotas == {"coverage": 3, "random": 2, "targeted": 6}
    assert [p.source for p in chosen.picks] == ["coverage"] * 3 + ["random"] * 2 + ["targeted"] * 6
    assert [p.rank for p in chosen.picks] == [1, 2, 3, 1, 2, 1, 2, 3, 4, 5, 6]


def test_a_source_without_a_share_never_gets_the_rest():
    chosen = draw(pool(50), size=7, mix={"coverage": 0.3, "targeted": 0.7, "random": 0.0})
    assert chosen.quotas == {"coverage": 2, "targeted": 5}


def test_reasons_scores_and_details_of_all_sources():
    candidates = Candidates(
        ("a", "b", "c", "d"),
        np.array([[1, 0], [0, 1], [1, 1], [-1, 0]], dtype=np.float32),
        np.array([0.25, 0.9124, 0.9124, 0.5]),
    )
    known = Evidence((query([1, 0], image="kitchen/0042.jpg"),))
    mix = {"coverage": 0.25, "targeted": 0.5, "random": 0.25}
    picks = draw(candidates, known, size=4, mix=mix).picks
    assert [(p.sample_id, p.score, p.reason) for p in picks] == [
        ("b", 0.9124, "coverage score 0.912, rank 1 of 4 unlabeled"),
        (
            "a",
            1.0,
            "targeted: 1 of 2 for missed `cup` (cluster of 1 failure, "
            "e.g. val image kitchen/0042.jpg), cosine 1.00",
        ),
        (
            "c",
            pytest.approx(0.5**0.5),
            "targeted: 2 of 2 for missed `cup` (cluster of 1 failure, "
            "e.g. val image kitchen/0042.jpg), cosine 0.71",
        ),
        ("d", 0.0, "random pick"),
    ]
    assert picks[0].details == {"pool_rank": 1, "candidates": 4}
    assert picks[1].details["failure_sample_id"] == "id of kitchen/0042.jpg"


def test_ranked_neighbours_are_a_strategy_of_their_own():
    known = {**selection.BUILT_IN, "neighbours": selection.neighbours}
    chosen = draw(pool(40), size=10, mix={"coverage": 0.3, "neighbours": 0.7}, strategies=known)
    assert by_source(chosen) == {"coverage": 3, "neighbours": 7}
    assert chosen.picks[3].reason.startswith("neighbour 1 of missed `cup` in val image ")


def test_a_quota_in_a_reason_is_that_of_the_batch_although_near_duplicates_cost_a_second_look():
    candidates = pool(60, pairs=[(i, i + 1) for i in range(0, 40, 2)])
    chosen = draw(candidates, evidence(1), size=12, mix={"targeted": 1.0})
    assert by_source(chosen) == {"targeted": 12}
    assert chosen.picks[0].reason.startswith("targeted: 1 of 12 for missed `cup`")


# --- what is missing -------------------------------------------------------------------------


def test_without_failures_coverage_takes_all_and_it_is_said():
    chosen = draw(pool(20), Evidence(), size=10)
    why = "there are no failures to look for"
    assert by_source(chosen) == {"coverage": 10}
    assert chosen.quotas == {"coverage": 3, "targeted": 7}
    assert chosen.shortfalls == (Shortfall("targeted", 7, 0, "coverage", why),)
    assert chosen.notes == (f"coverage only: {why}",)
    assert [p.rank for p in chosen.picks] == list(range(1, 11))


def test_without_vectors_but_with_scores_coverage_takes_all_and_it_is_said():
    chosen = draw(pool(20, vectors=False), size=10)
    assert by_source(chosen) == {"coverage": 10}
    assert chosen.notes == ("coverage only: no vectors are stored (`annoloop embed` makes them)",)


def test_without_scores_targeted_takes_over():
    chosen = draw(pool(20, coverage=False), size=10)
    assert by_source(chosen) == {"targeted": 10}
    assert chosen.shortfalls[0].source == "coverage"
    assert chosen.shortfalls[0].refilled_by == "targeted"
    assert "annoloop score" in chosen.shortfalls[0].why


def test_neither_vectors_nor_scores_is_an_error_that_names_the_command():
    with pytest.raises(VectorError, match="annoloop embed"):
        draw(pool(5, vectors=False, coverage=False), size=2)
    with pytest.raises(VectorError, match="annoloop score"):
        draw(pool(5, coverage=False), Evidence(), size=2)
    chosen = draw(pool(5, vectors=False, coverage=False), size=2, mix={"random": 1.0})
    assert by_source(chosen) == {"random": 2}


def few(candidates, evidence, *, want, taken, rng):
    """A plugin's strategy that knows two samples."""
    rows = np.flatnonzero(~taken[:2])
    return Ranking(rows, np.ones(len(rows)), lambda i: ("known to a plugin", {"i": i}))


def test_a_short_plugin_is_refilled_by_targeted_then_coverage_and_each_is_reported():
    strategies = {"few": few, **selection.BUILT_IN}
    chosen = draw(pool(20), size=10, mix={"few": 1.0}, strategies=strategies)
    assert by_source(chosen) == {"few": 2, "targeted": 8}
    assert chosen.shortfalls == (
        Shortfall("few", 10, 2, "targeted", "it ranks no other candidates"),
    )
    chosen = draw(
        pool(20), Evidence(), size=10, mix={"few": 0.5, "random": 0.5}, strategies=strategies
    )
    assert by_source(chosen) == {"few": 2, "coverage": 3, "random": 5}
    assert chosen.shortfalls[0].refilled_by == "coverage"


def test_a_broken_plugin_is_named():
    def lost(candidates, evidence, *, want, taken, rng):
        return Ranking(np.array([99]), np.ones(1), lambda _: ("", {}))

    with pytest.raises(SettingsError, match="'lost'"):
        draw(pool(5), size=2, mix={"lost": 1.0}, strategies={"lost": lost})


def test_a_plugin_that_repeats_itself_cannot_break_a_batch():
    def stubborn(candidates, evidence, *, want, taken, rng):
        return Ranking(np.zeros(want, dtype=np.int64), np.ones(want), lambda _: ("me", {}))

    chosen = draw(pool(9), size=5, mix={"stubborn": 1.0}, strategies={"stubborn": stubborn})
    assert by_source(chosen) == {"stubborn": 1, "targeted": 4}


# --- settings that cannot be -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("mix", "match"),
    [
        ({"coverage": 0.3, "targeted": 0.6}, "sum to 0.9"),
        ({"coverage": 1.2, "targeted": -0.2}, "share of -0.2"),
        ({"coverage": float("nan")}, "share of nan"),
        ({}, "sum to 0"),
        ({"coverge": 1.0}, "Did you mean 'coverage'"),
        ({"zzz": 1.0}, "Known: coverage, .*targeted"),
    ],
)
def test_a_mix_that_cannot_be(mix, match):
    with pytest.raises(SettingsError, match=match):
        draw(pool(5), size=2, mix=mix)


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_that_cannot_be(size):
    with pytest.raises(SettingsError, match="at least one"):
        draw(pool(5), size=size)


def test_a_size_above_the_pool_takes_all_of_it_and_says_so():
    chosen = draw(pool(5), size=8)
    assert sorted(ids_of(chosen)) == list(pool(5).ids)
    assert (chosen.asked, chosen.notes[0]) == (8, "8 images were asked, 5 are left")
    assert chosen.quotas == {"coverage": 1, "targeted": 4}
    assert draw(pool(0), size=3).picks == ()


def test_candidates_that_do_not_fit_together():
    with pytest.raises(VectorError, match="3 samples have 2 vectors"):
        Candidates(("a", "b", "c"), np.ones((2, 2), dtype=np.float32))
    with pytest.raises(VectorError, match="annoloop score"):
        Candidates(("a", "b", "c"), coverage=np.ones(2))
    with pytest.raises(InputError, match="groups"):
        Candidates(("a", "b"), groups=np.zeros(3, dtype=np.int64))
    with pytest.raises(InputError, match="pairs"):
        Candidates(("a", "b"), near_duplicates=np.array([[0, 2]]))
    with pytest.raises(InputError, match="twice"):
        draw(Candidates(("a", "b", "a"), coverage=np.ones(3)), size=1)
    with pytest.raises(VectorError, match="score of b is not finite"):
        draw(Candidates(("a", "b"), coverage=np.array([1.0, np.nan])), size=1)


def test_a_broken_vector_is_named_by_its_sample_whatever_the_row_order():
    vectors = np.ones((3, 3), dtype=np.float32)
    vectors[0] = np.nan
    with pytest.raises(VectorError, match="sample-c"):
        draw(Candidates(("sample-c", "sample-a", "sample-b"), vectors, np.ones(3)), size=2)


# --- pending ---------------------------------------------------------------------------------


def test_pending_samples_come_first_and_on_the_size():
    chosen = draw(pool(30), evidence(pending=("s000020", "s000007")), size=12)
    assert ids_of(chosen)[:2] == ["s000007", "s000020"]
    assert [p.source for p in chosen.picks[:3]] == ["pending", "pending", "coverage"]
    assert chosen.quotas == {"pending": 2, "coverage": 3, "targeted": 7}
    assert len(set(ids_of(chosen))) == 12


def test_pending_samples_that_do_not_fit_wait():
    chosen = draw(pool(9), evidence(pending=("s000003", "s000001", "s000002")), size=2)
    assert ids_of(chosen) == ["s000001", "s000002"]
    assert chosen.notes == ("1 pending images wait for a later batch: this one is full",)
    with pytest.raises(InputError, match="nobody"):
        draw(pool(9), evidence(pending=("nobody",)), size=2)


# --- groups ----------------------------------------------------------------------------------


def test_a_group_comes_whole_with_the_row_that_brought_it():
    candidates = pool(6, groups=[0, 1, 0, 1, 2, 2])
    candidates.coverage[:] = [0.1, 0.2, 0.9, 0.3, 0.5, 0.4]
    chosen = draw(candidates, size=4, mix={"coverage": 1.0})
    assert [(p.sample_id, p.rank, p.score) for p in chosen.picks] == [
        ("s000002", 1, 0.9),
        ("s000000", 1, 0.9),
        ("s000004", 2, 0.5),
        ("s000005", 2, 0.5),
    ]
    assert chosen.picks[1].reason == "same group as s000002"
    assert chosen.picks[1].details == {"brought_by": "s000002"}


def test_the_best_group_is_passed_over_where_it_would_block_a_fuller_batch():
    candidates = pool(10, groups=[0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    candidates.coverage[:] = np.linspace(1, 0, 10)
    chosen = draw(candidates, size=6, mix={"coverage": 1.0})
    assert sorted(ids_of(chosen)) == [f"s{i:06}" for i in range(4, 10)]
    assert chosen.notes == ()


def test_a_batch_that_groups_leave_short_says_so():
    chosen = draw(pool(6, groups=[0, 0, 0, 1, 1, 1]), size=5, mix={"coverage": 1.0})
    assert len(chosen.picks) == 3
    assert chosen.notes == ("groups stay whole: the batch has 3 of 5 images",)
    chosen = draw(pool(6, groups=[0] * 6), size=5)
    assert chosen.picks == ()
    assert chosen.notes == ("groups stay whole: the batch has 0 of 5 images",)


def test_a_source_may_overshoot_its_share_by_less_than_it_would_fall_short():
    candidates = pool(60, groups=np.repeat(np.arange(6), 10))
    chosen = draw(candidates, size=40)  # shares 12 and 28
    assert by_source(chosen) == {"coverage": 10, "targeted": 30}
    assert "groups stay whole: coverage has 10 picks, its share 12" in chosen.notes
    assert by_source(draw(candidates, size=60)) == {"coverage": 20, "targeted": 40}
    assert by_source(draw(candidates, size=10)) == {"targeted": 10}


# --- near-duplicates -------------------------------------------------------------------------


def test_near_duplicates_do_not_share_a_batch():
    candidates = pool(6, pairs=[(0, 1), (0, 2)])
    candidates.coverage[:] = [1.0, 0.9, 0.8, 0.3, 0.2, 0.1]
    chosen = draw(candidates, size=4, mix={"coverage": 1.0})
    assert ids_of(chosen) == ["s000000", "s000003", "s000004", "s000005"]
    assert chosen.shortfalls == chosen.notes == ()


def test_near_duplicates_come_in_last_where_nothing_else_is_left():
    candidates = pool(5, pairs=[(0, 1), (0, 2)])
    candidates.coverage[:] = [1.0, 0.9, 0.8, 0.3, 0.2]
    chosen = draw(candidates, size=4, mix={"coverage": 1.0})
    assert ids_of(chosen) == ["s000000", "s000003", "s000004", "s000001"]
    assert chosen.picks[3].reason == (
        "coverage score 0.900, rank 2 of 5 unlabeled; "
        "a near-duplicate of s000000, let in because nothing else was left"
    )
    assert chosen.shortfalls == ()
    assert chosen.notes == ("1 near-duplicates of picks came in: nothing else was left",)


def test_few_picks_of_one_scene_while_others_have_any():
    scenes = Scenes(np.repeat([0, 1, 2], [20, 3, 1]), cap=2)
    candidates = replace(pool(24), scenes=scenes)
    chosen = draw(candidates, size=5)
    assert sorted(Counter(scenes.numbers[[int(i[1:]) for i in ids_of(chosen)]]).values()) == [
        1,
        2,
        2,
    ]
    assert not any("scenes" in note for note in chosen.notes)
    fuller = draw(candidates, size=8)
    assert len(fuller.picks) == 8
    assert "3 images of scenes that are full came in: nothing else was left" in fuller.notes
    late = [p.reason for p in fuller.picks if "let in because nothing else was left" in p.reason]
    assert len(late) == 3
    assert all("its scene has 2 picks already" in reason for reason in late)


def test_groups_stay_whole_where_a_scene_is_full():
    scenes = Scenes(np.zeros(6, dtype=np.int64), cap=2)
    candidates = replace(pool(6, groups=[0, 0, 0, 1, 2, 3]), scenes=scenes)
    chosen = draw(candidates, size=4)
    assert len(chosen.picks) == 4
    with pytest.raises(InputError, match="scene"):
        replace(pool(5), scenes=scenes)


def test_near_duplicates_of_pending_samples_stay_out():
    candidates = pool(6, pairs=[(2, 4)])
    candidates.coverage[:] = [0.1, 0.2, 0.3, 0.4, 0.9, 0.5]
    chosen = draw(candidates, evidence(pending=("s000002",)), size=2, mix={"coverage": 1.0})
    assert ids_of(chosen) == ["s000002", "s000005"]


def test_near_duplicates_within_a_group_do_not_tear_it():
    chosen = draw(pool(4, groups=[0, 0, 1, 1], pairs=[(0, 1), (2, 3)]), size=4)
    assert len(chosen.picks) == 4
    assert all("near-duplicate" not in p.reason for p in chosen.picks)


# --- whatever the pool -----------------------------------------------------------------------


@st.composite
def problems(draw):
    n = draw(st.integers(1, 16))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    groups = None
    if draw(st.booleans()):
        groups = rng.integers(0, draw(st.integers(1, n)), n)
    pairs = rng.integers(0, n, (draw(st.integers(0, n)), 2))
    scenes = patches = None
    if draw(st.booleans()):
        scenes = Scenes(rng.integers(0, draw(st.integers(1, n)), n), draw(st.integers(1, 3)))
    if draw(st.booleans()):
        owners = np.concatenate([np.arange(n), rng.integers(0, n, draw(st.integers(0, 2 * n)))])
        vectors = rng.integers(-2, 3, (len(owners), 2)).astype(np.float32)
        patches = Patches(vectors, owners, rng.random((len(owners), 4)))
    candidates = Candidates(
        tuple(f"s{i:02}" for i in range(n)),
        rng.integers(-2, 3, (n, 2)).astype(np.float32),
        rng.integers(0, 4, n) / 4,
        groups,
        pairs[pairs[:, 0] != pairs[:, 1]],
        patches=patches,
        scenes=scenes,
    )
    queries = tuple(
        query(rng.integers(-2, 3, 2), image=f"{i}.jpg", price=float(rng.integers(3)))
        for i in range(draw(st.integers(0, 4)))
    )
    pending = ()
    if draw(st.booleans()):
        pending = tuple(candidates.ids[i] for i in rng.permutation(n)[: draw(st.integers(0, 3))])
    share = draw(st.integers(0, 10)) / 10
    mix = draw(
        st.sampled_from(
            [
                {"coverage": share, "targeted": 1 - share},
                {"targeted": 1 - share, "random": share},
                {"random": 0.2, "targeted": 0.5, "coverage": 0.3},
            ]
        )
    )
    return candidates, Evidence(queries, pending), draw(st.integers(1, 20)), mix


def fullest(sizes, room):
    totals = {sum(c) for r in range(len(sizes) + 1) for c in combinations(sizes, r)}
    return max(total for total in totals if total <= room)


@settings(max_examples=80, deadline=None)
@given(problems(), st.integers(0, 9))
def test_size_overlap_groups_and_ranks(problem, seed):
    candidates, known, size, mix = problem
    chosen = draw(candidates, known, size=size, mix=mix, seed=seed)
    picked = ids_of(chosen)
    assert len(set(picked)) == len(picked)
    assert set(picked) <= set(candidates.ids)
    if candidates.groups is None:
        assert len(picked) == min(size, len(candidates.ids))
    else:
        inside = np.isin(candidates.ids, picked)
        sizes = []
        for number in np.unique(candidates.groups):
            members = inside[candidates.groups == number]
            assert members.all() or not members.any()
            sizes.append(len(members))
        if not known.pending:
            assert len(picked) == fullest(sizes, size)
        assert len(picked) <= size
    for source in by_source(chosen):
        ranks = [p.rank for p in chosen.picks if p.source == source]
        assert sorted(set(ranks)) == list(range(1, max(ranks) + 1))
        assert ranks == sorted(ranks)
    assert all(np.isfinite(p.score) and p.reason for p in chosen.picks)
    assert sum(chosen.quotas.values()) == len(picked)


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(0, 9))
def test_shares_are_exact_where_nothing_stands_in_the_way(problem, seed):
    candidates, known, size, mix = problem
    assume(known.queries and not known.pending)
    candidates = Candidates(candidates.ids, candidates.vectors, candidates.coverage)
    chosen = draw(candidates, known, size=size, mix=mix, seed=seed)
    assert by_source(chosen) == {source: n for source, n in chosen.quotas.items() if n}
    assert chosen.shortfalls == ()
    if "coverage" in mix and mix["coverage"] < 1:
        count = min(size, len(candidates.ids))
        assert chosen.quotas.get("coverage", 0) == int(round(mix["coverage"] * 10) * count) // 10


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(0, 9), st.randoms(use_true_random=False))
def test_same_seed_same_batch_whatever_the_order_of_the_rows(problem, seed, shuffler):
    candidates, known, size, mix = problem
    chosen = draw(candidates, known, size=size, mix=mix, seed=seed)
    order = list(range(len(candidates.ids)))
    shuffler.shuffle(order)
    place = np.argsort(order)
    shuffled = Candidates(
        tuple(candidates.ids[i] for i in order),
        candidates.vectors[order],
        candidates.coverage[order],
        None if candidates.groups is None else 100 - candidates.groups[order],
        place[candidates.near_duplicates][:, ::-1],
        patches=candidates.patches
        and replace(candidates.patches, owners=place[candidates.patches.owners]),
        scenes=candidates.scenes
        and replace(candidates.scenes, numbers=candidates.scenes.numbers[order]),
    )
    again = draw(
        shuffled, Evidence(known.queries[::-1], known.pending[::-1]), size=size, mix=mix, seed=seed
    )
    assert asdict(again) == asdict(chosen)


@settings(max_examples=60, deadline=None)
@given(problems())
def test_what_is_held_back_stays_out_unless_nothing_else_is_left(problem):
    candidates, known, size, mix = problem
    assume(candidates.groups is None and not known.pending)
    picked = set(ids_of(draw(candidates, known, size=size, mix=mix)))
    names = [{candidates.ids[a], candidates.ids[b]} for a, b in candidates.near_duplicates]
    held = set().union(*(pair for pair in names if pair & picked))
    broken = any(pair <= picked for pair in names)
    if candidates.scenes is not None:
        numbers, cap = candidates.scenes.numbers, candidates.scenes.cap
        inside = np.bincount(numbers[np.isin(candidates.ids, list(picked))], minlength=len(numbers))
        held |= {
            key for key, scene in zip(candidates.ids, numbers, strict=True) if inside[scene] >= cap
        }
        broken |= bool((inside > cap).any())
    if broken:
        assert set(candidates.ids) - picked <= held
