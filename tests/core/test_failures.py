import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.box_columns import columns
from annoloop.core.evaluation import coco_evaluator, per_image
from annoloop.core.failures import describe, find_failures, high_fn, high_fp, tide_prices
from annoloop.errors import InputError, SettingsError
from annoloop.records import Detection, Failure, FailureType, ImageResult, Label

COCO = Path(__file__).resolve().parents[2].parent / "shared/data/eval_fixtures/cocoapi_fakebbox100"

CUP, MUG = 0, 1
CLASSES = ("cup", "mug")
BOX = (0.0, 0.0, 40.0, 40.0)
HALF = (20.0, 0.0, 40.0, 40.0)  # IoU 1/3 with BOX
FAR = (200.0, 200.0, 40.0, 40.0)


def one_of(truth, detections, **options):
    options = {"min_score": 0.0} | options
    return find_failures({"a": truth}, {"a": detections}, **options)


def kinds(failures):
    return [failure.type.value for failure in failures]


def test_a_perfect_image_has_no_failures():
    assert one_of([Label(CUP, BOX)], [Detection(CUP, BOX, 0.9)]) == ()


def test_missed():
    (failure,) = one_of([Label(MUG, BOX)], [])
    assert failure == Failure("a", FailureType.MISSED, MUG, BOX, truth_class_id=MUG)
    assert describe(failure, CLASSES) == "missed `mug`"


def test_background():
    truth = [Label(CUP, BOX)]
    (failure,) = one_of(truth, [Detection(CUP, BOX, 0.9), Detection(MUG, FAR, 0.8)])
    assert failure == Failure("a", FailureType.BACKGROUND, MUG, FAR, score=0.8)
    assert describe(failure, CLASSES) == "background taken for `mug`"


def test_background_names_the_truth_that_it_grazes():
    graze = (36.0, 0.0, 40.0, 40.0)
    missed, background = one_of([Label(CUP, BOX)], [Detection(MUG, graze, 0.8)])
    assert background.truth_class_id == CUP
    assert background.iou == missed.iou == pytest.approx(4 / 76)


def test_class_explains_the_truth_that_it_lies_on():
    (failure,) = one_of([Label(CUP, BOX)], [Detection(MUG, BOX, 0.8)])
    expected = Failure("a", FailureType.CLASS, MUG, BOX, score=0.8, truth_class_id=CUP, iou=1.0)
    assert failure == expected
    assert describe(failure, CLASSES) == "`cup` called `mug`"


def test_location_explains_the_truth_that_it_lies_on():
    (failure,) = one_of([Label(CUP, BOX)], [Detection(CUP, HALF, 0.8)])
    assert (failure.type, failure.class_id, failure.truth_class_id) == (
        FailureType.LOCATION,
        CUP,
        CUP,
    )
    assert failure.iou == pytest.approx(1 / 3)
    assert describe(failure, CLASSES) == "`cup` badly placed"


def test_class_and_location_explain_nothing():
    missed, both = one_of([Label(CUP, BOX)], [Detection(MUG, HALF, 0.8)])
    assert (missed.type, missed.iou) == (FailureType.MISSED, pytest.approx(1 / 3))
    assert (both.type, both.truth_class_id) == (FailureType.CLASS_LOCATION, CUP)
    assert describe(both, CLASSES) == "`cup` badly placed and called `mug`"


def test_duplicate():
    truth = [Label(CUP, BOX)]
    (failure,) = one_of(truth, [Detection(CUP, BOX, 0.8), Detection(CUP, BOX, 0.9)])
    assert (failure.type, failure.score, failure.iou) == (FailureType.DUPLICATE, 0.8, 1.0)
    assert describe(failure, CLASSES) == "`cup` found twice"


def test_order_of_the_rules():
    here, there = Label(CUP, BOX), Label(MUG, HALF)
    found = [Detection(CUP, BOX, 0.9), Detection(MUG, HALF, 0.9)]
    # On the mug (IoU 1) but a third on its own class: location goes before class.
    assert kinds(one_of([here, there], [*found, Detection(CUP, HALF, 0.5)])) == ["location"]
    # On a truth of its class that is taken, and on one of another: class before duplicate.
    both = [here, Label(MUG, BOX)]
    found = [Detection(CUP, BOX, 0.9), Detection(MUG, BOX, 0.9)]
    assert kinds(one_of(both, [*found, Detection(CUP, BOX, 0.5)])) == ["class"]


def test_thresholds_are_half_open():
    truth = [Label(CUP, (0.0, 0.0, 10.0, 10.0))]
    tenth = Detection(CUP, (0.0, 0.0, 2.0, 5.0), 0.9)  # IoU 0.1
    half = Detection(CUP, (0.0, 0.0, 10.0, 5.0), 0.9)  # IoU 0.5
    assert kinds(one_of(truth, [tenth])) == ["location"]
    assert kinds(one_of(truth, [half])) == []
    assert kinds(one_of(truth, [half], fg_iou=0.6)) == ["location"]
    assert kinds(one_of(truth, [tenth], bg_iou=0.2)) == ["missed", "background"]


def test_detections_under_the_threshold_do_not_exist():
    truth = [Label(CUP, BOX)]
    assert kinds(one_of(truth, [Detection(MUG, FAR, 0.49)], min_score=0.5)) == ["missed"]
    assert kinds(one_of(truth, [Detection(CUP, BOX, 0.5)], min_score=0.5)) == []


@pytest.mark.parametrize("flag", ["crowd", "difficult"])
def test_ignored_truth_is_never_missed_and_excuses_its_class(flag):
    truth = [Label(CUP, (0.0, 0.0, 100.0, 100.0), **{flag: True})]
    assert one_of(truth, []) == ()
    assert one_of(truth, [Detection(CUP, BOX, 0.9), Detection(CUP, BOX, 0.8)]) == ()
    assert kinds(one_of(truth, [Detection(MUG, BOX, 0.9)])) == ["background"]
    outside = Detection(CUP, (70.0, 0.0, 70.0, 10.0), 0.9)
    assert kinds(one_of(truth, [outside])) == ["background"]


def test_failures_stand_by_sample_type_class_and_score():
    truth = {"b": [Label(MUG, BOX), Label(CUP, BOX)], "a": [Label(CUP, BOX)], "c": []}
    detections = {
        "b": [Detection(MUG, FAR, 0.3), Detection(MUG, FAR, 0.7), Detection(CUP, FAR, 0.2)],
        "a": [Detection(CUP, FAR, 0.9)],
    }
    failures = find_failures(truth, detections, min_score=0.1)
    assert [(f.sample_id, f.type.value, f.class_id, f.score) for f in failures] == [
        ("a", "missed", CUP, None),
        ("a", "background", CUP, 0.9),
        ("b", "missed", CUP, None),
        ("b", "missed", MUG, None),
        ("b", "background", CUP, 0.2),
        ("b", "background", MUG, 0.7),
        ("b", "background", MUG, 0.3),
    ]


def test_the_price_of_a_type_is_shared_by_its_failures():
    truth = [Label(CUP, BOX), Label(MUG, BOX)]
    prices = {FailureType.MISSED: 0.3, FailureType.BACKGROUND: 0.1}
    failures = one_of(truth, [Detection(CUP, FAR, 0.9)], prices=prices)
    assert [failure.price for failure in failures] == [0.15, 0.15, 0.1]
    duplicate = [Detection(CUP, BOX, 0.9), Detection(CUP, BOX, 0.8)]
    assert [f.price for f in one_of(truth[:1], duplicate, prices=prices)] == [0.0]


def test_prices_of_written_out_errors():
    # The mug is found second; a false cup stands before the true one: AP50 is 0.5 for both.
    truth = {"a": [Label(CUP, BOX), Label(MUG, FAR)]}
    found = {
        "a": [
            Detection(CUP, (400.0, 0.0, 40.0, 40.0), 0.9),
            Detection(CUP, BOX, 0.8),
            Detection(MUG, FAR, 0.7),
        ]
    }
    prices = tide_prices(truth, found, classes=CLASSES)
    assert set(prices) == set(FailureType)
    assert prices[FailureType.BACKGROUND] == pytest.approx(0.25)
    assert sum(prices.values()) == pytest.approx(0.25)


def test_prices_take_difficult_truth_as_an_ignore_region():
    truth = {"a": [Label(CUP, BOX), Label(MUG, FAR, difficult=True)]}
    found = {"a": [Detection(CUP, FAR, 0.9), Detection(CUP, BOX, 0.5)]}
    prices = tide_prices(truth, found, classes=CLASSES)
    assert prices[FailureType.CLASS] == 0.0
    assert prices[FailureType.BACKGROUND] == pytest.approx(0.5)


def test_views_of_the_worst_images():
    results = [
        ImageResult("a", tp=0, fp=2, fn=1),
        ImageResult("c", tp=0, fp=0, fn=3),
        ImageResult("b", tp=9, fp=7, fn=3),
        ImageResult("d", tp=5, fp=0, fn=0),
    ]
    assert high_fn(results) == ("b", "c", "a")
    assert high_fp(results) == ("b", "a")
    assert high_fn(results, top=1) == ("b",)
    assert high_fp([], top=3) == ()


def test_wrong_arguments_are_refused():
    with pytest.raises(SettingsError):
        one_of([], [], bg_iou=0.6)
    with pytest.raises(InputError, match="'b'"):
        find_failures({"a": []}, {"b": [Detection(CUP, BOX, 0.5)]}, min_score=0.0)


places = st.tuples(
    st.integers(0, 5).map(lambda x: 5.0 * x),
    st.integers(0, 5).map(lambda y: 5.0 * y),
    st.sampled_from([10.0, 20.0]),
    st.just(20.0),
)
truths = st.lists(
    st.builds(
        Label,
        class_id=st.integers(0, 2),
        box=places,
        crowd=st.sampled_from([False, False, False, True]),
        difficult=st.sampled_from([False, False, False, True]),
    ),
    max_size=5,
)
found = st.lists(
    st.builds(
        Detection,
        class_id=st.integers(0, 2),
        box=places,
        score=st.sampled_from([0.1, 0.3, 0.3, 0.5, 0.7, 0.9]),
    ),
    max_size=7,
)


@given(truths, found, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=150)
def test_every_wrong_thing_has_one_type_and_the_order_does_not_matter(truth, detections, random):
    failures = one_of(truth, detections, min_score=0.3)
    (image,) = per_image({"a": truth}, {"a": detections}, min_score=0.3)
    wrong = [f for f in failures if f.type is not FailureType.MISSED]
    missed = [f for f in failures if f.type is FailureType.MISSED]
    # Every false positive once, as often as it was predicted; every miss at most once.
    assert len(wrong) == image.fp
    predicted = Counter((d.class_id, d.box, d.score) for d in detections)
    assert Counter((f.class_id, f.box, f.score) for f in wrong) <= predicted
    real = Counter((t.class_id, t.box) for t in truth if not t.ignored)
    assert Counter((f.class_id, f.box) for f in missed) <= real
    assert image.tp + image.fn == real.total()
    explained = {FailureType.LOCATION, FailureType.CLASS}
    assert len(missed) <= image.fn <= len(missed) + sum(f.type in explained for f in wrong)
    mixed = one_of(
        random.sample(truth, len(truth)),
        random.sample(detections, len(detections)),
        min_score=0.3,
    )
    assert mixed == failures


@given(st.lists(truths, min_size=1, max_size=2), st.lists(found, min_size=2, max_size=2))
@settings(deadline=None, max_examples=60)
def test_counts_are_those_of_tide_by_hotcoco(truth_rows, found_rows):
    # Boxes of odd sizes meet no threshold exactly, and no two overlaps or scores are equal:
    # there TIDE's closed intervals and our half-open ones, and all orders, agree.
    truth = {
        f"s{k}": [
            replace(t, box=tuple(side + 0.37 * i for side in t.box), difficult=False)
            for i, t in enumerate(rows)
            if not t.crowd
        ]
        for k, rows in enumerate(truth_rows)
    }
    detections = {
        sample: [
            replace(d, box=tuple(side + 0.19 for side in d.box), score=d.score + 1e-4 * i)
            for i, d in enumerate(rows)
        ]
        for sample, rows in zip(truth, found_rows, strict=False)
    }
    assert_tide_counts(truth, detections, classes=("a", "b", "c"))


def assert_tide_counts(truth, detections, *, classes):
    counts = coco_evaluator(columns(truth, detections, classes=classes)).tide_errors()["counts"]
    names = {"missed": "Miss", "background": "Bkg", "class": "Cls", "location": "Loc"}
    names |= {"class+location": "Both", "duplicate": "Dupe"}
    failures = find_failures(truth, detections, min_score=-1.0)
    ours = Counter(names[failure.type.value] for failure in failures)
    assert ours == {name: count for name, count in counts.items() if count}


@pytest.mark.skipif(not COCO.is_dir(), reason="the public fixtures are not on this machine")
def test_counts_and_prices_of_a_published_case():
    documents = [
        json.loads((COCO / name).read_text(encoding="utf-8"))
        for name in ("instances_val2014_100.json", "instances_val2014_fakebbox100_results.json")
    ]
    position = {row["id"]: k for k, row in enumerate(documents[0]["categories"])}
    classes = [row["name"] for row in documents[0]["categories"]]
    truth = {f"{row['id']:06d}": [] for row in documents[0]["images"]}
    detections = {sample: [] for sample in truth}
    for row in documents[0]["annotations"]:
        label = Label(position[row["category_id"]], tuple(row["bbox"]), bool(row["iscrowd"]))
        truth[f"{row['image_id']:06d}"].append(label)
    for number, row in enumerate(documents[1]):
        score = row["score"] - 1e-9 * number  # pycocotools' order where scores are equal
        one = Detection(position[row["category_id"]], tuple(row["bbox"]), score)
        detections[f"{row['image_id']:06d}"].append(one)
    assert_tide_counts(truth, detections, classes=classes)
    failures = find_failures(
        truth,
        detections,
        min_score=-1.0,
        prices=(prices := tide_prices(truth, detections, classes=classes)),
    )
    for kind, price in prices.items():
        shared = sum(failure.price for failure in failures if failure.type is kind)
        assert shared == pytest.approx(price)
