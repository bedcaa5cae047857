"""The joint permutation test over features: exact on tiny cases, powerful on real ones."""

from itertools import product

import numpy as np
import pytest

from annoloop.core.drift import DRAWS, Features, Kind, features, max_t
from annoloop.core.intervals import Resample
from annoloop.core.simulated import Habits, annotate, draw_reference
from annoloop.records import Label

CLASSES = [f"class {k}" for k in range(8)]
GOOD = Habits(correlation=0.0)


def compared(passes, images, *, seed=0, draws=DRAWS, classes=CLASSES):
    rng = np.random.default_rng(seed)
    found = features(passes, images, classes=classes)
    changes = max_t(
        found, resample=Resample.draw(len(images), rng, draws=400), rng=rng, draws=draws
    )
    return {one.name: one for one in changes}


def test_features_of_written_out_labels():
    passes = [
        {"a": [Label(0, (0.0, 0.0, 20.0, 10.0)), Label(2, (0.0, 0.0, 10.0, 10.0))], "b": []},
        {"a": [Label(2, (0.0, 0.0, 20.0, 20.0)), Label(1, (0.0, 0.0, 9.0, 9.0), crowd=True)]},
    ]
    found = features(passes, ["a", "b"], classes=["cup", "mug", "jug"])
    assert found.names == (
        "count of cup", "count of jug", "boxes", "empty images", "box area",
        "spread of box area", "aspect",
    )  # fmt: skip
    first, second = found.values[0, 0], found.values[1, 0]
    assert first[:4].tolist() == [1, 1, 2, 0]
    assert first[4] == pytest.approx((np.log(200) + np.log(100)) / 2)
    assert first[6] == pytest.approx(np.log(2) / 2)
    assert second[:4].tolist() == [0, 1, 1, 0]
    assert np.isnan(second[5])
    assert found.values[0, 1, :4].tolist() == [0, 0, 0, 1]
    assert np.isnan(found.values[0, 1, 4])
    assert np.isnan(found.values[1, 1]).all()


def test_the_p_value_is_the_share_of_sign_flips():
    rng = np.random.default_rng(3)
    values = rng.poisson(2.0, size=(2, 6, 3)).astype(float)
    found = Features(("x", "y", "z"), (Kind.COUNT,) * 3, values)
    changes = max_t(found, resample=Resample.draw(6, rng), rng=rng, draws=20_000)
    d = values[1] - values[0]
    flips = np.array(list(product([-1, 1], repeat=6)))
    squares = np.sqrt((d**2).sum(axis=0))
    highest = (np.abs(flips @ d) / squares).max(axis=1)
    exact = [(highest >= t - 1e-9).mean() for t in np.abs(d.sum(axis=0)) / squares]
    assert [one.p_adjusted for one in changes] == pytest.approx(exact, abs=0.015)
    assert [one.effect for one in changes] == pytest.approx((100 * d.mean(axis=0)).tolist())


def test_equal_passes_change_nothing():
    labels = {"a": [Label(0, (0.0, 0.0, 9.0, 9.0))], "b": []}
    changes = compared([labels, labels], ["a", "b"])
    assert {one.p_adjusted for one in changes.values()} == {1.0}
    assert {one.effect for one in changes.values()} == {0.0}
    assert not any(one.matters for one in changes.values())


def test_passes_that_lack_an_image_leave_it_to_the_others():
    rng = np.random.default_rng(0)
    reference = draw_reference(40, 5.0, classes=8, rng=rng)
    passes = [annotate(reference, GOOD, classes=8, rng=rng) for _ in range(4)]
    for sample in list(reference)[:20]:
        del passes[0][sample]
    for sample in list(reference)[20:30]:
        del passes[-1][sample]
    changes = compared(passes, sorted(reference))
    without = [{s: p[s] for s in p if s in passes[-1]} for p in passes]
    same = compared(without, sorted(passes[-1]))
    assert changes["boxes"].effect == pytest.approx(same["boxes"].effect)
    assert all(0.0 < one.p_adjusted <= 1.0 for one in changes.values())


@pytest.mark.parametrize(
    ("habits", "images", "feature", "least"),
    [
        (Habits(miss=0.13, correlation=0.0), 50, {"boxes"}, 0.75),
        (
            Habits(relabel=(1, 0, 0.3), correlation=0.0),
            100,
            {"count of class 0", "count of class 1"},
            0.8,
        ),
        (Habits(grow=1.05, correlation=0.0), 100, {"box area"}, 0.85),
    ],
)
def test_experiment_3_power(habits, images, feature, least):
    hits = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        reference = draw_reference(images, 5.0, classes=8, rng=rng)
        passes = [annotate(reference, GOOD, classes=8, rng=rng) for _ in range(3)]
        new = annotate(reference, habits, classes=8, rng=rng)
        found = compared([*passes, new], sorted(reference), seed=seed, draws=400)
        first = min(found.values(), key=lambda one: one.p_adjusted)
        hits += first.p_adjusted <= 0.05 and first.matters and first.name in feature
    assert hits / 20 >= least


def test_experiment_3_false_alarms():
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(1_000 + seed)
        reference = draw_reference(30, 5.0, classes=8, rng=rng)
        passes = [annotate(reference, GOOD, classes=8, rng=rng) for _ in range(2)]
        changes = compared(passes, sorted(reference), seed=seed, draws=400)
        alarms += min(one.p_adjusted for one in changes.values()) <= 0.05
    assert alarms / 60 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)


def test_experiment_4_two_samples_of_boxes_are_blind_on_the_same_images():
    from scipy.stats import chi2_contingency, ks_2samp

    blind = paired = 0
    for seed in range(15):
        rng = np.random.default_rng(seed)
        reference = draw_reference(50, 5.0, classes=8, rng=rng)
        old = annotate(reference, GOOD, classes=8, rng=rng)
        new = annotate(reference, Habits(miss=0.13), classes=8, rng=rng)
        found = features([old, new], sorted(reference), classes=CLASSES).values
        table = np.nansum(found[:, :, :-5], axis=1) + 0.5
        p = [chi2_contingency(table).pvalue, ks_2samp(found[0, :, -5], found[1, :, -5]).pvalue]
        blind += min(p) * 2 <= 0.05
        paired += compared([old, new], sorted(reference), draws=400)["boxes"].p_adjusted <= 0.05
    assert blind <= 1
    assert paired >= 11
