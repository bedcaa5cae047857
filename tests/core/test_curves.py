import json
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core import curves
from annoloop.core.curves import extrapolate, fit
from annoloop.errors import InputError

MI_AOD = (47.18, 58.41, 64.02, 67.72, 69.79, 71.07, 72.27)
"""VOC mAP of MI-AOD at 5, 7.5, …, 20 % of 16,551 images (github.com/yuantn/MI-AOD)."""
MI_AOD_SIZES = 16_551 * np.array([0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2])


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("sigma", [0.003, 0.005, 0.01])
def test_a_published_detection_curve_is_foreseen_within_half_a_point(sigma):
    values = np.array(MI_AOD) / 100
    band = extrapolate(
        MI_AOD_SIZES[:5], values[:5], sigmas=sigma, targets=MI_AOD_SIZES[5:], rng=rng()
    )
    assert np.abs(band.median - values[5:]).max() < 0.005
    assert (band.low < values[5:]).all()
    assert (values[5:] < band.high).all()


@pytest.mark.parametrize(
    "true",
    [
        lambda n: 0.8 - 0.5 * (n / 100) ** -0.7,
        lambda n: 0.8 - 0.5 * np.exp(-(n - 100) / 300),
        lambda n: 0.8 - 0.5 * np.exp(-((n / 200) ** 0.6)),
        lambda n: 0.8 - 0.5 / (1 + (n / 250) ** 1.5),
    ],
    ids=["pow3", "exp3", "wbl4", "mmf4"],
)
def test_an_exact_curve_of_each_family_is_continued(true):
    sizes = np.arange(100, 900, 100)
    band = extrapolate(sizes, true(sizes), sigmas=1e-4, targets=[900, 1_200, 1_600], rng=rng())
    assert np.abs(band.median - true(np.array([900, 1_200, 1_600]))).max() < 0.012
    assert (np.diff(band.high - band.low) > 0).all()  # further is less certain


def test_the_same_seed_gives_the_same_band_and_order_does_not_matter():
    sizes, values = np.array([30, 60, 90, 120]), np.array([0.3, 0.41, 0.47, 0.5])
    one = extrapolate(sizes, values, sigmas=0.01, targets=[180], rng=rng(3))
    two = extrapolate(sizes[::-1], values[::-1], sigmas=0.01, targets=[180], rng=rng(3))
    assert one.median == two.median
    assert (one.low, one.high) == (two.low, two.high)


def test_a_noisy_point_weighs_less():
    sizes = [100, 200, 300, 400, 500]
    values = [0.40, 0.50, 0.55, 0.58, 0.70]
    trusted = extrapolate(sizes, values, sigmas=0.005, targets=[600], rng=rng())
    doubted = extrapolate(
        sizes, values, sigmas=[0.005, 0.005, 0.005, 0.005, 0.2], targets=[600], rng=rng()
    )
    assert doubted.median[0] < 0.64 < trusted.median[0]


@pytest.mark.parametrize(
    ("sizes", "values", "sigmas"),
    [
        ([100, 200, 300, 400], [0.5, 0.5, 0.5, 0.5], 0.005),
        ([100, 200, 300, 400], [0.6, 0.55, 0.5, 0.45], 0.005),
        ([100, 200, 300, 400, 500], [0.4, 0.6, 0.3, 0.6, 0.4], 0.01),
        ([100, 200, 300, 400, 500, 600], [0.1, 0.1, 0.1, 0.1, 0.2, 0.4], 0.005),
        ([100, 200, 300], [0.4, 0.5, 0.55], 0.0),
        ([100, 200], [0.4, 0.5], 0.005),
        ([100], [0.4], 0.005),
        ([100, 100, 100], [0.4, 0.41, 0.39], 0.005),
        ([100, 200, 200, 300], [0.4, 0.5, 0.52, 0.55], [0.0, 0.0, 0.0, 0.0]),
        ([100, 200, 300, 400], [0.0, 0.0, 0.0, 0.0], 0.0),
        ([100, 200, 300, 400], [1.0, 1.0, 1.0, 1.0], 0.0),
        ([1, 1_000_000], [0.1, 0.9], 1e-9),
        ([100, 200, 300, 400], [0.4, 0.5, 0.55, 0.57], [np.nan, 0.01, np.nan, 0.01]),
        ([100, 200, 300, 400], [0.4, 0.5, 0.55, 0.57], np.nan),
    ],
)
def test_ill_behaved_curves_get_sober_answers(sizes, values, sigmas):
    band = extrapolate(sizes, values, sigmas=sigmas, targets=[50, 100, 600, 1_200], rng=rng())
    for row in (band.low, band.median, band.high):
        assert np.isfinite(row).all()
        assert ((row >= 0) & (row <= 1)).all()
        assert (np.diff(row) >= -1e-9).all()
    assert (band.low <= band.median).all()
    assert (band.median <= band.high).all()
    assert band.median[2] >= min(values) - 0.05


def test_a_flat_or_falling_curve_promises_nothing():
    for values in ([0.5, 0.5, 0.5, 0.5, 0.5], [0.6, 0.58, 0.55, 0.52, 0.5]):
        curve = fit([100, 200, 300, 400, 500], values, sigmas=0.003, rng=rng())
        assert np.median(curve.gain(600)) < 0.003


def test_one_point_says_that_it_knows_nothing_of_the_rise():
    band = extrapolate([200], [0.4], sigmas=0.005, targets=[600], rng=rng())
    assert band.low[0] == pytest.approx(0.4, abs=0.02)
    assert band.high[0] > 0.6


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 10_000), st.floats(0, 1)), min_size=1, max_size=12),
    st.floats(0, 0.1),
)
def test_whatever_the_points_the_band_is_ordered_and_inside(points, sigma):
    sizes, values = zip(*points, strict=True)
    last = max(sizes)
    band = extrapolate(sizes, values, sigmas=sigma, targets=[last, 2 * last, 8 * last], rng=rng())
    assert (band.low >= 0).all()
    assert (band.high <= 1).all()
    assert (band.low <= band.median).all()
    assert (band.median <= band.high).all()
    assert (np.diff(band.median) >= -1e-9).all()


def test_twenty_points_take_a_moment():
    sizes = np.arange(1, 21) * 100
    values = 0.8 - 0.5 * (sizes / 100.0) ** -0.6
    started = time.perf_counter()
    extrapolate(sizes, values, sigmas=0.005, targets=np.arange(21, 61) * 100, rng=rng())
    assert time.perf_counter() - started < 1.0


def test_labels_needed_are_the_inverse_of_the_curve():
    sizes = np.arange(100, 900, 100)
    curve = fit(sizes, 0.8 - 0.5 * (sizes / 100) ** -0.7, sigmas=0.002, rng=rng())
    needed = curve.needed(0.72, most=3 * 800)
    reached = np.isfinite(needed)
    truth = 100 * (0.08 / 0.5) ** (-1 / 0.7)
    assert np.median(needed) == pytest.approx(truth, rel=0.15)
    at = curve.at(np.where(reached, needed, 800.0)[:, None])[:, 0]
    assert at[reached & (needed > 800)] == pytest.approx(0.72, abs=1e-6)
    assert (curve.needed(0.3, most=2_400) == 800).all()
    assert np.isinf(curve.needed(0.99, most=2_400)).all()


@pytest.mark.parametrize(
    ("sizes", "values", "sigmas", "targets"),
    [
        ([], [], 0.01, [10]),
        ([1, 2], [0.1], 0.01, [10]),
        ([1, 2], [0.1, 0.2], [0.01, 0.01, 0.01], [10]),
        ([0, 2], [0.1, 0.2], 0.01, [10]),
        ([1, 2], [47.0, 58.0], 0.01, [10]),
        ([1, 2], [0.1, np.nan], 0.01, [10]),
        ([1, 2], [0.1, 0.2], 0.01, [0]),
        ([1, 2], [0.1, 0.2], 0.01, [np.inf]),
    ],
)
def test_what_is_no_curve_is_refused(sizes, values, sigmas, targets):
    with pytest.raises(InputError):
        extrapolate(sizes, values, sigmas=sigmas, targets=targets, rng=rng())


def test_the_next_gain_on_mixed_families_is_covered_and_beats_the_last_difference():
    held, error, naive = [], [], []
    families = (
        lambda u: u**-0.7,
        lambda u: np.exp(-(u - 1) / 2),
        lambda u: np.exp(-((u / 1.5) ** 0.7)) / np.exp(-((1 / 1.5) ** 0.7)),
        lambda u: 2 / (1 + u**1.5),
    )
    for seed in range(160):
        draw = rng(seed)
        decay, rounds = families[seed % 4], int(draw.integers(5, 10))
        share = 1 + 0.5 * np.arange(rounds + 1)
        true = 0.8 - 0.4 * decay(share)
        seen = true[:-1] + 0.005 * draw.standard_normal(rounds)
        curve = fit(200 * share[:-1], seen, sigmas=0.005, rng=draw)
        low, median, high = np.quantile(curve.gain(200 * share[-1]), [0.05, 0.5, 0.95])
        gain = true[-1] - true[-2]
        held.append(low <= gain <= high)
        error.append(abs(median - gain))
        naive.append(abs(seen[-1] - seen[-2] - gain))
    assert np.mean(held) >= 0.85
    assert np.mean(error) < np.mean(naive) / 2


def lcdb(folder: Path):
    """(sizes, values, sigmas) of four learners on each data set of LCDB 1.1."""
    meta = json.loads((folder / "meta.json").read_text())
    names = ("LogisticRegression", "KNN", "ens.RandomForest", "SVM_RBF")
    anchors = np.array(meta["anchors"], dtype=float)
    for file in sorted((folder / "er").glob("*.json")):
        table = json.loads(file.read_text())
        for name in names:
            mean, spread = (
                np.array([np.nan if row is None or row[1] is None else row[1] for row in rows])
                for rows in table[meta["learners"].index(name)]
            )
            there = np.isfinite(mean)
            yield anchors[: len(mean)][there], 1 - mean[there], spread[there]


def test_eight_times_the_size_on_real_curves_beats_the_power_law(shared_data):
    errors, held = [], []
    for sizes, values, sigmas in lcdb(shared_data / "learning_curves" / "lcdb11"):
        early = sizes <= sizes[-1] / 8
        if early.sum() < 4:
            continue
        curve = fit(sizes[early], values[early], sigmas=sigmas[early], rng=rng(), draws=500)
        low, median, high = np.quantile(curve.at(sizes[-3:]).mean(axis=1), [0.05, 0.5, 0.95])
        truth = values[-3:].mean()
        errors.append(abs(median - truth))
        held.append(low <= truth <= high)
    # The single power law reaches 0.0136, 0.0329 and 0.0818.
    assert np.median(errors) < 0.0136
    assert np.mean(errors) < 0.0329
    assert np.quantile(errors, 0.9) < 0.0818
    assert np.mean(held) > 0.8


def test_no_member_of_the_ensemble_grows_for_ever():
    grid = curves._grid(0.1)
    far = grid.at(np.array([[1e12]]))
    assert (far[grid.family != curves.FLAT] < 0.3).all()
