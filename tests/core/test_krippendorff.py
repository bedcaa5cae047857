"""Alpha against written-out values and against what kalphacv publishes for the same files."""

import json
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.krippendorff import cluster, krippendorff_alpha, nominal_alpha, vitality
from annoloop.errors import InputError
from annoloop.records import Label

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "multi_annotator"
BOX = (0.0, 0.0, 40.0, 40.0)
FAR = (200.0, 0.0, 40.0, 40.0)


def need(folder):
    if not (DATA / folder).is_dir():
        pytest.skip(f"{folder} is not there")
    return DATA / folder


@pytest.mark.parametrize(
    ("ratings", "expected"),
    [
        ([(1, 1)], 1.0),
        ([(1, 2)], 0.0),
        ([(1, 2), (2, -1)], -0.2),
        ([(1, 1), (2, -1), (3, 1)], 1 / 6),
        # Krippendorff's own nominal example (2011): four observers, missing ratings left out.
        (
            [(1, 1, 1), (2, 2, 3, 2), (3, 3, 3, 3), (3, 3, 3, 3), (2, 2, 2, 2), (1, 2, 3, 4),
             (4, 4, 4, 4), (1, 1, 2, 1), (2, 2, 2, 2), (5, 5, 5), (1, 1), (3,)],
            0.743,
        ),
    ],
)  # fmt: skip
def test_nominal_alpha(ratings, expected):
    units = [{c: unit.count(c) for c in set(unit)} for unit in ratings]
    assert nominal_alpha(units) == pytest.approx(expected, abs=5e-4)


@given(st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=4), min_size=1, max_size=8))
@settings(deadline=None, max_examples=60)
def test_alpha_is_one_minus_observed_over_expected_disagreement(ratings):
    units = [{c: unit.count(c) for c in set(unit)} for unit in ratings]
    values = [c for unit in ratings for c in unit]
    observed = sum(
        2 * sum(a != b for a, b in combinations(unit, 2)) / (len(unit) - 1) for unit in ratings
    ) / len(values)
    pairs = list(combinations(values, 2))
    expected = sum(a != b for a, b in pairs) / len(pairs)
    assert nominal_alpha(units) == pytest.approx(1 - observed / expected if expected else 1.0)


def test_agreement_on_nothing_is_agreement():
    raters = {"ann": {"a": [], "b": [Label(0, BOX)]}, "bob": {"a": [], "b": [Label(0, BOX)]}}
    found = krippendorff_alpha(raters)
    assert (found.alpha, found.mean_per_image, found.images, found.units) == (1.0, 1.0, 2, 2)
    assert found.band == "reliable"


def test_clusters_follow_the_first_who_drew_the_object():
    raters = [[Label(0, BOX)], [Label(1, FAR)], [Label(1, FAR), Label(0, BOX)]]
    assert cluster(raters) == [{0: 0, 2: 1}, {1: 0, 2: 0}]
    hidden = [[Label(0, BOX, crowd=True)], [Label(0, BOX)]]
    assert cluster(hidden) == [{1: 0}]


def test_the_one_who_disagrees_has_positive_vitality():
    good = {f"i{k}": [Label(k % 2, BOX)] for k in range(6)}
    bad = {f"i{k}": [Label(1 - k % 2, BOX)] for k in range(6)}
    found = vitality({"ann": good, "bob": good, "eve": bad})
    assert found["eve"] > 0.5 > 0.0 > found["ann"] == found["bob"]
    assert vitality({"ann": good, "bob": good}) == {}


def test_one_rater_is_no_agreement():
    with pytest.raises(InputError, match="two raters"):
        krippendorff_alpha({"ann": {"a": []}, "bob": {"b": []}})


@pytest.mark.parametrize("name", ["fruits", "landscape_annotations", "smile_fruits"])
@pytest.mark.parametrize("iou", ["0.5", "0.75"])
def test_the_published_examples_exactly(name, iou):
    folder = need("kalpha_examples")
    expected = json.loads((folder / "expected.json").read_text())["bbox_alpha"][name][iou]
    document = json.loads((folder / f"{name}.json").read_text())
    raters = {}
    for image in document["images"]:
        mine = [a for a in document["annotations"] if a["image_id"] == image["id"]]
        labels = [Label(a["category_id"], tuple(a["bbox"])) for a in mine]
        raters[f"{image['id']:02d}"] = {"image": labels}
    assert round(krippendorff_alpha(raters, iou=float(iou)).alpha, 4) == expected


def test_the_lvis_doubles():
    folder = need("lvis_double_200")
    expected = json.loads((folder / "expected.json").read_text())["mean_alpha_over_images"]
    document = json.loads((folder / "lvis_v1.0_val_doubly_annos_subset200.json").read_text())
    empty = {image["id"]: [] for image in document["images"]}
    raters = defaultdict(lambda: {key: list(rows) for key, rows in empty.items()})
    for row in document["annotations"]:
        raters[row["rater_id"]][row["image_id"]].append(
            Label(row["category_id"], tuple(row["bbox"]))
        )
    for iou, mean in expected.items():
        found = krippendorff_alpha(raters, iou=float(iou))
        # kalphacv averages alphas that it has rounded to four digits.
        assert found.mean_per_image == pytest.approx(mean, abs=5e-5)
        assert found.images == 200
    assert found.alpha == pytest.approx(0.20912, abs=5e-5)  # all units together, IoU 0.9
    assert found.band == "unreliable"
