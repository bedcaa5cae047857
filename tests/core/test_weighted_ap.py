import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.evaluation import evaluate
from annoloop.core.intervals import Resample, split_in_halves
from annoloop.core.weighted_ap import (
    Uncertain,
    average_precision,
    bootstrap,
    compare,
    prepare,
)
from annoloop.errors import InputError
from annoloop.records import Detection, Label

CLASSES = ("cup", "mug")
BOX, FAR = (0.0, 0.0, 40.0, 40.0), (200.0, 200.0, 40.0, 40.0)
COCO = Path(__file__).resolve().parents[2].parent / "shared/data/eval_fixtures/cocoapi_fakebbox100"

places = st.tuples(
    st.integers(0, 3).map(lambda x: 6.0 * x),
    st.integers(0, 3).map(lambda y: 5.0 * y),
    st.sampled_from([20.0, 24.0]),
    st.sampled_from([10.0, 20.0]),
)
flags = st.sampled_from([{}, {}, {}, {"crowd": True}, {"difficult": True}])
labels = st.builds(
    lambda kind, box, flag: Label(kind, box, **flag), st.integers(0, 1), places, flags
)


def scenes(*, tied):
    """Images with labels and detections; without ties all scores of an image differ."""
    scores = st.sampled_from([0.1, 0.3, 0.5, 0.7]) if tied else st.integers(0, 400)
    detection = st.builds(lambda k, b, s: Detection(k, b, s), st.integers(0, 1), places, scores)
    unique = None if tied else (lambda one: one.score)
    found = st.lists(detection, max_size=8, unique_by=unique)
    return st.lists(st.tuples(st.lists(labels, max_size=5), found), min_size=1, max_size=5)


def documents(scene):
    truth = {f"{k:03d}": rows for k, (rows, _) in enumerate(scene)}
    return truth, {f"{k:03d}": rows for k, (_, rows) in enumerate(scene)}


def same(ours, theirs):
    assert (theirs is None and np.isnan(ours)) or ours == pytest.approx(theirs, abs=1e-9)


@given(scenes(tied=True))
@settings(deadline=None, max_examples=150)
def test_at_weight_one_it_is_hotcocos_number(scene):
    truth, detections = documents(scene)
    theirs = evaluate(truth, detections, classes=CLASSES)
    table = prepare(truth, detections, classes=CLASSES)
    for metric in ("AP", "AP50", "AP75"):
        same(average_precision(table, metric=metric).overall(metric)[0], theirs.summary[metric])
    for kind, value in zip(CLASSES, average_precision(table).per_class()[0], strict=True):
        same(value, theirs.per_class[kind])


@given(scenes(tied=False), st.data())
@settings(deadline=None, max_examples=150)
def test_a_whole_weight_is_that_many_copies_of_the_image(scene, data):
    weights = data.draw(st.lists(st.integers(0, 3), min_size=len(scene), max_size=len(scene)))
    truth, detections = documents(scene)
    table = prepare(truth, detections, classes=CLASSES)
    weighted = average_precision(table, np.array([weights, np.ones(len(scene))]))
    copies = documents([one for one, w in zip(scene, weights, strict=True) for _ in range(w)])
    theirs = evaluate(*copies, classes=CLASSES)
    for metric in ("AP", "AP50", "AP75"):
        same(weighted.overall(metric)[0], theirs.summary[metric])
    for kind, value in zip(CLASSES, weighted.per_class()[0], strict=True):
        same(value, theirs.per_class[kind])


@given(scenes(tied=True), st.sampled_from([0.25, 2.0, 64.0]))
@settings(deadline=None, max_examples=40)
def test_only_the_proportions_of_weights_matter(scene, factor):
    table = prepare(*documents(scene), classes=CLASSES)
    weights = np.linspace(1.0, 2.0, len(scene))[None, :]
    once = average_precision(table, weights).overall()
    np.testing.assert_allclose(once, average_precision(table, weights * factor).overall())


@pytest.mark.skipif(not COCO.is_dir(), reason="the public evaluation fixtures are not here")
def test_the_published_number_with_crowds():
    truth = json.loads((COCO / "instances_val2014_100.json").read_bytes())
    rows = json.loads((COCO / "instances_val2014_fakebbox100_results.json").read_bytes())
    kinds = {c["id"]: k for k, c in enumerate(truth["categories"])}
    known = {f"{i['id']:012d}": [] for i in truth["images"]}
    found = {key: [] for key in known}
    for row in truth["annotations"]:
        one = Label(kinds[row["category_id"]], tuple(row["bbox"]), bool(row["iscrowd"]))
        known[f"{row['image_id']:012d}"].append(one)
    for row in rows:
        one = Detection(kinds[row["category_id"]], tuple(row["bbox"]), row["score"])
        found[f"{row['image_id']:012d}"].append(one)
    names = [c["name"] for c in truth["categories"]]
    table = prepare(known, found, classes=names)
    assert average_precision(table).overall()[0] == pytest.approx(0.504580699, abs=1e-9)
    theirs = evaluate(known, found, classes=names)
    assert average_precision(table).overall()[0] == pytest.approx(theirs.summary["AP"], abs=1e-12)
    draws = Resample.draw(100, np.random.default_rng(0), draws=300).weights
    made = bootstrap(table, draws)
    low, high = made.interval()
    assert low < made.value < high
    assert 0.005 < made.sd < 0.05


def test_more_than_a_hundred_detections_are_cut_as_in_coco():
    noise = [Detection(0, FAR, 0.9) for _ in range(100)]
    last = Detection(0, BOX, 0.5)
    table = prepare({"a": [Label(0, BOX)]}, {"a": [*noise, last]}, classes=CLASSES)
    assert average_precision(table).overall()[0] == 0.0


def world(images, *, seed, hit=0.7):
    """Images of one or two cups, found with some chance, and false alarms."""
    rng = np.random.default_rng(seed)
    truth, found = {}, {}
    for k in range(images):
        boxes = [BOX, FAR][: int(rng.integers(1, 3))]
        seen = [Detection(0, b, float(rng.beta(4, 2))) for b in boxes if rng.random() < hit]
        alarm = Detection(0, (100, 0, 40, 40), float(rng.beta(2, 4)))
        alarms = [alarm] * int(rng.integers(0, 2))
        truth[f"{k:05d}"], found[f"{k:05d}"] = [Label(0, b) for b in boxes], [*seen, *alarms]
    return truth, found


def test_a_paired_comparison_is_far_sharper_than_two_intervals():
    truth, found = world(200, seed=0)
    better = {k: [d for d in rows if d.box[0] != 100 or d.score < 0.3] for k, rows in found.items()}
    first, second = (prepare(truth, rows, classes=CLASSES) for rows in (found, better))
    draws = Resample.draw(200, np.random.default_rng(1), draws=1_000).weights
    gain = compare(first, second, draws, metric="AP50")
    alone = [bootstrap(one, draws, metric="AP50") for one in (first, second)]
    assert gain.value == pytest.approx(alone[1].value - alone[0].value)
    assert 0 < gain.interval()[0] < gain.value < gain.interval()[1]
    assert gain.sd < 0.7 * min(one.sd for one in alone)
    same_twice = compare(first, first, draws)
    assert (same_twice.value, same_twice.sd) == (0.0, 0.0)


def test_tables_of_other_images_or_labels_are_not_compared():
    truth, found = world(5, seed=0)
    table = prepare(truth, found, classes=CLASSES)
    draws = Resample.draw(5, np.random.default_rng(0), draws=5).weights
    with pytest.raises(InputError, match="different images"):
        compare(table, prepare({"x": []}, {}, classes=CLASSES), draws)
    with pytest.raises(InputError, match="different labels"):
        compare(table, prepare(truth | {"00000": []}, found, classes=CLASSES), draws)


@pytest.mark.parametrize("weights", [[1.0, 1.0], [[1.0]], [[1.0, -1.0]], [[1.0, float("nan")]]])
def test_odd_weights_are_refused(weights):
    table = prepare({"a": [], "b": []}, {}, classes=CLASSES)
    with pytest.raises(InputError, match="image weights"):
        average_precision(table, np.array(weights))


def test_nothing_at_all_is_undefined_and_has_no_draws():
    table = prepare({"a": []}, {"a": [Detection(0, BOX, 0.5)]}, classes=CLASSES)
    assert np.isnan(average_precision(table).overall()[0])
    made = bootstrap(table, np.ones((3, 1)))
    assert np.isnan(made.value)
    assert len(made.drawn) == 0
    assert np.isnan(made.lower(0.05))


def test_groups_are_drawn_whole():
    scenes = ["a", "a", None, "b", None, "b", "b"]
    weights = Resample.draw(7, np.random.default_rng(0), draws=200, groups=scenes).weights
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, [3, 3]] == weights[:, [5, 6]]).all()
    assert (weights[:, 2] != weights[:, 4]).any()
    assert (weights[:, [0, 2, 3, 4]].sum(axis=1) == 4).all()


def test_scenes_of_like_images_are_less_certain_than_as_many_single_images():
    truth, found = world(40, seed=2)
    copies = {f"{key}-{n}": key for key in truth for n in range(5)}
    table = prepare(
        {key: truth[old] for key, old in copies.items()},
        {key: found[old] for key, old in copies.items()},
        classes=CLASSES,
    )
    scenes = [key[:5] for key in table.images]
    single = Resample.draw(200, np.random.default_rng(0), draws=500).weights
    whole = Resample.draw(200, np.random.default_rng(0), draws=500, groups=scenes).weights
    assert bootstrap(table, whole).sd > 1.7 * bootstrap(table, single).sd


def test_a_bound_is_of_the_draws_about_their_mean_moved_to_what_endless_images_would_give():
    drawn = np.linspace(0.4, 0.6, 1001)
    assert Uncertain(0.5, drawn).lower(0.05) == pytest.approx(0.41)
    # The draws lie 0.1 above the value, as it lies above what it stands for.
    moved = Uncertain(0.4, drawn, bias=0.05)
    assert moved.lower(0.05) == pytest.approx(0.26)
    assert moved.interval(0.9) == pytest.approx((0.26, 0.44))
    assert Uncertain(0.05, drawn).interval()[0] == 0.0
    assert Uncertain(0.0, drawn, least=-1.0).interval() == pytest.approx((-0.095, 0.095))


def test_the_bias_of_interpolated_ap_is_seen_in_halves():
    truth, found = world(3_000, seed=5)
    rng = np.random.default_rng(1)
    # Scores that say nothing of right and wrong make precision wander, and its best is taken.
    found = {
        key: [Detection(d.class_id, d.box, float(rng.random())) for d in rows]
        for key, rows in found.items()
    }
    everyone = prepare(truth, found, classes=CLASSES)
    real = average_precision(everyone, metric="AP50").overall("AP50")[0]
    above, seen = [], []
    for _ in range(150):
        chosen = rng.choice(sorted(truth), 60, replace=False)
        few = prepare({k: truth[k] for k in chosen}, {k: found[k] for k in chosen}, classes=CLASSES)
        draws = Resample.draw(60, rng, draws=100).weights
        made = bootstrap(few, draws, metric="AP50", halves=split_in_halves(60, rng))
        assert 0.0 <= made.bias <= made.sd
        above.append(made.value - real)
        seen.append(made.bias)
    assert np.mean(above) > 0.008
    assert np.mean(seen) == pytest.approx(np.mean(above), abs=3 * np.std(above) / np.sqrt(150))


def test_halves_are_complements_and_keep_groups_whole():
    scenes = ["a", "a", None, "b", None, "b"]
    halves = split_in_halves(6, np.random.default_rng(0), groups=scenes, pairs=7)
    assert halves.shape == (14, 6)
    assert (halves[0::2] + halves[1::2] == 1).all()
    assert (halves[:, 0] == halves[:, 1]).all()
    assert (halves[:, 3] == halves[:, 5]).all()
    assert split_in_halves(0, np.random.default_rng(0)).shape == (100, 0)


def test_the_lower_bound_holds_about_as_often_as_it_says():
    truth, found = world(4_000, seed=9)
    everyone = prepare(truth, found, classes=CLASSES)
    real = average_precision(everyone, metric="AP50").overall("AP50")[0]
    rng = np.random.default_rng(3)
    held = []
    for _ in range(120):
        chosen = rng.choice(sorted(truth), 100, replace=False)
        few = prepare({k: truth[k] for k in chosen}, {k: found[k] for k in chosen}, classes=CLASSES)
        draws = Resample.draw(100, rng, draws=400).weights
        held.append(bootstrap(few, draws, metric="AP50").lower(0.05) <= real)
    assert 0.88 <= np.mean(held) <= 1.0  # 95 % ± 2 % noise of 120 runs, and what B3 measured
