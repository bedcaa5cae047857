"""Folds: groups whole, every class spread, none empty, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.folds import assign_folds, confined
from annoloop.errors import SettingsError


@st.composite
def sets(draw: st.DrawFn) -> tuple[list[str], np.ndarray, np.ndarray, int]:
    count = draw(st.integers(2, 60))
    units = np.array(draw(st.lists(st.integers(0, 25), min_size=count, max_size=count)))
    there = len(np.unique(units))
    if there < 2:
        units[0] = 99
        there = 2
    classes = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    boxes = rng.poisson(rng.uniform(0.02, 2, classes), size=(count, classes))
    return [f"k{n:03}" for n in range(count)], units, boxes, draw(st.integers(2, min(there, 8)))


@given(sets(), st.integers(0, 2**32 - 1))
@settings(max_examples=200)
def test_units_are_whole_no_fold_is_empty_and_the_order_does_not_matter(
    found: tuple[list[str], np.ndarray, np.ndarray, int], seed: int
) -> None:
    ids, units, boxes, folds = found
    made = assign_folds(ids, units=units, boxes=boxes, folds=folds, rng=np.random.default_rng(seed))
    assert set(made.tolist()) == set(range(folds))
    for unit in np.unique(units):
        assert len(np.unique(made[units == unit])) == 1
    turned = assign_folds(
        ids[::-1],
        units=units[::-1],
        boxes=boxes[::-1],
        folds=folds,
        rng=np.random.default_rng(seed),
    )
    assert (turned[::-1] == made).all()


def test_every_class_of_two_units_or_more_is_in_two_folds() -> None:
    rng = np.random.default_rng(0)
    for seed in range(200):
        classes = int(rng.integers(2, 12))
        units = np.sort(rng.integers(0, 40, size=80))
        boxes = rng.poisson(0.08, size=(80, classes))
        folds = int(rng.integers(3, 7))
        made = assign_folds(
            [f"k{n:03}" for n in range(80)],
            units=units,
            boxes=boxes,
            folds=folds,
            rng=np.random.default_rng(seed),
        )
        alone = confined(made, boxes)
        assert all(len(np.unique(units[boxes[:, kind] > 0])) == 1 for kind in alone), seed


def test_images_and_classes_are_spread_evenly() -> None:
    rng = np.random.default_rng(1)
    boxes = rng.poisson([2.0, 0.5, 0.1], size=(500, 3))
    made = assign_folds(
        [f"k{n:03}" for n in range(500)],
        units=np.arange(500),
        boxes=boxes,
        folds=5,
        rng=np.random.default_rng(0),
    )
    images = np.bincount(made)
    assert images.max() - images.min() <= 10
    per_fold = np.array([boxes[made == fold].sum(axis=0) for fold in range(5)])
    assert (per_fold.max(axis=0) - per_fold.min(axis=0) <= [40, 12, 3]).all()


@pytest.mark.parametrize(("units", "folds"), [([0, 0, 0], 2), ([0, 1, 2], 4), ([0, 1, 2], 1)])
def test_what_cannot_be_folded_is_refused(units: list[int], folds: int) -> None:
    with pytest.raises(SettingsError, match="cannot be"):
        assign_folds(
            ["a", "b", "c"],
            units=np.array(units),
            boxes=np.ones((3, 1), dtype=np.int64),
            folds=folds,
            rng=np.random.default_rng(0),
        )
