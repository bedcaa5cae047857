import numpy as np
import pytest

from annoloop.core.region_model import (
    MAX_DETECTIONS,
    MIN_SCORE,
    SUPPRESS_IOU,
    Example,
    RegionModel,
    Regions,
    detect,
    fit_regions,
)
from annoloop.errors import TrainerError

WIDTH = 6
NO_BOXES = np.zeros((0, 4), dtype=np.float32)


def rows_of(kinds, rng):
    """Descriptors that point along the axis of their kind; 0 is background."""
    rows = rng.normal(scale=0.2, size=(len(kinds), WIDTH))
    rows[np.arange(len(kinds)), kinds] += 2
    return rows.astype(np.float32)


def example(rng, *, classes=(0, 1), spots=12, ignored=NO_BOXES):
    """Objects of 10 × 10 on a line, each with one candidate beside it by a pixel; background."""
    truth = np.array([(30 * i, 0, 10, 10) for i in range(len(classes))], dtype=np.float32)
    truth = truth.reshape(-1, 4)
    near = truth + np.array([1, 0, 0, 0], dtype=np.float32)
    far = np.array([(30 * i, 50, 10, 10) for i in range(spots)], dtype=np.float32).reshape(-1, 4)
    kinds = [c + 1 for c in classes]
    return Example(
        candidates=Regions(np.concatenate([near, far]), rows_of([*kinds, *[0] * spots], rng)),
        truth=Regions(truth, rows_of(kinds, rng)),
        classes=np.array(classes, dtype=np.int64),
        ignored=ignored,
    )


def fitted(examples, seed=0):
    return fit_regions(examples, images=len(examples), rng=np.random.default_rng(seed))


def found(model, one, size=(400, 100)):
    return list(detect(model, one.candidates, size=size))


def test_objects_are_found_again_with_their_class():
    rng = np.random.default_rng(0)
    model = fitted([example(rng) for _ in range(40)])
    assert model.classes.tolist() == [0, 1]
    one = example(rng)
    best = [(number, box) for number, box, score in found(model, one) if score > 0.5]
    assert sorted(number for number, _ in best) == [0, 1]
    for number, box in best:
        np.testing.assert_allclose(box, (30 * number, 0, 10, 10), atol=0.8)


def test_the_refiner_moves_boxes_towards_the_truth():
    rng = np.random.default_rng(0)
    model = fitted([example(rng, classes=(0,)) for _ in range(20)])
    (number, box, _), *_ = found(model, example(rng, classes=(0,)))
    assert number == 0
    assert abs(float(box[0])) < 1  # its candidate lies at 1


def test_scores_are_shares_of_what_such_regions_are():
    rng = np.random.default_rng(3)
    spots = np.array([(30 * i, 0, 10, 10) for i in range(10)], dtype=np.float32)
    examples = []
    for _ in range(60):  # candidates all look alike, one in ten is an object
        looks = rows_of([0] * 11, rng)
        examples.append(
            Example(
                Regions(spots, looks[:10]),
                Regions(spots[:1], looks[10:]),
                np.zeros(1, dtype=np.int64),
                NO_BOXES,
            )
        )
    model = fitted(examples)
    scores = [score for one in examples for _, _, score in found(model, one)]
    assert 0.08 < float(np.mean(scores)) < 0.35  # the truth itself doubles the share


def test_a_class_among_many_that_nobody_labelled_is_left_out():
    rng = np.random.default_rng(0)
    model = fitted([example(rng, classes=(4, 1)) for _ in range(5)])
    assert model.classes.tolist() == [1, 4]
    assert model.weights.shape == (3, WIDTH)


def test_one_class_alone_works_and_empty_images_teach_background():
    rng = np.random.default_rng(0)
    model = fitted([example(rng, classes=(2,)), *[example(rng, classes=()) for _ in range(5)]])
    assert model.classes.tolist() == [2]
    assert not [score for _, _, score in found(model, example(rng, classes=())) if score > 0.3]


def test_ignored_boxes_are_no_background():
    rng = np.random.default_rng(0)
    everywhere = np.array([(0, 45, 400, 30)], dtype=np.float32)
    with pytest.raises(TrainerError, match="nothing but the objects") as caught:
        fitted([example(rng, ignored=everywhere) for _ in range(3)])
    assert "Train on" in caught.value.fix


def test_without_any_object_there_is_nothing_to_learn():
    with pytest.raises(TrainerError, match="no training image holds a box"):
        fitted([example(np.random.default_rng(0), classes=()) for _ in range(3)])


def test_the_seed_decides_and_nothing_else():
    examples = [example(np.random.default_rng(i), spots=40) for i in range(10)]
    first, second = fitted(examples, seed=1).arrays(), fitted(examples, seed=1).arrays()
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


def test_detections_are_few_apart_sure_enough_and_inside():
    rng = np.random.default_rng(0)
    model = fitted([example(rng) for _ in range(5)])
    boxes = rng.uniform(0, 90, (600, 4)).astype(np.float32)
    regions = Regions(boxes, rows_of(rng.integers(0, 3, 600), rng))
    result = list(detect(model, regions, size=(100, 80)))
    scores = [score for _, _, score in result]
    assert 0 < len(result) <= MAX_DETECTIONS
    assert scores == sorted(scores, reverse=True)
    assert all(MIN_SCORE <= score <= 1 for score in scores)
    for _, (x, y, width, height), _ in result:
        assert x >= 0
        assert y >= 0
        assert width > 0
        assert height > 0
        assert x + width <= 100.001
        assert y + height <= 80.001
    assert 0 < SUPPRESS_IOU < 1


def test_no_candidate_gives_no_detection():
    model = fitted([example(np.random.default_rng(0)) for _ in range(3)])
    empty = Regions(NO_BOXES, np.zeros((0, WIDTH), dtype=np.float32))
    assert list(detect(model, empty, size=(10, 10))) == []


def test_arrays_make_the_model_again():
    model = fitted([example(np.random.default_rng(0)) for _ in range(3)])
    again = RegionModel(**model.arrays())
    one = example(np.random.default_rng(9))
    assert [s for _, _, s in found(model, one)] == [s for _, _, s in found(again, one)]
