import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.matching import iou_matrix
from annoloop.core.regions import (
    DESCRIPTOR,
    SizeRange,
    describe,
    integral_channels,
    propose,
    size_range,
    suppress,
    work_image,
)

ANY_SIZE = SizeRange((4.0, 60.0), (4.0, 60.0))


def scene(*boxes, width=120, height=90, ground=120, ink=230):
    image = np.full((height, width, 3), ground, dtype=np.uint8)
    for x, y, w, h in boxes:
        image[y : y + h, x : x + w] = ink
    return image


def lab_of(image):
    return work_image(image, 256).lab


def test_what_stands_out_is_proposed_closely():
    truth = np.array([(10, 10, 20, 30), (60, 40, 25, 16)], dtype=np.float32)
    found = propose(lab_of(scene(*truth.astype(int).tolist())), ANY_SIZE, limit=50)
    assert found.dtype == np.float32
    assert (iou_matrix(truth, found).max(axis=1) > 0.8).all()


def test_colour_alone_is_enough_to_stand_out():
    image = np.full((90, 120, 3), (120, 120, 120), dtype=np.uint8)
    image[30:60, 40:70] = (190, 100, 60)
    found = propose(lab_of(image), ANY_SIZE, limit=50)
    assert iou_matrix([(40, 30, 30, 30)], found).max() > 0.8


def test_candidates_keep_to_the_size_range_and_the_limit():
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 255, (90, 120, 3), dtype=np.uint8), (0, 0), 2)
    found = propose(lab_of(image), SizeRange((8.0, 30.0), (8.0, 30.0)), limit=40)
    assert 0 < len(found) <= 40
    assert len(np.unique(found, axis=0)) == len(found)
    assert found[:, 2:].min() >= 8
    assert found[:, 2:].max() <= 30


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (7, 7), (300, 9)])
def test_tiny_and_flat_images_propose_nothing(shape):
    lab = lab_of(np.full((*shape, 3), 77, dtype=np.uint8))
    boxes = propose(lab, ANY_SIZE, limit=50)
    assert boxes.shape == (0, 4)
    assert describe(integral_channels(lab), boxes).shape == (0, DESCRIPTOR)


def test_a_large_image_is_shrunk_and_a_small_one_left():
    work = work_image(np.zeros((400, 800, 3), dtype=np.uint8), 256)
    assert work.lab.shape == (128, 256, 3)
    assert (work.scale_x, work.scale_y) == (0.32, 0.32)
    assert work_image(np.zeros((40, 80, 3), dtype=np.uint8), 256).lab.shape == (40, 80, 3)


def test_descriptors_know_shape_from_shape_but_not_bright_from_dark_edges():
    bars = scene((20, 10, 4, 40), (30, 10, 4, 40))
    dark = scene((20, 10, 4, 40), (30, 10, 4, 40), ground=230, ink=120)
    beams = scene((10, 20, 40, 4), (10, 30, 40, 4))
    box = np.array([(12, 12, 30, 30)], dtype=np.float32)
    a, b, c = (describe(integral_channels(lab_of(i)), box)[0, :288] for i in (bars, dark, beams))
    assert np.dot(a, b) > 0.95 * np.dot(a, a)
    assert np.dot(a, c) < 0.5 * np.dot(a, a)


def test_a_descriptor_belongs_to_its_own_box_whatever_stands_beside_it():
    integral = integral_channels(lab_of(scene((20, 10, 30, 40))))
    boxes = np.array([(12, 12, 30, 30), (40, 5, 50, 60), (0, 0, 5, 5)], dtype=np.float32)
    together = describe(integral, boxes)
    alone = np.concatenate([describe(integral, boxes[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.floats(-50, 250, width=32)] * 2, *[st.floats(0, 300, width=32)] * 2),
        min_size=1,
        max_size=5,
    )
)
def test_descriptors_are_finite_even_for_boxes_outside_the_image(boxes):
    lab = lab_of(scene((20, 10, 30, 40)))
    rows = describe(integral_channels(lab), np.array(boxes, dtype=np.float32))
    assert rows.shape == (len(boxes), DESCRIPTOR)
    assert np.isfinite(rows).all()
    assert np.abs(rows).max() < 1000


def test_the_size_range_covers_the_sizes_and_moves_in_half_octaves():
    sizes = np.array([(20.0, 30.0), (40.0, 33.0), (25.0, 31.0)])
    found = size_range(sizes)
    assert found.width[0] < 20
    assert found.width[1] > 40
    assert found == size_range(np.concatenate([sizes, [(26.0, 32.0)]]))
    steps = 2 * np.log2([*found.width, *found.height])
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)


def test_the_best_of_overlapping_boxes_stays():
    boxes = np.array([(0, 0, 10, 10), (1, 0, 10, 10), (30, 0, 10, 10)], dtype=np.float32)
    scores = np.array([0.5, 0.9, 0.7], dtype=np.float32)
    assert suppress(boxes, scores, iou=0.5).tolist() == [1, 2]
    assert suppress(boxes, scores, iou=0.9).tolist() == [1, 2, 0]
    assert suppress(boxes[:0], scores[:0], iou=0.5).tolist() == []


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.floats(0.1, 0.9))
def test_kept_boxes_do_not_clash_and_dropped_ones_do(seed, n, iou):
    rng = np.random.default_rng(seed)
    boxes = rng.uniform(1, 30, (n, 4)).astype(np.float32)
    scores = rng.random(n).astype(np.float32)
    kept = suppress(boxes, scores, iou=iou)
    overlap = iou_matrix(boxes, boxes)
    assert (overlap[np.ix_(kept, kept)][~np.eye(len(kept), dtype=bool)] <= iou).all()
    for one in set(range(n)) - set(kept.tolist()):
        better = [k for k in kept if scores[k] >= scores[one]]
        assert (overlap[one, better] > iou).any()
