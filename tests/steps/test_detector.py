"""The loop by the vectors of its own model: refused before there is one, kept apart after."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from annoloop.adapters.pixels import PixelsEmbedder
from annoloop.cli import app
from annoloop.errors import NotReadyError, SettingsError, VectorError
from annoloop.project import Project
from annoloop.records import Source
from annoloop.steps.candidates import gather
from annoloop.store import iterations, samples

DETECTOR = {"embed": {"embedder": "detector"}}


@pytest.fixture
def decided(shapes: Path, tmp_path: Path) -> Project:
    """A project whose v0 was chosen by pixels, answered, trained and evaluated."""
    source = Source(str(shapes / "images"), str(shapes / "labels.json"))
    made, _ = Project.init(tmp_path / "project", source, group="folder")
    made.run(iterations=1, annotator="oracle")
    return made


def test_the_map_says_that_a_model_is_needed(shapes, tmp_path):
    """Where the app asks what the map is of, before there is any model."""
    source = Source(str(shapes / "images"), str(shapes / "labels.json"))
    Project.init(tmp_path / "project", source)
    with pytest.raises(NotReadyError, match="none is trained yet"):
        Project(tmp_path / "project", overrides=DETECTOR).map()
    checks = Project(tmp_path / "project", overrides=DETECTOR).doctor().checks
    assert all(check.ok for check in checks if check.name != "vectors")


def verb(folder: Path, *words: str) -> dict:
    done = CliRunner().invoke(app, [*words, "--project", str(folder), "--json"])
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_a_whole_loop_through_the_command_line(shapes, tmp_path):
    folder = tmp_path / "project"
    labels = str(shapes / "labels.json")
    made = ["init", str(folder), "--images", str(shapes / "images"), "--labels", labels]
    assert CliRunner().invoke(app, [*made, "--group", "folder"]).exit_code == 0
    verb(folder, "split")
    code = "from annoloop.cli import main; main()"
    asked = [sys.executable, "-c", code, "embed", "--embedder", "detector"]
    refused = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "none is trained yet" in refused.stderr
    assert 'first = "pixels"' in refused.stderr
    assert verb(folder, "select", "--size", "10")["embedder"] == "pixels-v1"
    seen = []
    for number in (0, 1):
        verb(folder, "annotate", "oracle", "--batch", f"v{number}")
        verb(folder, "annotate", "close", f"v{number}")
        verb(folder, "train")
        verb(folder, "evaluate")
        found = verb(folder, "embed", "--embedder", "detector")
        assert found["embedder"].startswith("detector-classical-")
        assert (found["embedded"], found["already"]) == (60, 0), "a new model, all vectors anew"
        assert found["images_per_second"] > 0
        again = CliRunner().invoke(
            app, ["embed", "--embedder", "detector", "--project", str(folder)]
        )
        assert "annoloop select --embedder detector" in again.stderr
        chosen = verb(folder, "select", "--size", "8", "--embedder", "detector")
        assert chosen["embedder"] == found["embedder"]
        assert chosen["by_source"]["targeted"] >= 5
        assert verb(folder, "batch", "show", chosen["batch"])["embedder"] == found["embedder"]
        seen.append(found["embedder"])
    assert len(set(seen)) == 2
    page = tmp_path / "report.html"
    assert CliRunner().invoke(app, ["report", str(page), "--project", str(folder)]).exit_code == 0
    for name in ("pixels-v1", *seen):
        assert f"Chosen by {name} vectors." in page.read_text()


def test_objects_are_compared_by_the_model_too(decided):
    looking = Project(decided.folder, overrides=DETECTOR | {"select": {"look_at": "objects"}})
    chosen = looking.select(8, dry_run=True)
    assert any("region" in pick.details for pick in chosen.picks)
    assert (decided.folder / "vectors" / f"{chosen.embedder}-crops.lance").exists()
    assert looking.select(8, dry_run=True) == chosen


def test_the_settings_can_name_who_describes_until_there_is_a_model(shapes, tmp_path):
    source = Source(str(shapes / "images"), str(shapes / "labels.json"))
    Project.init(tmp_path / "project", source, group="folder")
    own = {"embed": {"embedder": "detector", "first": "pixels"}}
    project = Project(tmp_path / "project", overrides=own)
    project.run(iterations=2, annotator="oracle")
    names = [project.batch_show(f"v{number}").embedder for number in (0, 1)]
    assert names[0] == "pixels-v1"
    assert names[1].startswith("detector-classical-")


def test_scores_of_an_earlier_model_are_made_again_and_that_is_said(decided):
    said: list[str] = []
    project = Project(decided.folder, overrides=DETECTOR, say=said.append)
    first = project.select(8, dry_run=True).embedder
    assert any("by pixels-v1 vectors, not by detector-" in line for line in said)
    said.clear()
    assert project.select(8, dry_run=True).embedder == first
    assert not any("scoring" in line for line in said), "the same model: nothing is done again"
    again = {"train": {"seed": 5}}
    Project(decided.folder, overrides=again).train()
    second = project.select(8, dry_run=True).embedder
    assert second != first
    assert any(f"by {first} vectors, not by {second}" in line for line in said)


def test_a_mixture_of_the_vectors_of_two_models_is_refused(decided):
    """An embedder that changes while a batch is chosen; by equal widths nothing else would tell."""

    class Named(PixelsEmbedder):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    decided.score()
    turns = chain([PixelsEmbedder()], repeat(Named("model-b")))
    context = replace(decided._context(), embedder=lambda: next(turns))
    with context.store.read() as connection:
        before = iterations.newest_iteration(connection)
        pool = samples.load(connection, split="pool", statuses=("unlabeled",))
    with pytest.raises(VectorError, match=r"by pixels-v1 vectors, .* by model-b vectors") as caught:
        gather(context, pool, mix={"targeted": 1.0}, before=before, price=None)
    assert "annoloop score" in caught.value.fix


def test_a_trainer_without_features_is_named(decided):
    own = DETECTOR | {"train": {"trainer": "command", "options": {"command": "true"}}}
    with pytest.raises(SettingsError, match="'command' give no features") as caught:
        Project(decided.folder, overrides=own).embed()
    assert "ultralytics" in caught.value.fix


def test_a_model_that_is_gone_is_named(decided):
    shutil.rmtree(decided.folder / "models" / "v0")
    with pytest.raises(NotReadyError, match="the folder of model v0 is gone"):
        Project(decided.folder, overrides=DETECTOR).embed()


def test_options_of_another_embedder_are_not_taken_for_its_own(decided):
    toml = decided.folder / "annoloop.toml"
    toml.write_text(toml.read_text() + "\n[embed.options]\nthreads = 1\n")
    assert Project(decided.folder, overrides=DETECTOR).embed().embedded == 60
    assert Project(decided.folder).embed().embedder == "pixels-v1"
