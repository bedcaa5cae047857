"""What a model's boxes do to people: found where they accept all, not where they are not swayed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.prelabels import ALPHA, Answered, bias, draw_blank
from annoloop.records import Label

BATCH, BATCHES, SHARE = 30, 2, 0.3


def moved(label: Label, rng: np.random.Generator, by: float) -> Label:
    x, y, w, h = label.box
    return Label(label.class_id, (x + rng.normal(0, by), y + rng.normal(0, by), w, h))


def world(rng: np.random.Generator, *, accepting: float) -> list[Answered]:
    """People who draw 97 % of the objects themselves, and `accepting` of the images as given."""
    found = []
    for batch in range(BATCHES):
        ids = [f"{batch}-{n:02}" for n in range(BATCH)]
        blank = draw_blank(ids, share=SHARE, rng=rng)
        for key in ids:
            truth = [
                Label(int(rng.integers(3)), (60.0 * spot, 5.0, 30.0, 30.0))
                for spot in range(rng.poisson(3))
            ]
            model = [moved(one, rng, 3) for one in truth if rng.random() < 0.7]
            model += [Label(0, (60.0 * n, 100.0, 30.0, 30.0)) for n in range(rng.poisson(0.5))]
            own = [moved(one, rng, 1) for one in truth if rng.random() < 0.97]
            shown = key not in blank
            drawn = model if shown and rng.random() < accepting else own
            seconds = 10.0 + 5 * len(drawn)
            found.append(Answered(f"v{batch}", shown, tuple(model), tuple(drawn), seconds))
    return found


def test_people_who_accept_everything_are_found() -> None:
    rng = np.random.default_rng(1)
    found = bias(world(rng, accepting=1.0), rng=rng)
    assert found.verdict == "bias"
    assert "agreement" in found.alarming
    agreement, unchanged = found.measures["agreement"], found.measures["unchanged"]
    assert agreement.given == unchanged.given == 1.0
    assert agreement.blank is not None
    assert agreement.blank < 0.9
    assert agreement.interval is not None
    assert agreement.interval[0] > 0
    foreseen = found.measures["foreseen"]
    assert foreseen.difference is not None
    assert foreseen.difference > 0.1  # nobody adds what the model had missed


def test_half_of_the_images_accepted_is_found_in_most_worlds() -> None:
    rng = np.random.default_rng(2)
    found = [bias(world(rng, accepting=0.7), rng=rng, draws=199) for _ in range(40)]
    assert sum(one.verdict == "bias" for one in found) >= 24


def test_where_nobody_is_swayed_alarms_keep_to_the_stated_rate() -> None:
    rng = np.random.default_rng(3)
    looks = 250
    found = [bias(world(rng, accepting=0.0), rng=rng, draws=199) for _ in range(looks)]
    alarms = sum(one.verdict == "bias" for one in found)
    assert all(one.verdict != "too few" for one in found)
    # Two standard errors of the simulation above the stated rate.
    assert alarms / looks <= ALPHA + 2 * (ALPHA * (1 - ALPHA) / looks) ** 0.5


def test_the_interval_covers_no_difference_in_most_worlds() -> None:
    rng = np.random.default_rng(4)
    covered = []
    for _ in range(200):
        interval = bias(world(rng, accepting=0.0), rng=rng, draws=1).measures["agreement"].interval
        assert interval is not None
        covered.append(interval[0] <= 0 <= interval[1])
    assert np.mean(covered) >= 0.88  # a bootstrap of 18 blank images is a little narrow


def test_few_images_on_a_side_are_too_few_to_tell() -> None:
    rng = np.random.default_rng(5)
    rows = world(rng, accepting=1.0)
    blank = [one for one in rows if not one.given]
    found = bias([one for one in rows if one.given] + blank[:9], rng=rng)
    assert found.verdict == "too few"
    assert found.measures["agreement"].difference is not None
    assert found.measures["agreement"].p_value is None
    assert bias([], rng=rng).verdict == "too few"


def test_a_batch_without_blank_images_does_not_enter() -> None:
    rng = np.random.default_rng(6)
    rows = world(rng, accepting=0.0)
    alone = [Answered("v9", True, one.drawn, one.drawn) for one in rows]
    assert bias(rows + alone, rng=np.random.default_rng(0)) == bias(
        rows, rng=np.random.default_rng(0)
    )


def test_batches_with_other_shares_are_put_together_without_making_a_difference() -> None:
    """Easy batches with many blank images, hard ones with few: a plain mean would differ."""
    rows = []
    for batch, (boxes, blank) in {"v0": (1, 20), "v1": (9, 20)}.items():
        for number in range(40 if batch == "v0" else 200):
            drawn = tuple(Label(0, (40.0 * n, 0.0, 20.0, 20.0)) for n in range(boxes))
            rows.append(Answered(batch, number >= blank, drawn, drawn))
    found = bias(rows, rng=np.random.default_rng(0), draws=99)
    assert found.measures["boxes"].difference == pytest.approx(0.0)
    assert found.verdict == "none seen"


@given(
    count=st.integers(1, 60),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=100)
def test_as_many_stay_blank_as_were_asked(count: int, share: float, seed: int) -> None:
    ids = [f"k{n}" for n in range(count)]
    blank = draw_blank(ids, share=share, rng=np.random.default_rng(seed))
    assert blank <= set(ids)
    assert abs(len(blank) - share * count) <= 1
    assert blank == draw_blank(ids[::-1], share=share, rng=np.random.default_rng(seed))
    if 0 < share < 1 and count > 1:
        assert 0 < len(blank) < count


def test_every_image_is_blank_equally_often() -> None:
    """Golden or not: the draw knows nothing of an image."""
    ids = [f"k{n}" for n in range(20)]
    counts = dict.fromkeys(ids, 0)
    for seed in range(2_000):
        for key in draw_blank(ids, share=0.25, rng=np.random.default_rng(seed)):
            counts[key] += 1
    assert all(420 <= number <= 580 for number in counts.values())
