"""`metrics`: two files, and whatever else is wished for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from annoloop.errors import InputError
from annoloop.render import to_json, to_text
from annoloop.results_metrics import MetricsWish
from annoloop.steps.metrics import metrics

BOX, FAR = [0, 0, 40, 40], [200, 200, 40, 40]


def result(image: int, box: list[int], score: float, kind: int = 1) -> dict[str, Any]:
    return {"image_id": image, "category_id": kind, "bbox": box, "score": score}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Eight images of two cups in two folders; a good model, and one that sees half as much."""
    truth = {
        "images": [
            {"id": k, "file_name": f"{'day' if k % 2 else 'night'}/{k}.jpg", "camera": k // 4}
            for k in range(8)
        ],
        "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "mug"}],
        "annotations": [
            {"id": 2 * k + n, "image_id": k, "category_id": 1, "bbox": box}
            for k in range(8)
            for n, box in enumerate((BOX, FAR))
        ],
    }
    good = [result(k, box, 0.9 - k / 100) for k in range(8) for box in (BOX, FAR)]
    weak = [result(k, BOX, 0.9) for k in range(8)] + [result(0, FAR, 0.95, kind=2)]
    paths = tuple(tmp_path / name for name in ("truth.json", "good.json", "weak.json"))
    for path, content in zip(paths, (truth, good, weak), strict=True):
        path.write_text(json.dumps(content))
    return paths


def test_twelve_numbers_alone_by_default(files: tuple[Path, Path, Path]) -> None:
    made = metrics(files[0], files[2])
    assert made.summary["AP50"] == pytest.approx(51 / 101)
    assert (made.details, made.per_image, made.slices, made.intervals, made.gains) == (None,) * 5


def test_everything_that_can_be_wished_for(files: tuple[Path, Path, Path]) -> None:
    truth, good, weak = files
    wish = MetricsWish(details=True, against=good, by="folder", group="column:camera")
    made = metrics(truth, weak, wish)
    assert made.min_score == 0.9
    assert made.slices is not None
    assert {name: one["images"] for name, one in made.slices.items()} == {"day": 4, "night": 4}
    assert made.per_image is not None
    first = made.per_image[0]
    assert (first.image, first.tp, first.fp, first.fn) == ("night/0.jpg", 1, 1, 1)
    assert made.details is not None
    assert made.details["confusion"]["matrix"][0] == (8, 1, 7)
    assert made.gains is not None
    assert made.gains["AP50"].value == pytest.approx(50 / 101)
    assert made.gains["AP50"].low > 0.4
    assert made.intervals is not None
    assert made.intervals["AP50"].sd < 1e-9  # both cameras are seen alike, and drawn whole
    assert made.voc is not None
    assert made.voc["mean_every_point"] == pytest.approx(0.5)
    assert json.loads(to_json(made))["details"]["tide"]["counts"]["missed"] == 7
    text = to_text(made)
    for words in ("gain of the other model", "night/0.jpg", "cup for mug 1", "VOC AP"):
        assert words in text


def test_a_rule_that_sorts_nothing_and_a_broken_other_model_are_refused(
    files: tuple[Path, Path, Path],
) -> None:
    truth, good, _ = files
    with pytest.raises(InputError, match="'column:nothing' says nothing"):
        metrics(truth, good, MetricsWish(by="column:nothing"))
    with pytest.raises(InputError, match=r"score is None \(.*truth\.json for"):
        metrics(truth, good, MetricsWish(against=truth))
