"""`select` that looks at objects: failures' own regions against those proposed in the pool."""

from __future__ import annotations

import numpy as np
import pytest

from annoloop.adapters.pixels import PixelsEmbedder
from annoloop.errors import SettingsError
from annoloop.project import Project

OBJECTS = {"select": {"look_at": "objects"}}


def test_picks_name_the_region_that_looks_like_the_failure(evaluated: Project) -> None:
    said: list[str] = []
    looking = Project(evaluated.folder, overrides=OBJECTS, say=said.append)
    chosen = looking.select(size=10, dry_run=True)
    assert any("no predictions of v0: predicting" in line for line in said)
    assert chosen.size == 10
    assert chosen.quotas == {"coverage": 3, "targeted": 7}
    named = [p for p in chosen.picks if "region" in p.details]
    assert named
    for pick in named:
        x, y, w, h = pick.details["region"]
        assert 0 <= x < x + w <= 80
        assert 0 <= y < y + h <= 64
        assert f"of its region x {x:.0f}, y {y:.0f}, {w:.0f} × {h:.0f}" in pick.reason
    assert looking.select(size=10, dry_run=True) == chosen
    plain = evaluated.select(size=10, dry_run=True)
    assert not any("region" in p.details for p in plain.picks)


def test_regions_are_described_once_and_kept(
    evaluated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: list[int] = []
    real = PixelsEmbedder.embed_crops

    def counted(self, files, boxes):
        cut.append(sum(map(len, boxes)))
        return real(self, files, boxes)

    monkeypatch.setattr(PixelsEmbedder, "embed_crops", counted)
    looking = Project(evaluated.folder, overrides=OBJECTS)
    looking.select(size=6, dry_run=True)
    assert sum(cut) > 10
    first = sum(cut)
    Project(evaluated.folder, overrides=OBJECTS).select(size=6, dry_run=True)
    assert sum(cut) == first


def test_an_embedder_of_whole_images_is_named(
    evaluated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(PixelsEmbedder, "embed_crops")
    with pytest.raises(SettingsError, match="whole images only") as caught:
        Project(evaluated.folder, overrides=OBJECTS).select(size=6, dry_run=True)
    assert "look_at" in caught.value.fix


def test_where_no_source_seeks_failures_nothing_is_cut(evaluated: Project) -> None:
    looking = Project(evaluated.folder, overrides=OBJECTS)
    chosen = looking.select(size=6, mix={"coverage": 0.5, "random": 0.5}, dry_run=True)
    assert np.all([p.source in {"coverage", "random"} for p in chosen.picks])
    assert looking.store.file.parent.joinpath("vectors").is_dir()
    assert not (looking.folder / "vectors" / "pixels-v1-crops.lance").exists()
