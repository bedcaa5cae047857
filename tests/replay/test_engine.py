"""The machinery of replay on a small planted world: fair, resumable, and honest about failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from annoloop.errors import BusyError, InputError, SettingsError, TrainerError
from annoloop.project import Project
from annoloop.records import Source
from annoloop.replay import engine
from annoloop.replay.engine import plan_jobs, replay, replay_cost
from annoloop.replay.plan import Plan
from annoloop.replay.runs import is_whole, load_records, load_test, perform
from annoloop.replay.worlds import Voices, World, prepare_seed, prepare_world
from annoloop.store import batches, samples

MODES = {"c0-a": 30, "c1-b": 30, "empty": 20}
TWO = {"random": {"random": 1.0}, "coverage": {"coverage": 1.0}}
QUIET = Voices(lambda _text: None, lambda _done, _total, _what: None)


@pytest.fixture
def small(world, make_plan) -> Callable[..., Plan]:
    root = world(MODES)

    def made(mixes=TWO, **changed) -> Plan:
        sizes = {"seeds": 1, "first": 6, "batch": 6, "budget_images": 18}
        sizes["first_mix"] = {"random": 1.0}
        return make_plan(root, mixes, **{**sizes, **changed})

    return made


def runs(plan: Plan, folder: Path) -> tuple[World, list[engine.Job]]:
    world = prepare_world(plan, folder, QUIET)
    for seed in plan.seed_list:
        prepare_seed(world, plan, seed)
    return world, plan_jobs(plan, world)


def test_arms_of_a_seed_start_alike_and_one_arm_twice_is_the_same(small, tmp_path: Path) -> None:
    log = tmp_path / "trainings.txt"
    mixes = {"random": {"random": 1.0}, "again": {"random": 1.0}, "30/70": None}
    mixes["30/70"] = {"coverage": 0.3, "targeted": 0.7}
    plan = small(mixes, trainer={"log": str(log)})
    _, jobs = runs(plan, tmp_path / "out")
    assert [perform(job) for job in jobs] == [None, None, None]
    first, again, other = (load_records(job.records) for job in jobs)
    assert [one.picks for one in first] == [one.picks for one in again]
    assert [one.metric for one in first] == [one.metric for one in again]
    assert other[0].picks == first[0].picks
    assert other[1].picks != first[1].picks
    # One first model for all, and none twice for the arm that was run twice.
    sizes = sorted(int(line.split()[0]) for line in log.read_text().splitlines())
    assert sizes == [6, 12, 12, 18, 18]


def test_test_images_are_neither_seen_nor_looked_at_before_the_end(small, tmp_path: Path) -> None:
    plan = small()
    world, jobs = runs(plan, tmp_path / "out")
    perform(jobs[0], most=2)
    project = world.open(jobs[0].folder, plan, jobs[0].arm, 0)
    assert project.status().test_opened == 0
    perform(jobs[0])
    assert project.status().test_opened == 1
    perform(jobs[0])
    assert project.status().test_opened == 1
    manifest = json.loads((jobs[0].folder / "splits.lock.json").read_text())
    locked = {key for ids in manifest["splits"].values() for key in ids}
    used = {p for one in load_records(jobs[0].records) for p in one.picks}
    assert not locked & {Path(p).stem for p in used}
    assert all(pick.sample_id not in locked for pick in _picks(project))


def _picks(project: Project):
    with project.store.read() as connection:
        return [
            p
            for b in batches.load_all(connection)
            for p, _ in batches.load_picks(connection, b.name)
        ]


def test_a_killed_run_goes_on_and_ends_the_same(small, tmp_path: Path) -> None:
    plan = small()
    _, jobs = runs(plan, tmp_path / "whole")
    perform(jobs[1])
    _, halves = runs(plan, tmp_path / "killed")
    perform(halves[1], most=1)
    assert not is_whole(halves[1])
    perform(halves[1], most=2)
    perform(halves[1])
    assert is_whole(halves[1])
    whole, resumed = load_records(jobs[1].records), load_records(halves[1].records)
    assert [(r.picks, r.metric) for r in whole] == [(r.picks, r.metric) for r in resumed]


def test_what_is_there_is_not_run_again(small, tmp_path: Path) -> None:
    log = tmp_path / "trainings.txt"
    trainer = {"log": str(log)}
    replay(small(trainer=trainer), out=tmp_path / "out", workers=1)
    before = log.read_text()
    made = replay(small(trainer=trainer), out=tmp_path / "out", workers=1)
    assert log.read_text() == before
    # A larger budget goes on from where the runs ended.
    more = replay(small(trainer=trainer, budget_images=24), out=tmp_path / "out", workers=1)
    assert len(log.read_text().splitlines()) == len(before.splitlines()) + 2
    assert [point.at for point in more.arms[0].curves["images"]] == [6, 12, 18, 24]
    assert [point.at for point in made.arms[0].curves["images"]] == [6, 12, 18]


def test_a_trainer_that_fails_in_one_run_is_marked_and_the_others_go_on(
    small, tmp_path: Path
) -> None:
    arms = [
        {"name": "random", "mix": {"random": 1.0}},
        {
            "name": "breaks",
            "mix": {"coverage": 1.0},
            "settings": {"train": {"options": {"breaks_at": 12}}},
        },
        {"name": "coverage", "mix": {"coverage": 1.0}},
    ]
    made = replay(small(arms=arms), out=tmp_path / "out", workers=1)
    assert [(one.arm, one.seed) for one in made.failed] == [("breaks", 0)]
    assert "the planted trainer broke" in made.failed[0].why
    assert [arm.name for arm in made.arms] == ["random", "coverage"]
    page = (tmp_path / "out" / "replay.html").read_text()
    assert "run breaks, seed 0 failed" in page


def test_without_a_baseline_there_is_no_answer(small, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="no run of the baseline random"):
        replay(small(trainer={"breaks_at": 12}), out=tmp_path / "out", workers=1)


@pytest.mark.long
def test_workers_give_the_same_records(small, tmp_path: Path) -> None:
    plan = small(noise=1, full=True)
    one = replay(plan, out=tmp_path / "one", workers=1)
    two = replay(plan, out=tmp_path / "two", workers=2)
    assert one.arms == two.arms
    assert one.noise == two.noise
    assert one.noise is not None
    assert one.full_metric is not None
    assert (tmp_path / "one" / "records.csv").read_text().count("\n") == 1 + 3 + 3 + 2


def test_a_noisy_oracle_says_the_same_of_an_image_to_every_arm(small, tmp_path: Path) -> None:
    plan = small(oracle={"miss": 0.3, "swap": 0.2, "spurious": 0.2, "jitter": 0.1})
    world, jobs = runs(plan, tmp_path / "out")
    said: dict[str, set[str]] = {}
    changed = 0
    for job in jobs:
        assert perform(job) is None
        project = world.open(job.folder, plan, job.arm, 0)
        with project.store.read() as connection:
            given = list(batches.load_annotations(connection))
            known = samples.newest_references(connection, ids=[g.sample_id for g in given])
        for one in given:
            said.setdefault(one.sample_id, set()).add(repr(one.labels))
            changed += one.labels != known[one.sample_id].labels
    assert all(len(answers) == 1 for answers in said.values())
    assert changed
    made = replay(plan, out=tmp_path / "out", workers=1)
    assert any("oracle errs" in note for note in made.notes)


def test_a_project_is_replayed_with_what_people_labelled(world, make_plan, tmp_path: Path) -> None:
    """Images that nobody labelled are left out; what the loop's people said counts."""
    root = world(MODES)
    document = json.loads((root / "labels.json").read_text())
    document["images"] = document["images"][:72]
    kept = {row["id"] for row in document["images"]}
    document["annotations"] = [a for a in document["annotations"] if a["image_id"] in kept]
    (root / "some.json").write_text(json.dumps(document))
    Project.init(tmp_path / "project", Source(str(root / "images"), str(root / "some.json")))
    plan = make_plan(
        root,
        TWO,
        data={"project": str(tmp_path / "project")},
        seeds=1,
        first=6,
        batch=6,
        budget_images=12,
    )
    found = prepare_world(plan, tmp_path / "out", QUIET)
    assert found.images == 72
    assert found.boxes == {"class 0": 30, "class 1": 30}


def test_a_budget_that_no_group_fits_ends_the_run_whole(small, tmp_path: Path) -> None:
    root = Path(small().data.images or "").parent
    document = json.loads((root / "labels.json").read_text())
    for row in document["images"]:
        row["scene"] = str(row["id"] // 4)
    (root / "grouped.json").write_text(json.dumps(document))
    labels = {"images": str(root / "images"), "labels": str(root / "grouped.json")}
    plan = small(data={**labels, "group": "column:scene"}, first=8, batch=8)
    made = replay(plan, out=tmp_path / "out", workers=1)
    assert not made.failed
    assert [arm.images for arm in made.arms] == [16, 16]
    _, jobs = runs(plan, tmp_path / "out")
    assert "fits" in (load_test(jobs[0].records) or {})["ended"]


def test_a_dry_run_times_two_iterations_and_keeps_them(small, tmp_path: Path) -> None:
    plan = small(seeds=2, noise=1)
    cost = replay_cost(plan, out=tmp_path / "out", workers=2)
    assert (cost.runs, cost.iterations, cost.iterations_done) == (4, 12, 2)
    assert cost.trainings == 12 - 2 + 6
    assert cost.seconds is not None
    assert cost.seconds > 0


def test_one_replay_at_a_time_in_a_folder(small, tmp_path: Path) -> None:
    with engine._alone(tmp_path / "out"), pytest.raises(BusyError, match="another replay"):
        replay(small(), out=tmp_path / "out")


def test_other_data_in_the_same_folder_is_refused(small, make_plan, tmp_path: Path) -> None:
    prepare_world(small(), tmp_path / "out", QUIET)
    other = small(data={"digits": 40})
    with pytest.raises(InputError, match="other data"):
        replay(other, out=tmp_path / "out")


def test_a_budget_above_the_pool_is_refused(small, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="70 images is above the pool: seed 0 leaves"):
        replay(small(budget_images=70), out=tmp_path / "out", workers=1)


def test_too_few_labels_for_the_first_batch_are_refused(small, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"too few labels: seed 0 leaves .* needs 60"):
        replay(small(first=60, budget_images=65), out=tmp_path / "out", workers=1)


def test_no_workers_are_refused(small, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 workers"):
        replay(small(), out=tmp_path / "out", workers=0)
