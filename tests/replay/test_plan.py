"""PLAN.toml: what it may say, and how a wrong one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from annoloop.errors import InputError, SettingsError
from annoloop.replay.plan import check_names, load_plan, parse_plan

ARM = {"name": "random", "mix": {"random": 1.0}}
PLAN = {"data": {"digits": 40}, "arms": [ARM], "budget_images": 90}


def refused(match: str, **changed) -> None:
    with pytest.raises(SettingsError, match=match):
        parse_plan({**PLAN, **changed}, folder=Path())


def test_two_arms_of_one_name_are_refused() -> None:
    refused("two arms are named 'random'", arms=[ARM, ARM])


def test_a_plan_that_compares_nothing_is_refused() -> None:
    refused("baseline 'best' is none of the arms random", baseline="best")
    refused("no arm would choose anything", budget_images=30)
    refused("give a budget", budget_images=None)
    refused("no seed, no run", seeds=[])
    refused("a seed is listed twice", seeds=[1, 1])
    refused("arms", arms=[])


def test_data_comes_from_one_place() -> None:
    refused("give one of project, images", data={"digits": 40, "project": "x"})
    refused("images and labels come together", data={"images": "x"})


def test_wrong_keys_are_named() -> None:
    refused("bugdet", bugdet=3)
    refused("settings of settings: train.trainr", settings={"train": {"trainr": "x"}})
    refused("shares of a mix", arms=[{"name": "random", "mix": {"random": 0.5}}])
    refused(
        "settings of random: embed.chunk",
        arms=[{**ARM, "settings": {"embed": {"chunk": 0}}}],
    )


def test_files_that_are_no_plan_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no plan"):
        load_plan(tmp_path / "none.toml")
    with pytest.raises(InputError, match="is a folder"):
        load_plan(tmp_path)
    (tmp_path / "bad.toml").write_text("seeds = = 3")
    with pytest.raises(SettingsError, match="not valid TOML"):
        load_plan(tmp_path / "bad.toml")


def test_paths_are_relative_to_the_plan(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(
        'budget_images = 40\n[data]\nimages = "pictures"\nlabels = "l.json"\n'
        '[[arms]]\nname = "random"\nmix = { random = 1.0 }\n'
    )
    assert load_plan(file).data.images == str(tmp_path / "pictures")


def test_seeds_reach_splits_selection_and_training_and_arms_have_the_last_word() -> None:
    plan = parse_plan(
        {
            **PLAN,
            "settings": {"train": {"trainer": "command"}, "embed": {"chunk": 8}},
            "arms": [{**ARM, "settings": {"embed": {"chunk": 16}}}],
        },
        folder=Path(),
    )
    made = plan.settings_of(plan.arms[0], 7)
    assert {part: made[part]["seed"] for part in ("split", "select", "train")} == {
        "split": 7,
        "select": 7,
        "train": 7,
    }
    assert made["train"]["trainer"] == "command"
    assert made["embed"]["chunk"] == 16
    assert plan.settings_of(None, 7)["embed"]["chunk"] == 8


def test_strategies_and_trainers_that_nobody_offers_are_refused_before_any_run() -> None:
    plan = parse_plan({**PLAN, "arms": [{**ARM, "mix": {"randm": 1.0}}]}, folder=Path())
    with pytest.raises(SettingsError, match="the mix of arm 'random' names 'randm'") as caught:
        check_names(plan)
    assert caught.value.fix == "Did you mean random?"
    with pytest.raises(SettingsError, match="no trainer named 'clasical'"):
        check_names(
            parse_plan({**PLAN, "settings": {"train": {"trainer": "clasical"}}}, folder=Path())
        )
