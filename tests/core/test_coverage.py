"""ZCore against its plain definition, which is written out here once more."""

from __future__ import annotations

import subprocess
import sys

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.coverage import Draws, default_draws, make_draws, scale, zcore
from annoloop.errors import SettingsError, VectorError


def plain(embeddings, draws, *, n_neighbours=1000, occupied=None, conditional=False):
    """The definition: every distance, a full stable sort for every draw."""
    x = embeddings.astype(np.float64)
    scores = np.zeros(len(x))
    taken = np.zeros(len(x), bool) if occupied is None else occupied
    for dims, point in zip(draws.dims, draws.points.astype(np.float64), strict=True):
        plane = x[:, dims]
        row = int(np.argmin(np.abs(plane - point).sum(axis=1)))
        scores[row] += not taken[row]
        distances = np.abs(plane - plane[row]).sum(axis=1)
        nearest = np.argsort(distances, kind="stable")
        nearest = nearest[nearest != row][:n_neighbours]
        if not len(nearest):
            continue
        weights = np.zeros(len(x))
        if distances[nearest[0]] == 0:
            weights[nearest[0]] = 1
        else:
            weights[nearest] = (distances[nearest] / distances[nearest[0]]) ** -4.0
            weights /= weights.sum()
        scores -= weights
        if conditional and not taken[row]:
            scores[row] -= weights[taken].sum()
    return scores


def vectors(seed, n, d, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


def agree(embeddings, draws, **options):
    np.testing.assert_allclose(
        zcore(embeddings, draws, **options), plain(embeddings, draws, **options), rtol=0, atol=1e-9
    )


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 90),
    d=st.integers(1, 5),
    n_neighbours=st.integers(1, 12) | st.integers(1, 100),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    decimals=st.sampled_from([None, 1, 0]),
    constant=st.booleans(),
    occupied=st.sampled_from([None, 0.1, 0.6, 1.0]),
    conditional=st.booleans(),
)
def test_equals_the_plain_definition(
    seed, n, d, n_neighbours, dtype, decimals, constant, occupied, conditional
):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    if decimals is not None:  # ties, and with few numbers twins
        x = x.round(decimals)
    if constant:
        x[:, 0] = 0.25
    x = x.astype(dtype)
    mask = None if occupied is None else rng.random(n) < occupied
    draws = make_draws(x, 25, rng=rng)
    agree(x, draws, n_neighbours=n_neighbours, occupied=mask, conditional=conditional)


def steps(rng):
    return rng.integers(0, 40, (5000, 6)).astype(np.float32)


def small_steps(rng):  # hardly any twins, yet ties in distance everywhere
    return rng.integers(0, 250, (5000, 3)).astype(np.float32)


def clusters(rng):
    centres = rng.normal(size=(8, 6)) * 10
    return (centres[rng.integers(0, 8, 5000)] + rng.normal(size=(5000, 6))).astype(np.float32)


def outliers(rng):
    return rng.standard_cauchy((5000, 6)).astype(np.float32)


def mostly_zero(rng):
    return np.maximum(rng.normal(size=(5000, 6)) - 0.5, 0).astype(np.float32)


def ordered(rng):
    return np.sort(rng.normal(size=(5000, 6)), axis=0)


def signed_zeros(rng):
    return np.where(rng.random((5000, 6)) < 0.1, -0.0, rng.normal(size=(5000, 6)).round(1))


@pytest.mark.parametrize(
    "shape", [steps, small_steps, clusters, outliers, mostly_zero, ordered, signed_zeros]
)
@pytest.mark.parametrize("n_neighbours", [1, 50, 500])
def test_walking_equals_the_plain_definition(shape, n_neighbours):
    rng = np.random.default_rng(5)
    x = shape(rng)
    mask = rng.random(len(x)) < 0.3
    agree(x, make_draws(x, 60, rng=rng), n_neighbours=n_neighbours, occupied=mask, conditional=True)


def test_a_sparse_line_that_misleads_costs_time_only():
    # Every 13th row lies close to the origin, the others far out: the first bound is too small.
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2600, 2)).astype(np.float32) * 100
    x[::13] /= 1e4
    draws = Draws(np.tile(np.int32([0, 1]), (20, 1)), rng.normal(size=(20, 2)).astype(np.float32))
    agree(x, draws, n_neighbours=300)


def test_rows_just_at_the_bound_count():
    # Every other row lies at distance 5, on one side or the other: the first 300 are the nearest.
    x = np.zeros((2600, 2), np.float32)
    x[1::2, 0], x[2::2, 0] = -5, 5
    raw = zcore(x, Draws(np.int32([[0, 1]]), np.float32([[0.1, 0]])), n_neighbours=300)
    assert raw[0] == 1
    np.testing.assert_allclose(raw[1:301], -1 / 300, rtol=0, atol=1e-12)
    assert not raw[301:].any()


def test_a_draw_by_hand():
    x = np.array([[0, 0], [1, 0], [3, 0], [3, 0]], np.float32)
    draw = Draws(np.int32([[0, 1]]), np.float32([[0.2, 0.1]]))
    np.testing.assert_allclose(
        zcore(x, draw, n_neighbours=2), [1, -81 / 82, -1 / 82, 0], atol=1e-12
    )
    np.testing.assert_allclose(zcore(x, draw), [1, -81 / 83, -1 / 83, -1 / 83], rtol=0, atol=1e-12)
    twins = Draws(np.int32([[0, 1]]), np.float32([[2.9, 0]]))
    assert zcore(x, twins).tolist() == [0, 0, 1, -1]  # of two equal rows the first gains


def test_occupied_rows_take_part_and_are_not_rewarded():
    x = np.array([[0, 0], [1, 0], [3, 0]], np.float32)
    near_first = Draws(np.int32([[0, 1]]), np.float32([[0.1, 0]]))
    first, second = np.array([True, False, False]), np.array([False, True, False])
    np.testing.assert_allclose(
        zcore(x, near_first, occupied=first), [0, -81 / 82, -1 / 82], atol=1e-12
    )
    np.testing.assert_allclose(
        zcore(x, near_first, occupied=second), [1, -81 / 82, -1 / 82], atol=1e-12
    )
    np.testing.assert_allclose(
        zcore(x, near_first, occupied=second, conditional=True),
        [1 - 81 / 82, -81 / 82, -1 / 82],
        atol=1e-12,
    )


def test_conditional_scores_turn_to_what_is_not_labelled():
    # Half of the clusters are half labelled; plain scores of their other rows do not show it.
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(10), 30)
    x = (rng.normal(size=(10, 32))[cluster] + 0.2 * rng.normal(size=(300, 32))).astype(np.float32)
    occupied = (cluster < 5) & (np.arange(300) % 2 == 0)
    draws = make_draws(x, 60_000, rng=rng)
    free = np.flatnonzero(~occupied)

    def share_in_the_other_half(**options):
        raw = zcore(x, draws, n_neighbours=100, occupied=occupied, **options)
        picks = free[np.argsort(-raw[free], kind="stable")[:50]]
        return np.mean(cluster[picks] >= 5)

    assert share_in_the_other_half() < 0.8
    assert share_in_the_other_half(conditional=True) >= 0.9


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two threads")
@pytest.mark.parametrize("n_neighbours", [20, 1000])
def test_the_same_to_the_bit_for_any_number_of_threads(n_neighbours):
    x = vectors(1, 700, 6)
    draws = make_draws(x, 4000, rng=np.random.default_rng(1))
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = zcore(x, draws, n_neighbours=n_neighbours)
        numba.set_num_threads(2)
        together = zcore(x, draws, n_neighbours=n_neighbours)
    finally:
        numba.set_num_threads(before)
    assert np.array_equal(alone, together)


def test_the_order_of_rows_and_draws_does_not_matter():
    x = vectors(4, 400, 5)
    draws = make_draws(x, 500, rng=np.random.default_rng(4))
    raw = zcore(x, draws, n_neighbours=30)
    rng = np.random.default_rng(5)
    rows, turns = rng.permutation(400), rng.permutation(500)
    moved = zcore(x[rows], Draws(draws.dims[turns], draws.points[turns]), n_neighbours=30)
    np.testing.assert_allclose(moved, raw[rows], rtol=0, atol=1e-9)


def test_half_precision_is_widened_first():
    x = vectors(6, 300, 4, np.float16)
    draws = make_draws(x, 300, rng=np.random.default_rng(6))
    assert np.array_equal(zcore(x, draws), zcore(x.astype(np.float32), draws))


def test_scores_of_the_plain_definition_sum_to_zero():
    x = vectors(7, 300, 4)
    assert abs(zcore(x, make_draws(x, 1000, rng=np.random.default_rng(7))).sum()) < 1e-6


def test_the_default_number_of_draws_makes_two_seeds_agree():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(8)
    sizes = np.repeat(np.arange(8), [60, 30, 20, 15, 10, 8, 4, 3])
    x = (rng.normal(size=(8, 64))[sizes] + 0.1 * rng.normal(size=(150, 64))).astype(np.float32)
    draws = default_draws(len(x))
    first, second = (
        zcore(x, make_draws(x, draws, rng=np.random.default_rng(seed))) for seed in (1, 2)
    )
    assert spearmanr(first, second).statistic >= 0.95


def test_default_draws_grow_with_the_rows_up_to_a_limit():
    assert default_draws(1) >= 1
    assert default_draws(2_000) == 10_000_000
    assert default_draws(10_000) == 4_472_136
    assert default_draws(1_280_000) == 1_000_000


def test_draws_keep_to_their_distribution():
    rng = np.random.default_rng(9)
    x = rng.exponential(size=(500, 4)).astype(np.float32)
    x[:, 2] = -1.5
    draws = make_draws(x, 40_000, rng=rng)
    assert draws.dims.dtype == np.int32
    assert draws.points.dtype == np.float32
    assert draws.dims.shape == draws.points.shape == (40_000, 2)
    assert (draws.dims[:, 0] != draws.dims[:, 1]).all()
    assert np.bincount(draws.dims.ravel(), minlength=4) == pytest.approx(20_000, rel=0.05)
    assert (draws.points[draws.dims == 2] == -1.5).all()
    for dim in (0, 1, 3):
        drawn = draws.points[draws.dims == dim]
        low, middle, high = x[:, dim].min(), np.median(x[:, dim]), x[:, dim].max()
        assert low <= drawn.min() <= drawn.max() <= high
        assert drawn.mean() == pytest.approx((low + middle + high) / 3, rel=0.03)


def test_draws_are_the_seeds_alone():
    x = vectors(10, 50, 3)
    first, second, other = (make_draws(x, 20, rng=np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(first.dims, second.dims)
    assert np.array_equal(first.points, second.points)
    assert not np.array_equal(first.points, other.points)


def test_one_dimension_is_drawn_twice():
    assert (make_draws(vectors(11, 9, 1), 20, rng=np.random.default_rng(1)).dims == 0).all()


def test_progress_counts_draws_and_can_end_the_work():
    x = vectors(12, 300, 4)
    draws = make_draws(x, 5000, rng=np.random.default_rng(12))
    seen = []
    zcore(x, draws, n_neighbours=20, progress=lambda *now: seen.append(now))
    done = [now[0] for now in seen]
    assert done == sorted(done)
    assert len(done) > 4
    assert seen[-1] == (5000, 5000, "coverage draws")

    def stop(done, total, what):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        zcore(x, draws, n_neighbours=20, progress=stop)


def test_no_draws_no_scores():
    x = vectors(13, 5, 2)
    none = Draws(np.empty((0, 2), np.int32), np.empty((0, 2), np.float32))
    assert zcore(x, none).tolist() == [0] * 5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_vectors_that_are_not_finite_are_named(bad):
    x = vectors(14, 20_000, 2)
    draws = make_draws(x, 5, rng=np.random.default_rng(1))
    x[[7, 18_000], [0, 1]] = bad
    with pytest.raises(VectorError, match=r"2 of 20000 vectors .* rows 7, 18000\n"):
        zcore(x, draws)
    with pytest.raises(VectorError, match="rows 7, 18000\n"):
        make_draws(x, 5, rng=np.random.default_rng(1))
    x[:10] = bad
    with pytest.raises(VectorError, match="rows 0, 1, 2, 3, 4, …\n"):
        zcore(x, draws)


def test_what_does_not_fit_is_refused():
    x = vectors(15, 6, 3)
    draws = make_draws(x, 5, rng=np.random.default_rng(1))
    with pytest.raises(VectorError, match="shape"):
        zcore(x[:0], draws)
    with pytest.raises(VectorError, match="shape"):
        make_draws(x[0], 5, rng=np.random.default_rng(1))
    with pytest.raises(VectorError, match="dimension"):
        zcore(x, Draws(draws.dims + 3, draws.points))
    with pytest.raises(VectorError, match="mask"):
        zcore(x, draws, occupied=np.zeros(5, bool))
    with pytest.raises(SettingsError, match="0 neighbours"):
        zcore(x, draws, n_neighbours=0)
    with pytest.raises(SettingsError, match="draws"):
        make_draws(x, 0, rng=np.random.default_rng(1))


def test_scale_is_between_0_and_1():
    assert scale(np.array([-2.0, 0.0, 2.0])).tolist() == [0, 0.5, 1]
    assert scale(np.array([3.0, 3.0])).tolist() == [0, 0]
    assert scale(np.array([])).tolist() == []


def test_importing_compiles_nothing():
    code = "import sys, annoloop.core.coverage; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
