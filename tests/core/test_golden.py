import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.golden import statistics, tolerance_check
from annoloop.errors import InputError
from annoloop.records import GoldenVerdict, Label

CLASSES = ("cup", "mug", "jug", "can", "jar", "pot")
BOX = (0.0, 0.0, 40.0, 40.0)


def test_statistics_of_written_out_answers():
    labels = {
        "a": [Label(1, BOX), Label(1, BOX), Label(4, BOX)],
        "b": [],
        "c": [Label(2, BOX), Label(0, BOX), Label(5, BOX), Label(3, BOX)],
        "d": [],
    }
    found = statistics(labels, 20, classes=CLASSES)
    assert (found.samples, found.samples_with_labels, found.samples_empty) == (20, 2, 2)
    assert found.total_detections == 7
    assert list(found.class_counts.items()) == [
        ("cup", 1), ("mug", 2), ("jug", 1), ("can", 1), ("jar", 1), ("pot", 1),
    ]  # fmt: skip
    # Of the equal ones the first in the schema.
    assert list(found.top_classes.items()) == [
        ("mug", 2), ("cup", 1), ("jug", 1), ("can", 1), ("jar", 1),
    ]  # fmt: skip
    assert found.mean_per_image == 7 / 4
    assert found.empty_share == 0.5


def test_statistics_before_the_first_answer():
    found = statistics({}, 20, classes=CLASSES)
    assert (found.samples, found.samples_with_labels, found.total_detections) == (20, 0, 0)
    assert found.top_classes == {}
    assert (found.mean_per_image, found.empty_share) == (0.0, 0.0)


def test_statistics_refuse_a_class_outside_the_schema():
    with pytest.raises(InputError, match="'a'"):
        statistics({"a": [Label(6, BOX)]}, 1, classes=CLASSES)


def row_of_boxes(count, class_id=0, **flags):
    return [Label(class_id, (100.0 * k, 0.0, 40.0, 40.0), **flags) for k in range(count)]


def images(count, boxes):
    return {f"s{k:02d}": row_of_boxes(boxes) for k in range(count)}


def test_few_images_or_boxes_are_insufficient():
    few = tolerance_check(images(20, 5), images(4, 5))
    assert few.verdict is GoldenVerdict.INSUFFICIENT
    assert few.reason == ("insufficient: 4 blind golden images answered, at least 10 are needed")
    thin = tolerance_check(images(10, 2), images(10, 2))
    assert thin.verdict is GoldenVerdict.INSUFFICIENT
    assert "20 reference boxes" in thin.reason
    assert tolerance_check({}, {}).verdict is GoldenVerdict.INSUFFICIENT


def test_equal_answers_pass():
    check = tolerance_check(images(10, 4), images(10, 4))
    assert check.verdict is GoldenVerdict.PASS
    assert (check.images, check.boxes) == (10, 40)
    assert (check.missed, check.spurious, check.confused) == (0.0, 0.0, 0.0)


def test_errors_are_counted_by_kind_and_never_fail():
    answers = images(10, 4)
    answers["s00"] = answers["s00"][1:]
    answers["s01"] = [*answers["s01"], Label(0, (0.0, 500.0, 40.0, 40.0))]
    answers["s02"] = row_of_boxes(4, class_id=1)
    check = tolerance_check(images(10, 4), answers)
    assert (check.missed, check.spurious, check.confused) == (1 / 40, 1 / 40, 4 / 40)
    assert check.verdict is GoldenVerdict.WARN
    assert "15.0% errors per reference box" in check.reason
    assert tolerance_check(images(10, 4), answers, tolerance=0.15).verdict is GoldenVerdict.PASS
    nothing = {sample: [] for sample in answers}
    assert tolerance_check(images(10, 4), nothing).verdict is GoldenVerdict.WARN


def test_only_samples_with_both_are_compared():
    check = tolerance_check(images(12, 3), {**images(10, 3), "new": row_of_boxes(9)})
    assert (check.verdict, check.images, check.boxes) == (GoldenVerdict.PASS, 10, 30)


def test_a_badly_placed_box_is_missed_and_spurious():
    answers = images(10, 4)
    answers["s00"] = [Label(0, (25.0, 0.0, 40.0, 40.0)), *answers["s00"][1:]]
    check = tolerance_check(images(10, 4), answers)
    assert (check.missed, check.spurious, check.confused) == (1 / 40, 1 / 40, 0.0)
    assert tolerance_check(images(10, 4), answers, iou=0.2).missed == 0.0


@pytest.mark.parametrize("flag", ["crowd", "difficult"])
def test_ignored_boxes_of_either_side_count_for_nothing(flag):
    region = Label(0, (0.0, 0.0, 400.0, 60.0), **{flag: True})
    reference, answers = images(12, 3), images(12, 3)
    reference["s00"], answers["s00"] = [region], row_of_boxes(4, class_id=1)
    reference["s01"], answers["s01"] = row_of_boxes(4), [region]
    reference["s02"], answers["s02"] = [region], []
    check = tolerance_check(reference, answers)
    assert (check.missed, check.spurious, check.confused) == (0.0, 0.0, 0.0)
    assert check.boxes == 9 * 3


def test_place_comes_before_class():
    # Two boxes on one place, classes swapped in order: the class decides between equal overlaps.
    reference = {**images(10, 3), "s00": [Label(0, BOX), Label(1, BOX)]}
    answers = {**images(10, 3), "s00": [Label(1, BOX), Label(0, BOX)]}
    assert tolerance_check(reference, answers).confused == 0.0
    # A better place outweighs the class.
    near = (4.0, 0.0, 40.0, 40.0)
    reference["s00"] = [Label(0, BOX), Label(1, near), Label(2, (500.0, 0.0, 9.0, 9.0))]
    answers["s00"] = [Label(1, BOX), Label(0, near), Label(2, (500.0, 0.0, 9.0, 9.0))]
    assert tolerance_check(reference, answers).confused == pytest.approx(2 / 30)


places = st.tuples(
    st.integers(0, 4).map(lambda x: 4.0 * x),
    st.integers(0, 4).map(lambda y: 4.0 * y),
    st.just(20.0),
    st.sampled_from([16.0, 20.0]),
)


@given(st.lists(places, max_size=5), st.lists(places, max_size=5), st.randoms())
@settings(deadline=None, max_examples=40)
def test_the_order_of_boxes_does_not_matter(first, second, random):
    reference = {"s": [Label(k % 2, box) for k, box in enumerate(first)]}
    answer = {"s": [Label(k % 3, box) for k, box in enumerate(second)]}
    mixed = {"s": random.sample(answer["s"], len(second))}
    one, other = tolerance_check(reference, answer), tolerance_check(reference, mixed)
    assert (one.missed, one.spurious, one.boxes) == (other.missed, other.spurious, other.boxes)


def test_sizes_and_shapes_are_medians_over_all_boxes():
    labels = {"a": [Label(0, (0, 0, 4, 9))], "b": [Label(0, (0, 0, 8, 2)), Label(0, (5, 5, 5, 5))]}
    found = statistics(labels, 2, classes=["cup"])
    assert (found.median_side, found.median_aspect) == (5.0, 1.0)
    assert statistics({}, 2, classes=["cup"]).median_side is None
