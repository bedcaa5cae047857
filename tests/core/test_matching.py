import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.matching import (
    covered_by,
    greedy_match,
    iou_matrix,
    match_image,
    refuse_unknown_images,
)
from annoloop.errors import InputError
from annoloop.records import Detection, Label

sides = st.integers(0, 30).map(float)
boxes = st.tuples(sides, sides, sides, sides)


def test_iou_of_written_out_boxes():
    a = [(0, 0, 10, 10), (100, 100, 5, 5)]
    b = [(0, 0, 10, 10), (5, 0, 10, 10), (0, 0, 10, 20), (10, 0, 10, 10), (2, 2, 5, 2)]
    expected = [[1.0, 1 / 3, 0.5, 0.0, 0.1], [0.0] * 5]
    np.testing.assert_allclose(iou_matrix(a, b), expected, rtol=1e-12)


def test_overlap_with_a_crowd_is_over_the_first_box_alone():
    overlap = iou_matrix([(0, 0, 10, 10)], [(5, 0, 100, 100)] * 2, crowd=[True, False])
    assert overlap[0, 0] == 0.5
    assert overlap[0, 1] == pytest.approx(50 / 10_050)


def test_iou_of_nothing_has_a_shape():
    assert iou_matrix([], [(0, 0, 1, 1)]).shape == (0, 1)
    assert iou_matrix(np.empty((2, 4)), []).shape == (2, 0)


@given(st.lists(boxes, max_size=5), st.lists(boxes, max_size=5))
@settings(deadline=None, max_examples=50)
def test_iou_is_a_symmetric_share(a, b):
    overlap = iou_matrix(a, b)
    assert overlap.shape == (len(a), len(b))
    assert ((overlap >= 0) & (overlap <= 1)).all()
    np.testing.assert_array_equal(overlap, iou_matrix(b, a).T)


@given(st.lists(boxes, min_size=1, max_size=5), st.lists(boxes, min_size=1, max_size=5))
@settings(deadline=None, max_examples=50)
def test_iou_equals_hotcoco(a, b):
    from hotcoco import mask

    crowd = [i % 2 == 0 for i in range(len(b))]
    theirs = mask.bbox_iou(np.array(a), np.array(b), np.array(crowd))
    ours = iou_matrix(a, b, crowd=crowd)
    some = ours > 0  # boxes without area are a matter of taste
    np.testing.assert_array_equal(ours[some], theirs[some])


def test_the_first_row_takes_the_best_column_and_the_second_what_is_left():
    overlap = np.array([[0.6, 0.9], [0.55, 0.95], [0.7, 0.8]])
    assert greedy_match(overlap, np.ones((3, 2), dtype=bool)).tolist() == [1, 0, -1]


def test_forbidden_and_low_pairs_do_not_match():
    overlap = np.array([[0.9, 0.49], [0.5, 0.2]])
    allowed = np.array([[False, True], [True, True]])
    assert greedy_match(overlap, allowed).tolist() == [-1, 0]
    assert greedy_match(overlap, allowed, floor=0.6).tolist() == [-1, -1]


def test_of_equal_overlaps_the_later_column_wins():
    assert greedy_match(np.array([[0.7, 0.7]]), np.ones((1, 2), dtype=bool)).tolist() == [1]


def test_matching_follows_the_score_and_keeps_to_the_class():
    truth = [Label(0, (0, 0, 10, 10)), Label(1, (50, 0, 10, 10))]
    detections = [
        Detection(0, (0, 0, 10, 10), 0.3),
        Detection(0, (0, 0, 10, 8), 0.9),
        Detection(0, (50, 0, 10, 10), 0.8),
    ]
    image = match_image(truth, detections)
    assert [d.score for d in image.detections] == [0.9, 0.8, 0.3]
    assert image.match.tolist() == [0, -1, -1]
    assert image.wrong.tolist() == [False, True, True]


@pytest.mark.parametrize("flag", ["crowd", "difficult"])
def test_ignored_truth_absorbs_without_limit_what_it_covers_by_half(flag):
    truth = [Label(0, (0, 0, 100, 100), **{flag: True})]
    detections = [
        Detection(0, (0, 0, 10, 10), 0.9),
        Detection(0, (50, 50, 10, 10), 0.8),
        Detection(0, (95, 0, 10, 10), 0.7),
        Detection(0, (96, 0, 10, 10), 0.6),
        Detection(1, (0, 0, 100, 100), 0.5),
    ]
    image = match_image(truth, detections)
    assert image.truth == ()
    assert image.absorbed.tolist() == [True, True, True, False, False]
    assert image.wrong.tolist() == [False, False, False, True, True]


def test_a_match_comes_before_absorption():
    truth = [Label(0, (0, 0, 10, 10)), Label(0, (0, 0, 100, 100), crowd=True)]
    image = match_image(truth, [Detection(0, (0, 0, 10, 10), 0.9)])
    assert image.match.tolist() == [0]
    assert image.absorbed.tolist() == [False]


def test_covered_by_is_a_share_of_the_box_itself():
    rows = [Label(0, (0, 0, 10, 10)), Label(0, (6, 0, 10, 10))]
    assert covered_by(rows, [Label(1, (0, 0, 10, 50), crowd=True)]).tolist() == [[True], [False]]


def test_detections_of_unknown_images_are_refused():
    with pytest.raises(InputError, match="'b'"):
        refuse_unknown_images({"a": []}, {"c": [], "b": [], "a": []})
