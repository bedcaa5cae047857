"""Worlds whose answer is known: replay finds what is there, and nothing where nothing is.

Six seeds are the fewest with which the sign-flip test can say anything at 5 %: every seed has to
agree. What the verdicts do over many worlds is measured in tests/core/test_replay_stats.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from annoloop.replay.engine import replay

pytestmark = pytest.mark.long

RANDOM = {"random": {"random": 1.0}}


def test_a_rare_mode_that_only_targeted_finds(world, make_plan, tmp_path: Path) -> None:
    """Coverage spends itself on what is unlike everything else; failures point at the rare mode."""
    root = world({"c0-common": 90, "c1-rare": 26, "empty": 110})
    arms = {"coverage": {"coverage": 1.0}, "targeted": {"targeted": 1.0}}
    plan = make_plan(
        root,
        arms,
        baseline="coverage",
        first_mix={"random": 1.0},
        trainer={"needs": {"c1-rare": 10}},
    )
    made = replay(plan, out=tmp_path / "out", workers=1)
    targeted = made.arms[1]
    assert targeted.better is True
    assert made.recommendation.arm == "targeted"
    assert made.recommendation.sure
    assert (targeted.targeted_held or 0) > 1.5 * (targeted.targeted_chance or 1)


def test_redundant_clusters_where_coverage_saves(world, make_plan, tmp_path: Path) -> None:
    """One image of a scene teaches the scene; random draws the large scene again and again."""
    scenes = {f"c{1 + k % 3}-scene{k}": 6 for k in range(18)}
    root = world({"c0-large": 140} | scenes)
    plan = make_plan(
        root,
        RANDOM | {"coverage": {"coverage": 1.0}},
        first_mix={"random": 1.0},
        trainer={"needs": {"": 1}},
    )
    made = replay(plan, out=tmp_path / "out", workers=1)
    coverage = made.arms[1]
    assert coverage.better is True
    saved = coverage.reach[0].saved
    assert saved is not None
    assert saved > 0.2


def test_a_world_where_nothing_beats_random(world, make_plan, tmp_path: Path) -> None:
    root = world({"c0-a": 100, "c1-b": 100})
    arms = RANDOM | {"coverage": {"coverage": 1.0}}
    plan = make_plan(
        root, arms, trainer={"lottery": True, "needs": {"": 60}}, embedder={"blind": True}
    )
    made = replay(plan, out=tmp_path / "out", workers=1)
    assert [arm.better for arm in made.arms] == [None, None]
    assert "not distinguishable from random" in made.headline
    assert "with 6 seeds" in made.arms[1].verdict
    assert not made.recommendation.sure
    assert made.recommendation.arm == "random"
