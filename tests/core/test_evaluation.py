import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.evaluation import SUMMARY, coco_metrics, evaluate, operating_point, per_image
from annoloop.errors import InputError
from annoloop.records import Detection, ImageResult, Label

FIXTURES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "eval_fixtures"
needs_fixtures = pytest.mark.skipif(
    not FIXTURES.is_dir(), reason="the public evaluation fixtures are not on this machine"
)

COCO = FIXTURES / "cocoapi_fakebbox100"
COCO_FILES = (
    COCO / "instances_val2014_100.json",
    COCO / "instances_val2014_fakebbox100_results.json",
)
TINY = FIXTURES / "faster_coco_eval_tiny"
TINY_FILES = TINY / "gt_dataset.json", TINY / "dt_dataset.json"
VOC = FIXTURES / "padilla_formats_voc100"


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def records(truth, detections):
    """COCO documents as our records, sample ids in the order of the image ids."""
    position = {row["id"]: k for k, row in enumerate(truth["categories"])}
    classes = [row["name"] for row in truth["categories"]]
    labels = {f"{row['id']:012d}": [] for row in truth["images"]}
    found = {sample: [] for sample in labels}
    for row in truth["annotations"]:
        label = Label(position[row["category_id"]], tuple(row["bbox"]), bool(row["iscrowd"]))
        labels[f"{row['image_id']:012d}"].append(label)
    for row in detections:
        one = Detection(position[row["category_id"]], tuple(row["bbox"]), row["score"])
        found[f"{row['image_id']:012d}"].append(one)
    return labels, found, classes


def voc_documents():
    """Detections of another data set's ids, mapped by file name and class name."""
    truth = read(VOC / "gts" / "coco_format_v1" / "instances_default.json")
    theirs = read(VOC / "dets" / "coco_format" / "coco_dets.json")
    images = {row["file_name"]: row["id"] for row in truth["images"]}
    names = {row["name"]: row["id"] for row in truth["categories"]}
    image = {row["id"]: images[row["file_name"]] for row in theirs["images"]}
    category = {row["id"]: names[row["name"]] for row in theirs["categories"]}
    detections = [
        {
            "image_id": image[row["image_id"]],
            "category_id": category[row["category_id"]],
            "bbox": row["bbox"],
            "score": row["score"],
        }
        for row in theirs["annotations"]
    ]
    return truth, detections


def minus_one(value):
    return -1.0 if value is None else value


def assert_expected(metrics, folder):
    expected = read(folder / "expected.json")
    assert tuple(metrics.summary) == SUMMARY
    for name, value in expected["summary"].items():
        assert minus_one(metrics.summary[name]) == pytest.approx(value, abs=1e-6), name
    for name, (ap, _) in expected["per_class_AP_AP50"].items():
        assert minus_one(metrics.per_class[name]) == pytest.approx(minus_one(ap), abs=1e-6), name
    counts = (metrics.images, metrics.boxes, metrics.detections)
    assert counts == (expected["images"], expected["gt_boxes"], expected["detections"])


@needs_fixtures
@pytest.mark.parametrize("files", [COCO_FILES, TINY_FILES], ids=["cocoapi", "tiny"])
def test_published_numbers(files, capfd):
    truth, detections = map(read, files)
    assert_expected(coco_metrics(truth, detections), files[0].parent)
    assert capfd.readouterr() == ("", "")


@needs_fixtures
def test_published_numbers_of_voc_boxes_by_both_ways():
    truth, detections = voc_documents()
    assert_expected(coco_metrics(truth, detections), VOC)
    labels, found, classes = records(truth, detections)
    assert_expected(evaluate(labels, found, classes=classes), VOC)


@needs_fixtures
def test_records_give_the_numbers_of_the_documents():
    truth, detections = map(read, COCO_FILES)
    labels, found, classes = records(truth, detections)
    ours, theirs = evaluate(labels, found, classes=classes), coco_metrics(truth, detections)
    # The file's object sizes are those of the masks, ours those of the boxes.
    for name in ("AP", "AP50", "AP75", "AR1", "AR10", "AR100"):
        assert ours.summary[name] == theirs.summary[name]
    assert ours.per_class == theirs.per_class
    assert (ours.images, ours.boxes, ours.detections) == (100, 839, 734)


BOX, FAR = (0.0, 0.0, 50.0, 50.0), (200.0, 200.0, 50.0, 50.0)


def ap50(truth, detections, classes=("cup", "mug")):
    return evaluate({"a": truth}, {"a": detections}, classes=classes).summary["AP50"]


def test_classes_never_predicted_count_and_classes_without_truth_do_not():
    truth = {"a": [Label(0, BOX), Label(1, FAR)], "b": []}
    detections = {"a": [Detection(0, BOX, 0.9), Detection(2, FAR, 0.8)]}
    metrics = evaluate(truth, detections, classes=["cup", "mug", "jug"])
    assert metrics.per_class == {"cup": pytest.approx(1.0), "mug": 0.0, "jug": None}
    assert metrics.summary["AP"] == pytest.approx(0.5)
    assert (metrics.images, metrics.boxes, metrics.detections) == (2, 2, 2)


def test_nothing_at_all_is_undefined_not_zero():
    metrics = evaluate({}, {}, classes=["cup"])
    assert set(metrics.summary.values()) == {None}
    assert metrics.per_class == {"cup": None}
    assert evaluate({"a": [], "b": []}, {}, classes=["cup"]).summary["AP"] is None


def test_false_alarms_on_images_without_truth_cost():
    truth = {"a": [Label(0, BOX)], "b": []}
    hit, alarm = Detection(0, BOX, 0.5), Detection(0, BOX, 0.9)
    metrics = evaluate(truth, {"a": [hit], "b": [alarm]}, classes=["cup"])
    assert metrics.summary["AP50"] == pytest.approx(0.5)


def test_any_number_of_detections_on_a_difficult_box_is_neither_right_nor_wrong():
    truth = [Label(0, BOX), Label(0, FAR, difficult=True)]
    near = (202.0, 200.0, 50.0, 50.0)
    assert ap50(truth, [Detection(0, BOX, 0.5)]) == pytest.approx(1.0)
    thrice = [Detection(0, FAR, 0.9), Detection(0, near, 0.8), Detection(0, FAR, 0.7)]
    assert ap50(truth, [*thrice, Detection(0, BOX, 0.5)]) == pytest.approx(1.0)


def test_a_difficult_box_is_matched_by_iou_a_crowd_by_the_detections_own_area():
    speck = Detection(0, (200.0, 200.0, 10.0, 10.0), 0.9)
    for flag, expected in (("difficult", 0.5), ("crowd", 1.0)):
        truth = [Label(0, BOX), Label(0, FAR, **{flag: True})]
        assert ap50(truth, [speck, Detection(0, BOX, 0.5)]) == pytest.approx(expected)


def test_a_difficult_box_of_another_class_excuses_nothing():
    truth = [Label(0, BOX), Label(1, FAR, difficult=True)]
    assert ap50(truth, [Detection(0, FAR, 0.9), Detection(0, BOX, 0.5)]) == pytest.approx(0.5)


def test_at_most_a_hundred_detections_an_image_and_class_count():
    noise = [Detection(0, FAR, 0.9) for _ in range(100)]
    assert ap50([Label(0, BOX)], [*noise, Detection(0, BOX, 0.5)]) == 0.0


@pytest.mark.parametrize(
    ("label", "detection", "what"),
    [
        (Label(2, BOX), Detection(0, BOX, 0.5), "a label of sample 'a' has class 2"),
        (Label(0, BOX), Detection(-1, BOX, 0.5), "a detection of sample 'a' has class -1"),
        (Label(0, BOX), Detection(0, BOX, float("nan")), "a detection of sample 'a'"),
        (Label(0, (0, 0, float("inf"), 1)), Detection(0, BOX, 0.5), "a label of sample 'a'"),
    ],
)
def test_nonsense_is_refused_by_name(label, detection, what):
    with pytest.raises(InputError, match=what):
        ap50([label], [detection])


def test_detections_of_unknown_images_are_refused():
    stray = {"b": [Detection(0, BOX, 0.5)]}
    with pytest.raises(InputError, match="'b'"):
        evaluate({"a": []}, stray, classes=["cup"])
    with pytest.raises(InputError, match="'b'"):
        per_image({"a": []}, stray, min_score=0.0)
    with pytest.raises(InputError, match="'b'"):
        operating_point({"a": []}, stray)


GOOD = {
    "images": [{"id": 1}],
    "categories": [{"id": 1, "name": "cup"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5]}],
}
RESULT = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "score": 0.5}
TWICE = [{"id": 1, "name": "cup"}, {"id": 2, "name": "cup"}]


@pytest.mark.parametrize(
    ("truth", "detections", "what"),
    [
        ({}, [], "'images': not a list of objects"),
        ([], [], "'images': not a list of objects"),
        ({**GOOD, "categories": [3]}, [], "'categories': not a list of objects"),
        ({**GOOD, "categories": TWICE}, [], "twice"),
        (
            {**GOOD, "annotations": [{**RESULT, "bbox": None}]},
            [],
            r"annotations\[0\]: bbox is None",
        ),
        ({**GOOD, "images": [{"id": [1]}]}, [], r"images\[0\]: id is \[1\]"),
        ({**GOOD, "images": [{"id": 1}, {"id": 1}]}, [], "id 1 occurs twice"),
        ({**GOOD, "images": [{"id": "one"}]}, [], r"annotations\[0\]: image 1"),
        ({**GOOD, "annotations": [{**RESULT, "area": "big"}]}, [], r"annotations\[0\]: area"),
        (GOOD, [{**RESULT, "image_id": [1]}], r"detections\[0\]: image \[1\]"),
        (GOOD, {"annotations": []}, "the detections: not a list"),
        (GOOD, [7], "the detections: not a list"),
        (GOOD, [RESULT, {**RESULT, "image_id": 2}], r"detections\[1\]: image 2"),
        (GOOD, [{**RESULT, "category_id": 0}], "category 0"),
        (GOOD, [{**RESULT, "bbox": [0, 0, 5, float("nan")]}], r"detections\[0\]: bbox"),
        (GOOD, [{**RESULT, "bbox": [0, 0, 5]}], r"detections\[0\]: bbox"),
        (GOOD, [{k: v for k, v in RESULT.items() if k != "score"}], r"detections\[0\]: score"),
    ],
)
def test_documents_that_are_not_coco_are_refused_by_row(truth, detections, what):
    with pytest.raises(InputError, match=what):
        coco_metrics(truth, detections)


def test_a_document_without_detections_has_ap_zero():
    assert coco_metrics(GOOD, []).summary["AP"] == 0.0
    assert coco_metrics(GOOD, [RESULT]).per_class == {"cup": pytest.approx(1.0)}


def test_images_are_counted_at_a_threshold():
    truth = {"b": [Label(0, BOX), Label(1, FAR)], "a": [], "c": [Label(0, FAR, crowd=True)]}
    detections = {
        "b": [Detection(0, BOX, 0.9), Detection(0, BOX, 0.5), Detection(1, FAR, 0.2)],
        "c": [Detection(0, FAR, 0.9)],
    }
    assert per_image(truth, detections, min_score=0.5) == (
        ImageResult("a", tp=0, fp=0, fn=0),
        ImageResult("b", tp=1, fp=1, fn=1),
        ImageResult("c", tp=0, fp=0, fn=0),
    )
    assert per_image(truth, detections, min_score=0.2)[1] == ImageResult("b", tp=2, fp=1, fn=0)


def test_the_operating_point_has_the_best_f1():
    truth = {"a": [Label(0, BOX), Label(1, FAR)], "b": [Label(0, BOX)]}
    detections = {
        "a": [Detection(0, BOX, 0.9), Detection(0, FAR, 0.8), Detection(1, FAR, 0.6)],
        "b": [Detection(1, BOX, 0.4), Detection(1, FAR, 0.3)],
    }
    # F1 at 0.9, 0.8, 0.6, 0.4, 0.3: 2/4, 2/5, 4/6, 4/7, 4/8
    assert operating_point(truth, detections) == 0.6


def test_of_equal_f1_the_higher_threshold_wins():
    truth = {"a": [Label(0, BOX), Label(0, FAR)]}
    # F1 is 2/3 at 0.9 and, after two false alarms and a hit, 4/6 at 0.2.
    wrong = [Detection(1, BOX, 0.7), Detection(1, BOX, 0.6)]
    detections = {"a": [Detection(0, BOX, 0.9), *wrong, Detection(0, FAR, 0.2)]}
    assert operating_point(truth, detections) == 0.9


def test_equal_scores_pass_the_threshold_together():
    truth = {"a": [Label(0, BOX)], "b": []}
    detections = {"a": [Detection(0, BOX, 0.5)], "b": [Detection(0, BOX, 0.5)]}
    assert operating_point(truth, detections) == 0.5


@pytest.mark.parametrize(
    ("truth", "detections"),
    [
        ({}, {}),
        ({"a": []}, {"a": [Detection(0, BOX, 0.9)]}),
        ({"a": [Label(0, BOX)]}, {}),
        ({"a": [Label(0, BOX)]}, {"a": [Detection(0, FAR, 0.9)]}),
        ({"a": [Label(0, BOX, difficult=True)]}, {"a": [Detection(0, BOX, 0.9)]}),
    ],
)
def test_without_a_match_the_operating_point_is_the_middle(truth, detections):
    assert operating_point(truth, detections) == 0.5


places = st.tuples(
    st.integers(0, 4).map(lambda x: 6.0 * x),
    st.integers(0, 4).map(lambda y: 6.0 * y),
    st.just(20.0),
    st.sampled_from([10.0, 20.0]),
)
labels = st.lists(
    st.builds(
        Label,
        class_id=st.integers(0, 1),
        box=places,
        crowd=st.sampled_from([False, False, True]),
        difficult=st.sampled_from([False, False, True]),
    ),
    max_size=4,
)
found = st.lists(
    st.builds(
        Detection,
        class_id=st.integers(0, 1),
        box=places,
        score=st.sampled_from([0.1, 0.3, 0.3, 0.5, 0.7, 0.9]),
    ),
    max_size=6,
)
scenes = st.lists(st.tuples(labels, found), max_size=3)


@given(scenes, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=80)
def test_the_operating_point_beats_every_threshold_and_the_order_does_not_matter(scene, random):
    truth = {f"s{k}": t for k, (t, _) in enumerate(scene)}
    detections = {f"s{k}": d for k, (_, d) in enumerate(scene)}

    def f1(threshold):
        counts = per_image(truth, detections, min_score=threshold)
        tp, fp, fn = (sum(getattr(c, name) for c in counts) for name in ("tp", "fp", "fn"))
        return 2 * tp / max(2 * tp + fp + fn, 1)

    chosen = operating_point(truth, detections)
    scores = {d.score for rows in detections.values() for d in rows}
    assert all(f1(chosen) >= f1(score) for score in scores if f1(score) > 0)
    assert all(f1(chosen) > f1(score) for score in scores if score > chosen and f1(score) > 0)
    mixed_truth = {k: random.sample(rows, len(rows)) for k, rows in truth.items()}
    mixed = {k: random.sample(rows, len(rows)) for k, rows in detections.items()}
    assert operating_point(mixed_truth, mixed) == chosen
    assert per_image(mixed_truth, mixed, min_score=0.3) == per_image(
        truth, detections, min_score=0.3
    )
    for image in per_image(truth, detections, min_score=0.3):
        assert image.tp + image.fn == sum(not t.ignored for t in truth[image.sample_id])


def hotcoco_alone(truth, detections, classes):
    """The same images as documents, by hotcoco's own calls."""
    import hotcoco

    known = hotcoco.COCO(
        {
            "images": [{"id": k} for k in range(len(truth))],
            "categories": [{"id": k, "name": name} for k, name in enumerate(classes)],
            "annotations": truth_rows(truth),
        }
    )
    evaluator = hotcoco.COCOeval(known, known.load_res(result_rows(detections)), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summary_lines()
    return evaluator.stats


def truth_rows(truth):
    rows = ((image, t) for image, sample in enumerate(sorted(truth)) for t in truth[sample])
    return [
        {"id": k, "image_id": image, "category_id": t.class_id, "bbox": t.box, "iscrowd": 0}
        | {"area": t.box[2] * t.box[3]}
        for k, (image, t) in enumerate(rows)
    ]


def result_rows(detections):
    return [
        {"image_id": image, "category_id": d.class_id, "bbox": d.box, "score": d.score}
        for image, sample in enumerate(sorted(detections))
        for d in detections[sample]
    ]


def crowd_of_images(images, rng, *, boxes=7, detections=20, classes=80):
    truth, found = {}, {}
    for k in range(images):
        corner = rng.uniform(0, 500, (detections, 2))
        place = np.hstack([corner, rng.uniform(10, 140, (detections, 2))])
        shifted = place + rng.normal(0, 3, place.shape)
        kinds, scores = rng.integers(0, classes, detections).tolist(), rng.random(detections)
        rows = zip(kinds, place.tolist(), shifted.tolist(), scores.tolist(), strict=True)
        rows = [(kind, tuple(a), tuple(b), score) for kind, a, b, score in rows]
        truth[f"{k:06d}"] = [Label(kind, a) for kind, a, _, _ in rows[:boxes]]
        found[f"{k:06d}"] = [Detection(kind, b, score) for kind, _, b, score in rows]
    return truth, found, [str(k) for k in range(classes)]


def test_many_images_give_hotcocos_own_numbers():
    truth, found, classes = crowd_of_images(60, np.random.default_rng(1))
    ours = evaluate(truth, found, classes=classes).summary
    theirs = hotcoco_alone(truth, found, classes)
    assert [minus_one(ours[name]) for name in SUMMARY] == list(theirs)


@pytest.mark.long
def test_records_cost_at_most_twice_hotcoco_alone():
    truth, found, classes = crowd_of_images(5_000, np.random.default_rng(1))

    def best_of_three(run):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return min(times)

    alone = best_of_three(lambda: hotcoco_alone(truth, found, classes))
    ours = best_of_three(lambda: evaluate(truth, found, classes=classes))
    assert ours < 2 * alone
