"""A replay of a project's own labelled images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from annoloop.cli import main
from annoloop.errors import InputError, SettingsError
from annoloop.project import Project
from annoloop.records import Source
from annoloop.replay.own import own_plan, standard_arms

MODES = {"c0-easy": 60, "c1-easy": 40, "c2-hard": 20}
PLANTED = """
[embed]
embedder = "planted"
[train]
trainer = "planted"
[coverage]
draws = 10000
neighbours = 20
[select]
mix = { coverage = 0.5, targeted = 0.5 }
[split]
near_duplicates = false
val = 0.3
test = 0.1
golden = 12
"""


@pytest.fixture
def project(world: Callable[[Mapping[str, int]], Path], tmp_path: Path) -> Project:
    root = world(MODES)
    made, _ = Project.init(
        tmp_path / "p", Source(str(root / "images"), str(root / "labels.json")), group="none"
    )
    images = next(
        line for line in (made.folder / "annoloop.toml").read_text().splitlines() if "root" in line
    )
    (made.folder / "annoloop.toml").write_text(f"[images]\n{images}\n{PLANTED}")
    return Project(made.folder)


def test_without_a_plan_the_arms_sizes_and_settings_are_the_projects(project: Project) -> None:
    plan = own_plan(project, {})
    assert [arm.name for arm in plan.arms] == [
        "random",
        "coverage",
        "targeted",
        "coverage 0.5, targeted 0.5",
    ]
    assert plan.seed_list == tuple(range(7))
    # 120 labelled images, 72 of them in the pool, 60 % of which in six batches of 7.
    assert (plan.first, plan.batch, plan.budget_images) == (7, 7, 42)
    settings = plan.settings_of(plan.arms[1], 3)
    assert settings["train"] == {"trainer": "planted", "seed": 3}
    assert settings["embed"] == {"embedder": "planted"}
    assert settings["select"] == {"seed": 3}, "the mix is the arm's"
    assert settings["split"] == {
        "golden": 0,
        "val": 0.3,
        "test": 0.1,
        "near_duplicates": False,
        "seed": 3,
    }


def test_a_plan_has_the_last_word(project: Project) -> None:
    plan = own_plan(
        project,
        {"seeds": 2, "first": 6, "budget_images": 30, "settings": {"train": {"trainer": "other"}}},
    )
    assert (plan.seed_list, plan.first, plan.batch) == ((0, 1), 6, 20)
    assert plan.settings_of(None, 0)["train"]["trainer"] == "other"
    assert plan.settings_of(None, 0)["embed"]["embedder"] == "planted"


def test_the_mix_of_a_single_source_is_no_arm_of_its_own() -> None:
    assert [arm["name"] for arm in standard_arms({"targeted": 1.0})] == [
        "random",
        "coverage",
        "targeted",
    ]
    assert [arm["name"] for arm in standard_arms({"uncertainty": 1.0})][-1] == "uncertainty 1"


def test_a_plan_with_data_of_its_own_is_refused(project: Project) -> None:
    with pytest.raises(SettingsError, match=r"\[data\] of its own"):
        project.replay({"data": {"digits": 100}})


def test_too_few_labels_are_refused(world, tmp_path: Path) -> None:
    root = world({"c0-easy": 12})
    source = Source(str(root / "images"), str(root / "labels.json"))
    small, _ = Project.init(tmp_path / "small", source, group="none")
    with pytest.raises(InputError, match="12 labelled images are too few"):
        small.replay()


def test_a_projects_replay_runs_and_leaves_the_project_as_it_was(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (project.folder / "annoloop.toml").read_text(), project.status()
    plan = {"seeds": 2, "noise": 0, "full": False}
    made = project.replay(plan, workers=1)
    assert made.arms[0].name == "random"
    assert [point.at for point in made.arms[0].curves["images"]] == [7, 14, 21, 28, 35, 42]
    assert (project.folder / "p-replay" / "replay.html").exists()
    assert ((project.folder / "annoloop.toml").read_text(), project.status()) == before

    file = project.folder / "short.toml"
    file.write_text("name = 'short'\nseeds = 2\nnoise = 0\nfull = false\n")
    args = ["replay", str(file), "--project", str(project.folder), "--dry-run", "--json"]
    monkeypatch.setattr("sys.argv", ["annoloop", *args])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 0
    assert '"name": "short"' in capsys.readouterr().out
