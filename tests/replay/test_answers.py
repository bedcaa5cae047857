"""What the numbers of a replay are made to say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from annoloop.replay.answers import compare
from annoloop.replay.plan import parse_plan
from annoloop.replay.verdicts import headline, judge, recommend
from annoloop.results_replay import ArmAnswer, Comparison

BASE = Comparison("images", "mix", "random", 5, 0.013, -0.01, 0.036, 0.1, 0.2, 0.0625, 6, 14)


def arm(name: str, area: float, *, better: bool | None = None) -> ArmAnswer:
    return ArmAnswer(
        name=name,
        mix={"random": 1.0},
        batch=10,
        seeds=8,
        area=area,
        final=area,
        test=None,
        rare_area=None,
        rare_final=None,
        images=30,
        boxes=60,
        curves={},
        reach=(),
        targeted_held=None,
        targeted_chance=None,
        verdict="",
        better=better,
    )


def test_not_distinguishable_says_how_many_seeds_would_be_needed() -> None:
    better, said = judge(BASE, "AP")
    assert better is None
    assert said.startswith("mix is not distinguishable from random with 5 seeds: +1.3 AP points")
    assert "14 seeds would be needed for 1 point" in said
    assert "5 seeds cannot give a p below 0.0625: 6 is the least that can reach 0.05" in said


def test_enough_seeds_without_a_difference_say_that_one_would_have_been_seen() -> None:
    _, said = judge(replace(BASE, seeds=20, least_p=2**-19), "AP")
    assert "a difference of 1 point would most likely have been seen" in said
    assert "cannot" not in said


def test_better_and_worse_go_by_the_adjusted_p() -> None:
    assert judge(replace(BASE, p=0.03, p_adjusted=0.06), "AP")[0] is None
    assert judge(replace(BASE, p=0.03, p_adjusted=0.04), "AP")[0] is True
    assert judge(replace(BASE, mean=-0.02, p_adjusted=0.04), "AP")[0] is False
    assert judge(replace(BASE, seeds=1, low=None, high=None), "AP")[0] is None


def test_comparisons_pair_by_seed_and_adjust_the_primary_outcome_only() -> None:
    seeds = range(8)
    table = {
        outcome: {
            "random": {s: 0.1 * s for s in seeds},
            "better": {s: 0.1 * s + 0.02 + 0.001 * s for s in seeds},
            "half": {s: 0.1 * s for s in range(4)},
        }
        for outcome in ("images", "final")
    }
    found = {(c.outcome, c.arm): c for c in compare(table, against="random", primary="images")}
    one = found["images", "better"]
    assert one.p == 2**-7
    assert one.least_p == 2**-6  # two arms share the level
    assert one.fewest_seeds == 7
    assert one.p_adjusted == 2 * one.p
    assert one.mean > 0.02
    assert found["images", "half"].seeds == 4
    assert found["images", "half"].p == 1.0
    assert found["final", "better"].p_adjusted is None


def test_the_default_mix_stays_unless_an_arm_beats_it_beyond_chance() -> None:
    plan = parse_plan(
        {
            "data": {"digits": 40},
            "budget_images": 90,
            "arms": [
                {"name": "random", "mix": {"random": 1.0}},
                {"name": "30/70", "mix": {"coverage": 0.3, "targeted": 0.7}},
            ],
        },
        folder=Path(),
    )
    ours = replace(arm("30/70", 0.5), mix={"coverage": 0.3, "targeted": 0.7})
    arms = [arm("random", 0.55), ours]
    ahead = replace(BASE, arm="random", against="30/70", seeds=8, least_p=2**-7)
    kept = recommend(plan, arms, {"random": ahead})
    assert (kept.arm, kept.sure) == ("30/70", False)
    assert "random is not distinguishable from 30/70" in kept.reason
    changed = recommend(plan, arms, {"random": replace(ahead, p_adjusted=0.01)})
    assert (changed.arm, changed.sure) == ("random", True)
    assert 'mix = { "random" = 1 }' in changed.toml
    assert "minimum = 10" in changed.toml


def test_the_headline_names_every_arm() -> None:
    arms = [arm("random", 0.5), arm("a", 0.6, better=True), arm("b", 0.5), arm("c", 0.5)]
    assert headline(arms, "random", 8) == (
        "a is better than random; b and c are not distinguishable from random, with 8 paired seeds"
    )
