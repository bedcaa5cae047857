"""Uncertainty: entropy by hand, hard classes, one doubt counted once, and spread picks."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core import uncertainty as module
from annoloop.core.candidates import Candidates, Evidence
from annoloop.core.selection import select
from annoloop.core.uncertainty import class_quality, difficulty, image_uncertainty, uncertainty
from annoloop.errors import VectorError
from annoloop.records import Detection, Label, Shortfall

EVEN = np.ones(3)
HERE, THERE, FAR = (0, 0, 10, 10), (1, 0, 10, 10), (50, 50, 10, 10)


def seen(score, box=HERE, kind=0):
    return Detection(kind, box, score)


def entropy(p):
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


# --- one image -------------------------------------------------------------------------------


def test_a_box_at_one_half_is_the_most_uncertain_and_those_below_the_floor_do_not_count():
    assert image_uncertainty([seen(0.5)], EVEN) == pytest.approx(math.log(2))
    assert image_uncertainty([seen(0.9)], EVEN) == pytest.approx(entropy(0.9))
    assert image_uncertainty([seen(0.049)], EVEN) == image_uncertainty([], EVEN) == 0.0
    for sure in (0.0, 1.0):
        assert image_uncertainty([seen(sure)], EVEN) == pytest.approx(0.0, abs=1e-9)


def test_boxes_add_up_but_one_doubt_counts_once():
    apart = [seen(0.5), seen(0.7, FAR)]
    assert image_uncertainty(apart, EVEN) == pytest.approx(entropy(0.5) + entropy(0.7))
    twice = [seen(0.8), seen(0.4, THERE), seen(0.45, THERE, kind=1)]
    assert image_uncertainty(twice, EVEN) == pytest.approx(entropy(0.4) + entropy(0.45))


def test_hard_classes_weigh_more():
    weights = difficulty(np.array([1.0, 0.5, 0.0]))
    # α 0.3, β 0.2: 1 + 0.06 × ln(1 + (e^(1/0.3) − 1) (1 − q))
    assert weights == pytest.approx(
        [1.0, 1 + 0.06 * math.log(1 + (math.exp(1 / 0.3) - 1) / 2), 1.2]
    )
    assert image_uncertainty([seen(0.5, kind=2)], weights) == pytest.approx(1.2 * math.log(2))


def test_quality_of_classes():
    truth = {
        "a": (Label(0, HERE), Label(0, FAR), Label(1, HERE, crowd=True)),
        "b": (Label(1, HERE),),
    }
    found = {"a": (seen(0.8, THERE), seen(0.9, FAR, kind=1)), "b": (seen(1.0, kind=1),)}
    overlap = 90 / 110
    assert class_quality(truth, found, classes=3) == pytest.approx(
        [0.8**0.6 * overlap**0.4 / 2, 1.0, 0.0]
    )
    assert class_quality({}, {}, classes=2).tolist() == [0.0, 0.0]


boxes = st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 20)] * 2)
detections = st.lists(st.builds(seen, st.floats(0, 1), boxes, st.integers(0, 2)), max_size=8)


@settings(max_examples=80, deadline=None)
@given(detections, st.randoms(use_true_random=False))
def test_order_does_not_matter_and_bounds_hold(found, shuffler):
    weights = difficulty(np.array([0.9, 0.3, 0.0]))
    total = image_uncertainty(found, weights)
    kept = [d for d in found if d.score >= 0.05]
    each = [weights[d.class_id] * entropy(min(max(d.score, 1e-12), 1 - 1e-12)) for d in kept]
    assert max(each, default=0.0) - 1e-9 <= total <= sum(each) + 1e-9
    assert image_uncertainty([*found, *found], weights) == total
    shuffled = list(found)
    shuffler.shuffle(shuffled)
    assert image_uncertainty(shuffled, weights) == total


# --- the strategy ----------------------------------------------------------------------------


def candidates(scores, vectors=None):
    ids = tuple(f"s{i:04}" for i in range(len(scores)))
    scores = None if scores is None else np.asarray(scores, dtype=float)
    return Candidates(ids, vectors, np.zeros(len(ids)), uncertainty=scores)


def rank(pool, want, taken=None):
    taken = np.zeros(len(pool.ids), dtype=bool) if taken is None else taken
    return uncertainty(pool, Evidence(), want=want, taken=taken, rng=np.random.default_rng(0))


def test_the_most_uncertain_first_then_the_farthest_of_those_kept():
    angle = np.deg2rad([0, 1, 2, 60, 90, 3, 4, 5, 180])
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    pool = candidates([9, 8, 7, 6, 5, 4, 3, 2, 1], vectors)
    found = rank(pool, 2)
    assert found.positions.tolist() == [0, 4]  # the ninth is farther, but not among the first eight
    assert found.scores.tolist() == [9.0, 5.0]
    assert found.explain(0)[0] == "uncertainty 9.00, rank 1 of 9 images with boxes"
    assert found.explain(1)[0] == (
        "uncertainty 5.00, rank 5 of 9 images with boxes, cosine 0.00 to the nearest pick before it"
    )
    assert rank(pool, 2, np.array([True] + [False] * 8)).positions.tolist() == [1, 8]
    assert rank(candidates([1, 3, 2]), 2).positions.tolist() == [1, 2]  # without vectors


def test_images_without_boxes_are_not_ranked_and_it_is_said():
    found = rank(candidates([0.0, 2.0, 0.0]), 3)
    assert found.positions.tolist() == [1]
    assert found.note == "the model sees nothing in any other image"
    with pytest.raises(VectorError, match="s0001"):
        rank(candidates([1.0, math.nan]), 1)
    with pytest.raises(VectorError, match="annoloop predict"):
        Candidates(("a", "b"), uncertainty=np.ones(3))


def test_in_a_mix_with_and_without_predictions():
    rng = np.random.default_rng(0)
    vectors, mix = (
        rng.normal(size=(30, 4)).astype(np.float32),
        {"coverage": 0.5, "uncertainty": 0.5},
    )
    with_scores = candidates(rng.random(30), vectors)
    chosen = select(with_scores, Evidence(), size=10, mix=mix, rng=rng)
    assert [p.source for p in chosen.picks] == ["coverage"] * 5 + ["uncertainty"] * 5
    without = Candidates(with_scores.ids, vectors, with_scores.coverage)
    chosen = select(without, Evidence(), size=10, mix=mix, rng=rng)
    assert chosen.shortfalls == (
        Shortfall("uncertainty", 5, 0, "coverage", "no model has predicted on the pool yet"),
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 70), st.booleans())
def test_each_row_once_as_many_as_there_are(seed, n, want, rounds):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, n) / 2
    taken = rng.random(n) < 0.3
    pool = candidates(scores, rng.integers(-2, 3, (n, 3)).astype(np.float32))
    with pytest.MonkeyPatch.context() as patch:
        if rounds:
            patch.setattr(module, "ROUND", 4)
        found = rank(pool, want, taken)
        again = rank(pool, want + 9, taken) if rounds and want >= 4 else found
    free = np.flatnonzero((scores > 0) & ~taken)
    picked = found.positions.tolist()
    assert len(set(picked)) == len(picked) == min(want, len(free))
    assert set(picked) <= set(free.tolist())
    assert again.positions[: len(picked)].tolist() == picked
    kept = sorted(free.tolist(), key=lambda row: (-scores[row], row))[: 4 * want]
    assert set(picked) <= set(kept)
    assert all(found.explain(i)[0].startswith("uncertainty ") for i in range(len(picked)))
