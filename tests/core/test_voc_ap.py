import json
from pathlib import Path

import pytest

from annoloop.core.box_columns import columns
from annoloop.core.voc_ap import voc_ap
from annoloop.records import Detection, Label

CASE = Path(__file__).resolve().parents[2].parent / "shared/data/eval_fixtures/padilla_voc_case1"
BOX, FAR = (0.0, 0.0, 39.0, 39.0), (200.0, 200.0, 39.0, 39.0)


def rows(folder):
    return {
        file.stem: [line.split()[1:] for line in file.read_text().splitlines()]
        for file in sorted((CASE / folder).glob("*.txt"))
    }


@pytest.mark.skipif(not CASE.is_dir(), reason="the public evaluation fixtures are not here")
def test_published_numbers():
    truth = {k: [Label(0, tuple(map(float, row))) for row in v] for k, v in rows("gts").items()}
    found = {
        key: [Detection(0, tuple(map(float, box)), float(score)) for score, *box in listed]
        for key, listed in rows("dets").items()
    }
    expected = json.loads((CASE / "expected.json").read_text())
    for iou, eleven in expected["eleven_point"].items():
        made = voc_ap(columns(truth, found, classes=["object"]), iou=float(iou))
        assert made.mean_eleven_point == pytest.approx(eleven, abs=1e-9)
        assert made.mean_every_point == pytest.approx(expected["every_point"][iou], abs=1e-9)


def made(truth, found):
    return voc_ap(columns({"a": truth}, {"a": found}, classes=["cup", "mug"]))


def test_a_second_detection_of_one_truth_is_wrong_and_classes_without_truth_do_not_count():
    found = [Detection(0, BOX, 0.9), Detection(0, BOX, 0.8), Detection(0, FAR, 0.7)]
    answer = made([Label(0, BOX), Label(0, FAR)], found)
    assert answer.every_point == {"cup": pytest.approx(0.5 + 0.5 * 2 / 3), "mug": None}
    assert answer.mean_every_point == answer.every_point["cup"]


def test_difficult_truth_is_neither_right_nor_wrong():
    found = [Detection(0, FAR, 0.9), Detection(0, FAR, 0.8), Detection(0, BOX, 0.7)]
    answer = made([Label(0, BOX), Label(0, FAR, difficult=True)], found)
    assert answer.mean_every_point == pytest.approx(1.0)
    assert answer.mean_eleven_point == pytest.approx(1.0)


def test_nothing_found_is_zero_and_nothing_there_is_undefined():
    assert made([Label(0, BOX)], []).mean_every_point == 0.0
    assert made([], [Detection(0, BOX, 0.5)]).mean_eleven_point is None
