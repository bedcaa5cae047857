"""FiftyOne's evaluation and ours, of the same boxes; coordinates there and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from annoloop.core import evaluation
from annoloop.records import Detection, Label

fo = pytest.importorskip(
    "fiftyone", reason="no FiftyOne with a database here: `make test-fiftyone`"
)

CLASSES = ["cup", "fork", "plate"]
WIDTH, HEIGHT = 640, 480


@pytest.fixture
def boxes() -> tuple[dict[str, list[Label]], dict[str, list[Detection]]]:
    """60 images: boxes apart, most found with jitter, some in another class, some invented."""
    rng = np.random.default_rng(0)
    truth: dict[str, list[Label]] = {}
    found: dict[str, list[Detection]] = {}
    for i in range(60):
        places = rng.permutation(12)[: int(rng.integers(0, 7))]
        labels = []
        said = []
        for place in places.tolist():
            x, y = 160.0 * (place % 4) + 10, 160.0 * (place // 4) + 10
            w, h = rng.uniform(40, 120, 2).tolist()
            labels.append(Label(int(rng.integers(3)), (x, y, w, h)))
            if rng.random() < 0.8:
                moved = (x + rng.normal() * 6, y + rng.normal() * 6, w * 1.05, h * 0.95)
                kind = labels[-1].class_id if rng.random() < 0.9 else int(rng.integers(3))
                said.append(Detection(kind, tuple(map(float, moved)), float(rng.random())))
        for _ in range(int(rng.integers(0, 3))):
            x, y = rng.uniform(0, 500), rng.uniform(0, 380)
            said.append(Detection(int(rng.integers(3)), (x, y, 60.0, 50.0), float(rng.random())))
        truth[f"{i:03}"], found[f"{i:03}"] = labels, said
    return truth, found


def relative(box: tuple[float, float, float, float]) -> list[float]:
    x, y, w, h = box
    return [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT]


@pytest.fixture
def dataset(boxes: Any) -> Iterator[Any]:
    truth, found = boxes
    made = fo.Dataset()
    samples = []
    for key, labels in truth.items():
        one = fo.Sample(filepath=f"/images/{key}.jpg")
        one.metadata = fo.ImageMetadata(width=WIDTH, height=HEIGHT)
        one["ground_truth"] = fo.Detections(
            detections=[
                fo.Detection(label=CLASSES[b.class_id], bounding_box=relative(b.box))
                for b in labels
            ]
        )
        one["predictions"] = fo.Detections(
            detections=[
                fo.Detection(
                    label=CLASSES[b.class_id], bounding_box=relative(b.box), confidence=b.score
                )
                for b in found[key]
            ]
        )
        samples.append(one)
    made.add_samples(samples, progress=False)
    yield made
    made.delete()


def test_right_wrong_and_missed_are_the_same_on_every_image(boxes: Any, dataset: Any) -> None:
    truth, found = boxes
    dataset.evaluate_detections(
        "predictions", gt_field="ground_truth", eval_key="theirs", iou=0.5, progress=False
    )
    theirs = zip(*dataset.values(["filepath", "theirs_tp", "theirs_fp", "theirs_fn"]), strict=True)
    ours = {
        one.sample_id: (one.tp, one.fp, one.fn)
        for one in evaluation.per_image(truth, found, min_score=0.0, iou=0.5)
    }
    assert {file[8:11]: tuple(counts) for file, *counts in theirs} == ours
    assert sum(tp for tp, _, _ in ours.values()) > 100


def test_the_metric_is_the_same(boxes: Any, dataset: Any) -> None:
    truth, found = boxes
    results = dataset.evaluate_detections(
        "predictions", gt_field="ground_truth", eval_key="theirs", compute_mAP=True, progress=False
    )
    ours = evaluation.evaluate(truth, found, classes=CLASSES).summary["AP"]
    assert 0.1 < ours < 0.9
    assert results.mAP() == pytest.approx(ours, abs=1e-9)


def test_coordinates_survive_both_ways(boxes: Any, dataset: Any) -> None:
    truth, _ = boxes
    files, stored = dataset.values(["filepath", "ground_truth.detections.bounding_box"])
    for file, rows in zip(files, stored, strict=True):
        for label, (x, y, w, h) in zip(truth[file[8:11]], rows or [], strict=True):
            back = (x * WIDTH, y * HEIGHT, w * WIDTH, h * HEIGHT)
            assert back == pytest.approx(label.box, abs=1e-6)
