"""The verdict: what decides it, and what people are told to do."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from annoloop.core.agreement import DEFAULT_RULE
from annoloop.core.control import LookPlan
from annoloop.core.disputes import disputes
from annoloop.core.golden_check import GoldenPasses, Terms, check
from annoloop.core.simulated import Habits, annotate, annotate_by, draw_reference
from annoloop.errors import InputError
from annoloop.records import GoldenVerdict, Label

CLASSES = [f"class {k}" for k in range(8)]
SEVEN = 7


@pytest.fixture(scope="module")
def world():
    """60 golden images and three passes of good annotators."""
    rng = np.random.default_rng(SEVEN)
    reference = draw_reference(60, 5.0, classes=8, rng=rng)
    return reference, [annotate(reference, Habits(), classes=8, rng=rng) for _ in range(3)]


def people(world, habits, seed=1):
    return annotate(world[0], habits, classes=8, rng=np.random.default_rng(seed))


def judged(world, new, *, terms=None, **more):
    reference, baselines = world
    passes = GoldenPasses(**{"reference": reference, "baselines": baselines, "new": new, **more})
    return check(passes, classes=CLASSES, terms=terms or Terms(), rng=np.random.default_rng(0))


def test_good_people_pass(world):
    found = judged(world, people(world, Habits()))
    assert found.verdict is GoldenVerdict.PASS
    assert found.action == "proceed"
    assert found.changed == ()
    assert (found.images_compared, found.tested, found.passes) == (60, 60, 3)
    assert found.agreement.f1 > 0.9
    assert {one.alpha for one in found.errors.values()} == {0.001, 0.0005}


@pytest.mark.parametrize(
    ("habits", "kind", "action"),
    [
        (Habits(miss=0.2), "missed", "retrain people"),
        (Habits(spurious=0.15), "spurious", "retrain people"),
        (Habits(relabel=(0, 1, 0.6)), "class", "fix the guideline"),
        (Habits(grow=1.15), "location", "fix the guideline"),
        (Habits(edge=0.08), "location", "retrain people"),
    ],
)
def test_each_error_type_fails_alone(world, habits, kind, action):
    found = judged(world, people(world, habits))
    assert found.verdict is GoldenVerdict.FAIL
    assert [name for name, one in found.errors.items() if one.failed] == [kind]
    one = found.errors[kind]
    assert one.p_value <= one.alpha
    assert one.interval[0] <= one.rate <= one.interval[1]
    assert found.action == action
    assert found.changed
    assert found.images[0].image in world[0]


def test_finding_more_boxes_is_no_worse_placement(world):
    reference, _ = world
    rng = np.random.default_rng(0)
    careless = [annotate(reference, Habits(miss=0.3), classes=8, rng=rng) for _ in range(3)]
    found = judged((reference, careless), people(world, Habits(miss=0.0)))
    assert found.errors["location"].p_value > 0.01
    assert found.verdict is not GoldenVerdict.FAIL


def test_the_json_is_what_is_promised(world):
    found = judged(world, people(world, Habits(miss=0.2)), terms=Terms(look=4))
    document = json.loads(json.dumps(asdict(found), allow_nan=False))
    assert document["verdict"] == "fail"
    assert set(document["errors"]) == {"missed", "spurious", "class", "location"}
    for one in document["errors"].values():
        assert {"count", "rate", "interval", "p_value", "alpha"} <= set(one)
    for one in document["features"]:
        assert {"name", "p_adjusted", "effect", "interval"} <= set(one)
    assert {"f1", "precision", "recall", "per_class"} <= set(document["agreement"])
    assert (document["look"], document["looks"]) == (4, 20)


def test_the_plan_cannot_be_overdrawn(world):
    with pytest.raises(InputError, match="budget is spent"):
        judged(world, people(world, Habits()), terms=Terms(LookPlan(looks=3), look=4))


def test_two_passes_are_only_compared_with_a_tolerance(world):
    reference, baselines = world
    for habits, verdict in ((Habits(), "warn"), (Habits(0.0, 0.0, 0.0), "pass")):
        found = judged(world, people(world, habits), baselines=baselines[:2])
        assert found.verdict == verdict
        assert {one.p_value for one in found.errors.values()} == {None}
        assert "2 earlier passes, a test needs 3" in found.reason
        assert found.tested == 0
    terrible = judged((reference, []), {sample: [] for sample in reference})
    assert terrible.verdict is GoldenVerdict.WARN
    assert terrible.agreement.recall == 0.0


def test_few_images_are_insufficient(world):
    few = {sample: labels for sample, labels in people(world, Habits()).items() if "0000" in sample}
    found = judged(world, few)
    assert found.verdict is GoldenVerdict.INSUFFICIENT
    assert found.reason.startswith("at least 10 images")
    assert found.action == "label more golden images"
    assert judged(world, {}).verdict is GoldenVerdict.INSUFFICIENT
    json.dumps(asdict(judged(world, {})), allow_nan=False)


def test_few_boxes_are_insufficient():
    reference = {f"i{k:02d}": [Label(0, (0.0, 0.0, 50.0, 50.0))] for k in range(20)}
    found = judged((reference, [reference] * 3), reference)
    assert found.verdict is GoldenVerdict.INSUFFICIENT
    assert "at least 30 images of this kind" in found.reason


def test_a_large_change_on_few_images_warns_that_no_test_was_possible():
    boxes = [Label(0, (100.0 * k, 0.0, 50.0, 50.0)) for k in range(10)]
    reference = {f"i{k:02d}": list(boxes) for k in range(20)}
    new = {**reference, **{f"i{k:02d}": [] for k in range(4)}}
    found = judged((reference, [reference] * 3), new)
    assert found.errors["missed"].p_value == found.errors["missed"].smallest_p == 0.25**4
    assert found.verdict is GoldenVerdict.WARN
    assert "40 errors on 200 reference boxes" in found.reason
    assert "at least 25 images" in found.reason


def test_images_that_lack_a_baseline_are_compared_but_not_tested(world):
    reference, baselines = world
    short = {sample: rows for sample, rows in baselines[0].items() if sample != "image-00007.jpg"}
    found = judged((reference, [short, *baselines[1:]]), people(world, Habits()))
    assert (found.images_compared, found.tested) == (60, 59)
    assert any("fewer than 3 earlier passes" in note for note in found.notes)


def test_a_change_that_is_no_error_only_warns():
    rng = np.random.default_rng(0)
    reference = draw_reference(100, 5.0, classes=8, rng=rng)
    old, new = (Habits(relabel=(0, k, 0.3)) for k in (1, 2))
    baselines = [annotate(reference, old, classes=8, rng=rng) for _ in range(3)]
    found = judged((reference, baselines), annotate(reference, new, classes=8, rng=rng))
    assert found.verdict is GoldenVerdict.WARN
    assert "count of class 1 changed" in found.reason
    assert "count of class 2 changed" in found.reason
    assert found.action == "fix the guideline"
    assert "class 0 answered as class 2" in found.advice


def test_slow_drift_only_warns(world):
    since = [people(world, Habits(miss=0.09), seed=k) for k in range(2, 7)]
    slow = judged(world, people(world, Habits(miss=0.06), seed=9), since=since, terms=Terms(look=6))
    assert slow.verdict is GoldenVerdict.WARN
    assert slow.cusum["missed"].alarm is not None
    assert len(slow.cusum["missed"].path) == 6
    assert "missed boxes have been rising" in slow.reason


def test_the_careless_one_is_named(world):
    reference, _ = world
    habits = {"ann": Habits(), "bob": Habits(), "eve": Habits(miss=0.5)}
    labels, who = annotate_by(reference, habits, classes=8, rng=np.random.default_rng(0))
    found = judged(world, labels, annotators=who)
    assert found.verdict is GoldenVerdict.FAIL
    assert [one.annotator for one in found.annotators if one.flagged] == ["eve"]
    assert found.action == "retrain people"
    assert "eve" in found.advice


def test_a_wrong_reference_is_adjudicated(world):
    reference, _ = world
    rng = np.random.default_rng(0)
    wrong = {sample: rows[1:] for sample, rows in reference.items()}  # the first box forgotten
    ann, bob = (annotate(reference, Habits(), classes=8, rng=rng) for _ in range(2))
    alone = judged((wrong, []), ann)
    assert alone.verdict is GoldenVerdict.WARN
    assert alone.disputes == ()  # one person against the reference is no dispute
    found = judged((wrong, [bob]), ann)
    assert sum(one.kind == "lacking" for one in found.disputes) > 40
    assert all(one.against == one.passes == 2 for one in found.disputes)
    assert found.action == "adjudicate the reference"
    # Where all passes have it, nothing changed, and the queue is there all the same.
    third, fourth = (annotate(reference, Habits(), classes=8, rng=rng) for _ in range(2))
    usual = judged((wrong, [bob, third, fourth]), ann)
    assert usual.verdict is GoldenVerdict.PASS
    assert "of the reference are disputed" in usual.advice


def test_disputes_of_written_out_passes():
    here, there = (0.0, 0.0, 50.0, 50.0), (200.0, 0.0, 50.0, 50.0)
    reference = {"a": [Label(0, here), Label(1, there)], "b": []}
    agree = {"a": [Label(2, here)], "b": [Label(1, (2.0, 0.0, 50.0, 50.0))]}
    names = {"classes": ["cup", "mug", "jug"], "rule": DEFAULT_RULE}
    found = disputes(reference, [agree, agree, reference], **names)
    assert [(d.image, d.kind, d.reference, d.answer, d.against, d.passes) for d in found] == [
        ("a", "class", "cup", "jug", 2, 3),
        ("a", "extra", "mug", None, 2, 3),
        ("b", "lacking", None, "mug", 2, 3),
    ]
    assert disputes(reference, [agree, reference], **names) == ()
    assert disputes(reference, [agree], **names) == ()


def test_the_same_seed_gives_the_same_report(world):
    new = people(world, Habits(miss=0.08))
    assert asdict(judged(world, new)) == asdict(judged(world, new))
