"""How a batch differs from the pool: distances by hand, clusters and boxes counted."""

from dataclasses import replace

import numpy as np
import pytest

from annoloop.core import contrast
from annoloop.core.contrast import believed_boxes, clusters_touched, distances
from annoloop.records import Detection, Pick


def turned(*degrees):
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def rng():
    return np.random.default_rng(0)


def test_distances_before_and_after():
    pool, picked = turned(0, 60, 90), np.array([False, False, True])
    found = distances(pool, picked, turned(0), rng=rng())
    assert found == {
        "pool_distance_before": pytest.approx((0 + 0.5 + 1) / 3, abs=1e-6),
        "pool_distance_after": pytest.approx((1 - np.cos(np.deg2rad(30))) / 3, abs=1e-6),
        "batch_distance_before": pytest.approx(1, abs=1e-6),
    }
    alone = distances(pool, picked, turned(0)[:0], rng=rng())
    assert alone.keys() == {"pool_distance_after"}
    assert distances(pool, ~picked & picked, turned(0), rng=rng()) == {}


def test_of_a_large_pool_a_choice_is_looked_at(monkeypatch):
    pool = rng().normal(size=(400, 3)).astype(np.float32)
    picked = np.arange(400) < 40
    whole = distances(pool, picked, pool[-20:], rng=rng())
    monkeypatch.setattr(contrast, "LOOKED_AT", 200)
    part = distances(pool, picked, pool[-20:], rng=rng())
    assert part != whole
    assert part == pytest.approx(whole, abs=0.05)


def test_clusters_and_boxes():
    def pick(**details):
        return Pick("a", "targeted", 1, 0.5, "why", details)

    assert clusters_touched([pick(), pick(cluster=2, clusters=5), pick(cluster=2, clusters=5)]) == {
        "clusters": 5,
        "clusters_touched": 1,
    }
    assert clusters_touched([pick()]) == {}
    boxes = [Detection(0, (0, 0, 1, 1), score) for score in (0.5, 0.25, 0.01)]
    assert believed_boxes([boxes, [], [replace(boxes[0], class_id=1)]], classes=2).tolist() == [
        [0.75, 0.0],
        [0.0, 0.0],
        [0.0, 0.5],
    ]
