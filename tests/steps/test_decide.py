"""`decide` on a project: the forecast, the ledger of looks at gauge, what starts a curve anew."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from annoloop import render
from annoloop.core.weighted_ap import prepare
from annoloop.errors import GoldenError, SettingsError
from annoloop.project import Project
from annoloop.records import Batch, BatchKind, Detection, Label
from annoloop.steps.ground import Gauge
from annoloop.steps.outlook import same_curve
from annoloop.steps.target import LOOK
from annoloop.store import batches, iterations

VALUES = (0.3, 0.45, 0.53, 0.58, 0.61)


@pytest.fixture
def five(evaluated: Project) -> Path:
    """Five iterations on one curve; v0 is real, the later ones are written down after it, and all
    of them stand on its model."""
    with evaluated.store.write() as connection:
        newest = iterations.newest_iteration(connection)
        assert newest is not None
        picks = batches.load_picks(connection, "v0")[:1]
        records = {name: dict(step.record) for name, step in newest.steps.items()}
        for number, value in enumerate(VALUES):
            if number:
                name = f"v{number}"
                made = Batch(name, BatchKind.SELECT, False, "2026-01-01", "2026-01-01", 0, 0, {})
                batches.add(connection, made, number, picks)
                iterations.open_iteration(
                    connection, number=number, batch=f"v{number}", at="2026-01-01", settings={}
                )
            for step in iterations.STEPS[:-1]:
                record = copy.deepcopy(records[step])
                record |= {"mix": {"coverage": 0.3, "targeted": 0.7}} if step == "select" else {}
                if step == "train":
                    record |= {"images": 20 * (number + 1), "boxes": 40 * (number + 1)}
                if step == "evaluate":
                    record["gauge"]["summary"]["AP50"] = value
                    record["noise"] = {"metric": "AP50", "sd": 0.002}
                iterations.add_step(
                    connection, number, step, at="2026-01-01", who="tester", record=record
                )
    return evaluated.folder


def opened(folder: Path, **sections: Any) -> Project:
    return Project(folder, overrides=sections)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gauge large enough to be certain of something: discs found in 70 of 80, squares in 40."""
    truth, found = {}, {}
    for number in range(80):
        key, boxes = f"{number:03d}", ((0.0, 0.0, 9.0, 9.0), (20.0, 20.0, 9.0, 9.0))
        truth[key] = tuple(Label(kind, box) for kind, box in enumerate(boxes))
        seen = (number % 2 == 0, number % 8 > 0)
        found[key] = tuple(
            Detection(kind, boxes[kind], 0.9 - number / 1000) for kind in (0, 1) if seen[kind]
        )
    table = prepare(truth, found, classes=("square", "disc"))
    on = Gauge({"v0": table}, tuple(None for _ in truth))
    monkeypatch.setattr("annoloop.steps.target.gauge", lambda context, model: on)


def ledger(project: Project) -> list[Any]:
    with project.store.read() as connection:
        return list(iterations.look_records(connection, LOOK))


def test_four_points_make_a_forecast_and_it_is_shown(five: Path) -> None:
    project = opened(five)
    made = project.decide()
    outlook = made.numbers["outlook"]
    assert outlook["points"] == 5
    assert 0 < outlook["gain"]["low"] < outlook["gain"]["median"] < outlook["gain"]["high"]
    assert outlook["batch"]["images"] == 10
    assert outlook["batch"]["money"] is None
    assert made.reason.startswith("continue: the next 10 images should add ")
    now = project.status()
    assert now.decided is not None
    assert now.decided["outlook"] == outlook
    assert made.reason in render.to_text(now)
    assert render.to_text(made).splitlines()[0] == f"v4: {made.reason}"
    assert "picture" not in render.to_text(made)


def test_one_point_makes_none(evaluated: Project) -> None:
    made = evaluated.decide()
    assert made.numbers["outlook"]["gain"] is None
    assert "has 1 of the 4 points" in made.reason


def test_deciding_again_says_the_same_and_is_kept_beside_the_first(five: Path) -> None:
    project = opened(five)
    once, twice = project.decide(), project.decide()
    assert once == twice
    with project.store.read() as connection:
        assert len(iterations.step_history(connection, "decide")) == 3


def test_prices_turn_the_next_batch_into_money(five: Path) -> None:
    made = opened(five, cost={"per_box": 0.1, "per_hour": 30.0, "currency": "CHF"}).decide()
    batch = made.numbers["outlook"]["batch"]
    expected = 0.1 * batch["boxes"] + 30.0 * batch["minutes"] / 60
    assert batch["money"] == pytest.approx(expected)
    assert " CHF; " in made.reason
    assert made.numbers["money"] > 0
    spent = opened(five, cost={"per_image": 5.0}, stop={"budget_money": 10.0}).decide()
    assert spent.verdict == "stop_budget"


@pytest.mark.usefixtures("measured")
def test_a_target_just_above_zero_is_met_for_certain_and_one_look_is_counted(five: Path) -> None:
    project = opened(five, stop={"target": 0.001})
    made = project.decide()
    assert made.verdict == "stop_target"
    look = made.numbers["look"]
    assert look["low"] >= 0.001
    assert (look["look"], look["looks"], look["level"]) == (1, 10, pytest.approx(0.005))
    assert project.decide().numbers["look"] == look  # the same question is the same look
    assert len(ledger(project)) == 1


@pytest.mark.usefixtures("measured")
def test_a_metric_above_its_target_is_not_enough(five: Path) -> None:
    value = opened(five, stop={"target": 0.001}).decide().numbers["look"]["value"]
    made = opened(five, stop={"target": value - 0.01}).decide()
    assert made.verdict == "continue"
    assert made.numbers["look"]["low"] < value - 0.01
    assert made.numbers["look"]["needed_images"] > 1
    assert "above the target, but for certain only" in made.reason


@pytest.mark.usefixtures("measured")
def test_used_up_looks_can_be_certain_of_nothing(five: Path) -> None:
    for target in (0.001, 0.002):
        made = opened(five, stop={"target": target, "looks": 2}).decide()
        assert made.verdict == "stop_target"
    third = opened(five, stop={"target": 0.003, "looks": 2}).decide()
    assert third.verdict == "continue"
    assert third.numbers["look"]["level"] == 0
    assert "all 2 declared looks at gauge are used up" in third.reason
    assert [one["met"] for one in ledger(opened(five))] == [True, True, False]


@pytest.mark.usefixtures("measured")
def test_floors_hold_a_target_back(five: Path) -> None:
    held = opened(five, stop={"target": 0.001, "floors": {"disc": 0.5}}).decide()
    assert held.verdict == "stop_target"
    short = opened(five, stop={"target": 0.001, "floors": {"disc": 0.5, "square": 0.45}})
    made = short.decide()
    assert made.verdict == "continue"
    assert {one["name"]: one["met"] for one in made.numbers["look"]["floors"]} == {
        "disc": True,
        "square": False,
    }
    assert "not yet certain of their floors: square" in made.reason
    with pytest.raises(SettingsError, match="'disk', which is not in the schema"):
        opened(five, stop={"target": 0.001, "floors": {"disk": 0.5}}).decide()


def test_another_recipe_starts_the_curve_anew(five: Path) -> None:
    project = opened(five)
    with project.store.read() as connection:
        history = iterations.load_iterations(connection)
    same, why = same_curve(history)
    assert [one.name for one in same] == ["v0", "v1", "v2", "v3", "v4"]
    assert why == ()
    history[3].steps["train"].record["trainer"] = "other"  # type: ignore[index]
    history[4].steps["train"].record["trainer"] = "other"  # type: ignore[index]
    same, why = same_curve(history)
    assert [one.name for one in same] == ["v3", "v4"]
    assert why == ("the curve starts at v3, where the trainer changed",)
    history[4].steps["evaluate"].record["gauge"]["images"] += 1  # type: ignore[index]
    same, why = same_curve(history)
    assert [one.name for one in same] == ["v4"]
    assert why == ("the curve starts at v4, where the gauge set changed",)


def test_two_flat_forecasts_stop(five: Path) -> None:
    project = opened(five, stop={"delta": 1.0})
    made = project.decide()
    assert made.verdict == "continue"
    assert made.numbers["outlook"]["flat"]
    again = project.decide()
    assert again.verdict == "continue"  # the same iteration asked twice is not twice running
    with project.store.write() as connection:
        iterations.add_step(
            connection,
            3,
            "decide",
            at="2026-01-01",
            who="tester",
            record={"verdict": "continue", "reason": "", "numbers": dict(made.numbers)},
        )
    assert project.decide().verdict == "stop_plateau"
    assert "stop_plateau" in project.status().next_step


def test_no_look_is_spent_while_labels_are_in_doubt(five: Path) -> None:
    project = opened(five, stop={"target": 0.001})
    with project.store.write() as connection:
        newest = iterations.newest_iteration(connection)
        assert newest is not None
        record = {**newest.steps["golden"].record, "verdict": "fail", "accepted": None}
        iterations.add_step(
            connection, newest.number, "golden", at="2026-01-01", who="tester", record=record
        )
    with pytest.raises(GoldenError, match="golden check of v4 failed"):
        project.decide()
    assert ledger(project) == []
