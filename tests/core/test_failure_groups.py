from dataclasses import replace

import numpy as np
import pytest

from annoloop.core.failure_groups import by_class, grouped
from annoloop.core.targeting import Query
from annoloop.records import Failure, FailureType

CUP, MUG = 0, 1
BOX = (0.0, 0.0, 40.0, 40.0)


BACKGROUND = Failure("b", FailureType.BACKGROUND, CUP, BOX, 0.5, truth_class_id=MUG, iou=0.05)


def missed(image, kind=CUP, price=0.01):
    return Failure(image, FailureType.MISSED, kind, BOX, truth_class_id=kind, price=price)


def query(failure, *vector):
    return Query(failure, "missed", failure.sample_id, np.array(vector, dtype=np.float32))


def test_one_class_and_type_falls_into_looks():
    dark = [query(missed(f"dark {k}"), 1.0, 0.01 * k) for k in range(3)]
    light = [query(missed("light"), 0.0, 1.0)]
    mug = [query(missed("dark 0", MUG, price=0.1), 1.0, 0.0)]
    found = grouped([*light, *dark, *mug], threshold=0.5)
    assert [(g.class_id, g.cluster, g.clusters, g.failures) for g in found] == [
        (MUG, 1, 1, 1),
        (CUP, 1, 2, 3),
        (CUP, 2, 2, 1),
    ]
    assert found[1].price == pytest.approx(0.03)
    assert [one.sample_id for one in found[1].examples] == ["dark 0", "dark 1", "dark 2"]


def test_failures_that_share_a_vector_are_one_place_but_all_are_counted():
    same = [query(missed("a"), 1.0, 0.0), query(missed("a"), 1.0, -0.0)]
    (group,) = grouped(same, threshold=0.5)
    assert (group.failures, group.images, len(group.examples)) == (2, 1, 1)


def test_without_vectors_class_and_type_are_all_that_tells_failures_apart():
    failures = [missed("b"), missed("a"), missed("a"), missed("a", MUG)]
    found = by_class(failures)
    assert [(g.class_id, g.failures, g.images, g.clusters) for g in found] == [
        (CUP, 3, 2, 1),
        (MUG, 1, 1, 1),
    ]
    assert [one.sample_id for one in found[0].examples] == ["a", "b"]
    assert by_class([]) == ()


def test_class_errors_about_several_classes_do_not_pass_for_one():
    def called(true_class):
        return Failure("a", FailureType.CLASS, CUP, BOX, 0.5, truth_class_id=true_class)

    (same,) = by_class([called(MUG), called(MUG)])
    (several,) = by_class([called(MUG), called(2)])
    assert (same.alike, several.alike) == (True, False)
    (background,) = by_class([replace(missed("a"), type=FailureType.BACKGROUND), BACKGROUND])
    assert background.alike  # the nearest truth is no part of what it says
