"""Who makes the errors: shrinkage, and no blame for little data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.annotators import annotator_rates
from annoloop.core.power import Scenario, draw_boxes, draw_errors


def test_written_out_rates():
    names = ["ann"] * 20 + ["bob"] * 20 + ["eve"] * 20
    errors, boxes = np.zeros(60), np.full(60, 5.0)
    errors[40:] = 1.0
    ann, bob, eve = annotator_rates(errors, boxes, names)
    assert (ann.annotator, ann.images, ann.boxes, ann.errors, ann.rate) == ("ann", 20, 100, 0, 0.0)
    assert (eve.errors, eve.rate, eve.flagged) == (20, 0.2, True)
    assert not ann.flagged
    assert not bob.flagged
    assert 0.0 < ann.shrunk < 0.02  # pulled towards the others
    assert eve.shrunk < 0.2
    assert eve.interval[0] < eve.shrunk < eve.interval[1]
    assert eve.probability > 0.99


def test_one_bad_image_is_no_proof():
    names = ["ann"] * 30 + ["eve"]
    errors, boxes = np.zeros(31), np.full(31, 5.0)
    errors[:3], errors[30] = 1.0, 2.0
    assert not any(one.flagged for one in annotator_rates(errors, boxes, names))


def test_nobody_and_nothing():
    assert annotator_rates(np.zeros(0), np.zeros(0), []) == ()
    (alone,) = annotator_rates(np.zeros(2), np.zeros(2), ["ann", "ann"])
    assert (alone.rate, alone.flagged) == (None, False)


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.sampled_from("abc")), max_size=30)
)
@settings(deadline=None, max_examples=60)
def test_shares_stay_shares(rows):
    boxes = np.array([b for b, _, _ in rows], dtype=float)
    errors = np.minimum(boxes, np.array([e for _, e, _ in rows], dtype=float))
    for one in annotator_rates(errors, boxes, [name for _, _, name in rows]):
        assert 0.0 <= one.interval[0] <= one.shrunk <= one.interval[1] <= 1.0
        assert 0.0 <= one.probability <= 1.0


def test_experiment_6_the_careless_one_is_named_and_nobody_else():
    rng, scenario = np.random.default_rng(0), Scenario(40, 5.0, 1)
    named = blamed = 0
    for _ in range(100):
        errors, boxes, names = [], [], []
        for person in range(5):
            mine = draw_boxes(scenario, 1, rng=rng)
            rate = 0.15 if person == 2 else 0.03
            made = draw_errors(mine, rate, scenario=scenario, passes=1, rng=rng)
            errors += made[0, 0].tolist()
            boxes += mine[0].tolist()
            names += [f"p{person}"] * 40
        found = annotator_rates(np.array(errors, float), np.array(boxes, float), names)
        named += found[2].flagged
        blamed += any(one.flagged for one in found if one.annotator != "p2")
    assert named >= 80
    assert blamed <= 5 + 2 * np.sqrt(100 * 0.05 * 0.95)
    assert named == pytest.approx(100, abs=20)
