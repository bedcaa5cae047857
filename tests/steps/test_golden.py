"""Golden QA in the loop: blind images, qualification passes, a fail that stops, its acceptance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from annoloop.errors import BatchOpenError, GoldenError, InputError, NotReadyError
from annoloop.project import Project
from annoloop.records import Annotation, Answer, Split, Status
from annoloop.store import batches, iterations, samples


def answer(project: Project, name: str, annotator: str, *, drop: bool = False) -> None:
    """Answer every image of a batch from its reference, or (drop) golden ones without a box."""
    with project.store.write() as connection:
        ids = [pick.sample_id for pick, _ in batches.load_picks(connection, name)]
        tasks = {s.id: s for s in samples.load(connection, ids=ids)}
        known = samples.newest_references(connection, ids=ids)
        given = []
        for key in ids:
            labels = known[key].labels
            if drop and tasks[key].split is Split.GOLDEN:
                labels = ()
            kind = Answer.COMPLETE if labels else Answer.EMPTY
            given.append(Annotation(key, name, annotator, kind, labels, at="t"))
        batches.add_annotations(connection, given)


@pytest.fixture
def qualified(project: Project) -> Project:
    """Three qualification passes are recorded, and batch v0 hides all golden images."""
    project.split()
    made = project.golden_baseline()
    for name in ("ann", "bob", "cleo"):
        answer(project, made.batch, name)
    project.annotate_close(made.batch)
    assert project.select(size=20).blind_golden == 8
    return project


def test_a_baseline_batch_is_no_reference(qualified: Project) -> None:
    with qualified.store.read() as connection:
        references = samples.newest_references(connection, split=Split.GOLDEN)
        golden = samples.load(connection, split=Split.GOLDEN)
    assert {one.version for one in references.values()} == {1}
    assert {s.status for s in golden} == {Status.UNLABELED}
    assert "3 passes so far" in qualified.golden_baseline().notes[0]
    with pytest.raises(BatchOpenError, match="golden-2 is still open"):
        qualified.golden_baseline()


def test_good_labels_on_few_images_are_insufficient_and_go_on(qualified: Project) -> None:
    answer(qualified, "v0", "ann")
    qualified.annotate_close("v0")
    made = qualified.golden_check()
    assert made.verdict == "insufficient"
    assert "at least" in made.reason
    assert made.numbers["tested"] == 8
    assert made.numbers["look"] == 1
    history = qualified.golden_stats().history
    assert [(h["images_compared"], h["missed"]) for h in history] == [(8, 0.0)]
    assert qualified.run(iterations=1).iterations == 1


def test_a_fail_stops_the_loop_until_it_is_accepted(qualified: Project) -> None:
    answer(qualified, "v0", "dan", drop=True)
    qualified.annotate_close("v0")
    made = qualified.golden_check()
    assert made.verdict == "fail"
    assert made.numbers["errors"]["missed"]["failed"]
    assert made.numbers["errors"]["missed"]["p_value"] <= 0.05 * 0.4 / 20
    for verb in (qualified.select, qualified.train):
        with pytest.raises(GoldenError, match="golden check of v0 failed"):
            verb()
    assert "golden check of v0 failed" in qualified.run().stopped_because
    with pytest.raises(GoldenError, match="needs a reason"):
        qualified.golden_check(accept="  ")
    assert qualified.golden_check(accept="dan is new, his images are redone").accepted
    assert qualified.run(iterations=1).iterations == 1
    with qualified.store.read() as connection:
        record = iterations.newest_iteration(connection).steps["golden"].record
    assert record["accepted"] == "dan is new, his images are redone"
    with pytest.raises(GoldenError, match="not fail"):
        answer_and_accept_a_pass(qualified)


def answer_and_accept_a_pass(project: Project) -> None:
    chosen = project.select(size=20)
    answer(project, chosen.batch, "ann")
    project.annotate_close(chosen.batch)
    project.golden_check()
    project.golden_check(accept="why not")


def test_looking_again_is_the_same_look(qualified: Project) -> None:
    answer(qualified, "v0", "ann")
    qualified.annotate_close("v0")
    assert [qualified.golden_check().numbers["look"] for _ in range(3)] == [1, 1, 1]


def test_planned_looks_are_not_overspent(qualified: Project) -> None:
    planned = Project(qualified.folder, overrides={"golden": {"looks": 1}})
    for name in ("v0", "v1"):
        answer(planned, name, "ann")
        planned.annotate_close(name)
        if name == "v0":
            planned.run(iterations=1)
            planned.select(size=20)
    with pytest.raises(InputError, match="budget is spent"):
        planned.golden_check()


def test_a_corrected_reference_rewrites_the_history(qualified: Project, tmp_path: Path) -> None:
    answer(qualified, "v0", "ann")
    qualified.annotate_close("v0")
    qualified.golden_check()
    with qualified.store.write() as connection:
        known = samples.newest_references(connection, split=Split.GOLDEN)
        changed = next(one for one in known.values() if one.labels)
        shifted = tuple(replace(b, box=(70.0, 50.0, 9.0, 9.0)) for b in changed.labels)
        new = replace(changed, labels=shifted, source="relabel-1")
        samples.add_references(connection, [new], who="w", at="t")
    entry = qualified.golden_stats().history[0]
    assert entry["missed"] > 0
    assert entry["spurious"] > 0


def test_without_qualification_three_earlier_passes_are_needed(project: Project) -> None:
    project = Project(project.folder, overrides={"golden": {"rotation": 0.0}})
    tested = []
    for number in range(4):
        project.select(size=8)
        answer(project, f"v{number}", "ann")
        project.annotate_close(f"v{number}")
        tested.append(project.golden_check().numbers["tested"])
        project.run(iterations=1)
    assert tested == [0, 0, 0, 4]


def test_most_blind_images_stay_from_batch_to_batch(evaluated: Project) -> None:
    with evaluated.store.read() as connection:
        first = {p.sample_id for p, hidden in batches.load_picks(connection, "v0") if hidden}
    evaluated.select(size=8)
    with evaluated.store.read() as connection:
        second = {p.sample_id for p, hidden in batches.load_picks(connection, "v1") if hidden}
    assert len(first) == len(second) == 4
    assert len(first & second) >= 3


def test_no_share_hides_nothing(project: Project) -> None:
    project = Project(project.folder, overrides={"golden": {"share": 0}})
    assert project.select(size=8).blind_golden == 0
    assert project.golden_plan().next_batch == 0


def test_a_check_needs_a_closed_batch(project: Project) -> None:
    with pytest.raises(NotReadyError, match="no batch yet"):
        project.golden_check()
