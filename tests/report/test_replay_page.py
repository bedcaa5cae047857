"""The page and the text of a replay's answers: complete, escaped, and self-contained."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from annoloop import render
from annoloop.report import replay_charts
from annoloop.report.replay_page import render_replay
from annoloop.results_replay import (
    ArmAnswer,
    Comparison,
    CurvePoint,
    FailedRun,
    NoiseFloor,
    Reach,
    Recommendation,
    ReplayCost,
    ReplayResult,
)


def arm(name: str, height: float, *, better: bool | None = None, verdict: str = "") -> ArmAnswer:
    line = tuple(CurvePoint(x, height + x / 1000, height - 0.1, height + 0.3) for x in (10, 20, 30))
    return ArmAnswer(
        name=name,
        mix={"random": 1.0},
        batch=10,
        seeds=8,
        area=height,
        final=height + 0.03,
        test=None,
        rare_area=None,
        rare_final=None,
        images=30,
        boxes=60,
        curves={"images": line, "boxes": line, "minutes": line},
        reach=(Reach("the final metric of random", 5, 8, 24.0, 48.0, 9.0, 0.2),),
        targeted_held=0.4,
        targeted_chance=0.1,
        verdict=verdict,
        better=better,
    )


def result() -> ReplayResult:
    compared = Comparison(
        "images", "<b>mix", "random", 8, 0.04, 0.01, 0.07, 0.008, 0.016, 0.016, 7, 40
    )
    return ReplayResult(
        name="signs & lines",
        metric="AP50",
        baseline="random",
        seeds=tuple(range(8)),
        budget="30 images",
        headline="<b>mix is better than random, with 8 paired seeds",
        arms=(
            arm("random", 0.5, verdict="the baseline"),
            arm("<b>mix", 0.54, better=True, verdict="<b>mix is better than random: +4.0"),
        ),
        comparisons=(compared, replace(compared, outcome="boxes", p_adjusted=None)),
        noise=NoiseFloor(8, 8, 0.01, 0.004, 0.005),
        full_metric=0.8,
        rare=("six",),
        recommendation=Recommendation("<b>mix", True, "it is better", "[select]\nminimum = 10\n"),
        failed=(FailedRun("random", 3, "the trainer broke"),),
        seconds=1.0,
        files={"html": "replay.html"},
    )


def test_the_page_shows_everything_and_loads_nothing() -> None:
    page = render_replay(result())
    assert "<b>" not in page
    assert "&lt;b&gt;mix is better than random: +4.0" in page
    assert "signs &amp; lines" in page
    assert "run random, seed 3 failed" in page
    assert "minimum = 10" in page
    assert "0.50 points" in page  # the noise floor
    assert "+4.0" in page
    assert "+1.0 to +7.0" in page
    assert page.count("<svg") == 4
    assert not re.search(r"<script|https?://|src=", page)


def test_curves_stay_within_what_a_metric_can_be() -> None:
    chart = replay_charts.curves([arm("a", 0.95), arm("b", 0.02)], "images", metric="AP50")
    assert chart is not None
    assert chart.title == "AP50 against images: a ends highest at 0.980, b lowest at 0.050"
    points = re.findall(r'points="([^"]+)"', chart.svg)
    ys = [float(pair.split(",")[1]) for line in points for pair in line.split()]
    assert min(ys) >= replay_charts.TOP - 0.1
    assert max(ys) <= replay_charts.TOP + replay_charts.HEIGHT + 0.1


def test_one_point_is_no_curve_and_one_seed_no_interval() -> None:
    single = replace(arm("a", 0.5), curves={"images": (CurvePoint(1, 0.1, 0.1, 0.1),)})
    assert replay_charts.curves([single], "images", metric="AP") is None
    bare = replace(result().comparisons[0], low=None, high=None)
    assert replay_charts.differences([("x", [bare])], metric="AP", noise=None) is None


def test_differences_stand_under_their_outcome_with_the_deciding_one_first() -> None:
    page = render_replay(replace(result(), budget="60 boxes"))
    assert page.index("over the run, against boxes") < page.index("over the run, against images")
    assert "Over the whole run &lt;b&gt;mix gains most on random: +4.0 points" in page


def test_as_text_and_as_json() -> None:
    text = render.to_text(result())
    assert "signs & lines: <b>mix is better than random" in text
    assert "- noise floor: the same batches trained again differ by 0.50 points" in text
    assert "take over: <b>mix (it is better)" in text
    assert json.loads(render.to_json(result()))["arms"][1]["better"] is True
    cost = ReplayCost("x", ("a", "b"), 5, 15, 3, 60, 12, 70, 900, 2, 300.0)
    shown = render.to_text(cost)
    assert "iterations   12 of 60 are there" in shown
    assert "about 5 min left, with 2 workers" in shown
