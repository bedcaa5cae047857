"""`select` with uncertainty in the mix predicts on the pool first, and says so."""

from __future__ import annotations

import pytest

from annoloop.project import Project

MIX = {"coverage": 0.3, "targeted": 0.5, "uncertainty": 0.2}


def test_the_pool_is_predicted_on_once_and_the_batch_is_exact(evaluated: Project) -> None:
    said: list[str] = []
    talking = Project(evaluated.folder, say=said.append)
    chosen = talking.select(size=8, mix=MIX, dry_run=True)
    assert any("no predictions of v0: predicting (annoloop predict)" in line for line in said)
    assert chosen.size == 8
    assert set(chosen.quotas) == {"coverage", "targeted", "uncertainty"}
    unsure = [p for p in chosen.picks if p.source == "uncertainty"]
    assert unsure
    assert unsure[0].reason.startswith("uncertainty ")
    said.clear()
    assert talking.select(size=8, mix=MIX, dry_run=True) == chosen
    assert not any("predicting" in line for line in said)
    assert talking.select(size=8, mix=MIX).batch == "v1"


def test_before_there_is_a_model_others_take_over(project: Project) -> None:
    chosen = project.select(size=8, mix={"coverage": 0.5, "uncertainty": 0.5})
    assert chosen.by_source == {"coverage": 8}
    assert chosen.shortfalls[0].why == "no model has predicted on the pool yet"


def test_the_summary_says_how_the_batch_differs(evaluated: Project) -> None:
    plain = evaluated.select(size=8, dry_run=True).summary
    assert plain["pool_distance_after"] < plain["pool_distance_before"]
    assert 1 <= plain["clusters_touched"] <= plain["clusters"]
    assert "boxes_expected" not in plain
    known = evaluated.select(size=8, mix=MIX).summary
    assert known["boxes_per_image"] * 8 == pytest.approx(known["boxes_expected"], abs=0.01)
    assert evaluated.batch_show("v1").batch.size >= 8
