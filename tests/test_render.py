"""What people read, written out; what programs read, the same keys."""

from __future__ import annotations

import json

import pytest

from annoloop import render, results, results_batches
from annoloop.records import Shortfall
from annoloop.render_text import counted

ROWS = (
    results.IterationRow(
        name="v0",
        images=30,
        boxes=51,
        batch={"coverage": 30},
        metric=0.32149,
        ap=0.2,
        ap_val=None,
        failures={"missed": 3},
        golden="insufficient",
        verdict="continue",
        reason="continue: AP50 0.321 on gauge",
        seconds=1.0,
    ),
)
STATUS = results.StatusResult(
    project="demo",
    samples=100,
    splits={"pool": 80, "val": 20},
    pool=results.PoolProgress(80, 30, 10, 38, 1, 1, 37.5, 12.5, 47.5),
    classes=("a",),
    batches=(
        results_batches.BatchSummary(
            "v0", "select", False, 30, {"coverage": 30, "golden": 3}, 33, "t", "t"
        ),
        results_batches.BatchSummary("v1", "select", True, 10, {"targeted": 10}, 0, "t", None),
    ),
    iterations=ROWS,
    metric="AP50",
    target=None,
    open_batch="v1",
    next_step="annotate batch v1",
    golden="insufficient",
    golden_reason="v0 insufficient: 3 images answered",
    verdict="continue",
    test_opened=0,
)
STATUS_TEXT = """\
project   demo
samples   100 (pool 80, val 20)
pool      80: 30 annotated (37.5 %), 10 selected (12.5 %), 38 still unlabeled (47.5 %), 1 pending, 1 skipped

batch  kind    state   images  answered  by source
-----  ------  ------  ------  --------  ---------------------
v0     select  closed  30      33        coverage 30, golden 3
v1     select  open    10      0         targeted 10

iteration  images  boxes  AP50   AP     AP val  batch        golden        verdict
---------  ------  -----  -----  -----  ------  -----------  ------------  --------
v0         30      51     0.321  0.200  –       30 coverage  insufficient  continue

continue: AP50 0.321 on gauge
golden check of v0 insufficient: 3 images answered

next      annotate batch v1
"""
SELECT = results_batches.SelectResult(
    batch="v1",
    dry_run=True,
    asked=2,
    size=2,
    by_source={"coverage": 1, "random": 1},
    quotas={"coverage": 0, "targeted": 2},
    shortfalls=(Shortfall("targeted", 2, 0, "coverage", "there are no failures"),),
    blind_golden=1,
    seed=0,
    picks=(
        results_batches.PickView("a/1.png", "s1", "coverage", 1, 0.9, "coverage score 0.900", {}),
        results_batches.PickView("b.png", "s2", "random", 1, 0.0, "random pick", {}),
    ),
    notes=("coverage only",),
)
SELECT_TEXT = """\
batch v1 would be 2 images (coverage 1, random 1), seed 0; 1 blind golden on top
note: coverage only
short: targeted: 0 of 2, refilled by coverage (there are no failures)

image    source    rank  score  why
-------  --------  ----  -----  --------------------
a/1.png  coverage  1     0.900  coverage score 0.900
b.png    random    1     0.000  random pick
"""


def test_status_as_text() -> None:
    assert render.to_text(STATUS) == STATUS_TEXT


def test_a_dry_run_as_text() -> None:
    assert render.to_text(SELECT) == SELECT_TEXT


def test_json_has_the_fields_of_the_record() -> None:
    document = json.loads(render.to_json(STATUS))
    assert document["pool"]["annotated_percent"] == 37.5
    assert document["iterations"][0]["ap_val"] is None
    assert document["batches"][1]["closed_at"] is None


def test_a_record_without_a_page_of_its_own_is_listed() -> None:
    text = render.to_text(results.EmbedResult("pixels-v1", 400, 60, 0, 1.23456))
    assert "embedder           pixels-v1" in text
    assert "seconds            1.235" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 images, 1 boxes, 11 boxes", "1 image, 1 box, 11 boxes"),
        ("1 images are gone, 2 images are gone", "1 image is gone, 2 images are gone"),
        ("1 golden images have no reference labels", "1 golden image has no reference labels"),
        ("0.1 boxes, 1,001 boxes, v1 images", "0.1 boxes, 1,001 boxes, v1 images"),
        ("1 of 12 images", "1 of 12 images"),
        ("scenes/1 images/a.png and 1 boxes.png", "scenes/1 images/a.png and 1 boxes.png"),
        ("all 1 classes hold. 1 passes.", "all 1 class holds. 1 pass."),
    ],
)
def test_one_of_something_is_one(text: str, said: str) -> None:
    assert counted(text) == said
