"""The whole loop through Project: states in order, exact batches, nothing lost in between."""

from __future__ import annotations

from collections import Counter

import pytest

from annoloop.errors import BatchClosedError, BatchOpenError, BusyError, NotReadyError
from annoloop.project import Project
from annoloop.records import Split, Status
from annoloop.store import batches, db, iterations, samples


def counts_add_up(project: Project) -> None:
    now = project.status()
    pool = now.pool
    parts = (pool.annotated, pool.selected, pool.unlabeled, pool.pending, pool.skipped)
    assert sum(parts) == pool.total == now.splits["pool"]
    assert sum(now.splits.values()) == now.samples == 60


def test_two_iterations_unattended_and_the_next_batch(project: Project) -> None:
    made = project.run(iterations=2, annotator="oracle")
    assert made.iterations == 2
    assert [row.name for row in made.rows] == ["v0", "v1"]
    assert set(made.rows[0].batch) == {"coverage"}
    assert made.rows[1].images > made.rows[0].images
    assert all(row.metric is not None and row.verdict == "continue" for row in made.rows)
    counts_add_up(project)
    chosen = project.select(size=8)
    assert (chosen.batch, chosen.size) == ("v2", 8)
    assert chosen.quotas == {"coverage": 2, "targeted": 6}
    assert sum(chosen.by_source.values()) == 8
    counts_add_up(project)
    assert project.status().open_batch == "v2"
    done = project.run(iterations=5)
    assert done.stopped_because == "batch v2 is waiting for people"


def test_every_step_in_the_users_own_order(project: Project) -> None:
    split = project.split()
    assert sum(split.counts.values()) == 60
    assert split.leaks == ()
    assert project.embed().embedded == 60
    assert project.embed().embedded == 0
    assert project.score().candidates == split.counts["pool"]
    dry = project.select(dry_run=True)
    assert project.batch_list().batches == ()
    taken = project.select()
    assert [p.path for p in taken.picks] == [p.path for p in dry.picks]
    with pytest.raises(BatchOpenError, match="v0 is still open"):
        project.select()
    with pytest.raises(NotReadyError, match="waiting for people"):
        project.train()
    answered = project.annotate_oracle("v0")
    assert answered.missing == ()
    assert answered.images == taken.size + taken.blind_golden
    assert project.annotate_oracle("v0").new_answers == 0
    closed = project.annotate_close("v0")
    assert closed.annotated == taken.size
    with pytest.raises(BatchClosedError, match="relabel"):
        project.annotate_oracle("v0")
    assert project.golden_check().verdict == "insufficient"
    trained = project.train()
    assert trained.images == taken.size
    assert trained.empty_images == closed.empty > 0
    evaluated = project.evaluate()
    assert evaluated.gauge is not None
    assert evaluated.val is not None
    assert evaluated.val["images"] == split.counts["val"]
    assert evaluated.gauge["images"] == split.halves["gauge"]
    assert sum(evaluated.failures.values()) == len(project.failures().failures)
    assert project.decide().verdict == "continue"


def test_groups_are_never_torn(evaluated: Project) -> None:
    evaluated.select(size=8)
    with evaluated.store.read() as connection:
        everyone = samples.load(connection)
    sides: dict[str | None, set[tuple[object, ...]]] = {}
    for sample in everyone:
        sides.setdefault(sample.group, set()).add((sample.split, sample.half, sample.status))
    assert all(len(places) == 1 for places in sides.values())


def test_only_pool_samples_are_selected_and_trained_on(evaluated: Project) -> None:
    chosen = evaluated.select(size=8)
    with evaluated.store.read() as connection:
        by_id = {s.id: s for s in samples.load(connection)}
        blind = [p for p, hidden in batches.load_picks(connection, chosen.batch) if hidden]
    assert {by_id[p.sample_id].split for p in chosen.picks} == {Split.POOL}
    assert {by_id[p.sample_id].status for p in chosen.picks} == {Status.SELECTED}
    assert {by_id[p.sample_id].split for p in blind} == {Split.GOLDEN}
    assert {by_id[p.sample_id].status for p in blind} == {Status.UNLABELED}
    evaluated.annotate_oracle(chosen.batch)
    evaluated.annotate_close(chosen.batch)
    with evaluated.store.read() as connection:
        golden_answers = batches.load_annotations(connection, split=Split.GOLDEN)
    assert golden_answers
    trained = evaluated.train()
    assert trained.images == evaluated.status().pool.annotated


def test_targeted_picks_name_the_failure_they_stand_for(evaluated: Project) -> None:
    chosen = evaluated.select(size=8, dry_run=True)
    by_source = Counter(p.source for p in chosen.picks)
    assert by_source["targeted"] > 0
    brought_in = [p for p in chosen.picks if p.reason.startswith("targeted: ")]
    assert brought_in
    assert all(" (cluster of " in p.reason for p in brought_in)
    assert all(", cosine " in p.reason for p in brought_in)
    shown = evaluated.select(size=8, dry_run=True)
    assert shown == chosen


def test_machine_steps_that_are_missing_are_run_and_said(shapes: object, project: Project) -> None:
    said: list[str] = []
    talking = Project(project.folder, say=said.append)
    talking.select()
    assert any("annoloop split" in text for text in said)
    assert any("annoloop embed" in text for text in said)
    assert any("annoloop score" in text for text in said)
    talking.annotate_oracle("v0")
    talking.annotate_close("v0")
    said.clear()
    talking.select()
    for verb in ("golden check", "annoloop train", "annoloop evaluate", "annoloop decide"):
        assert any(verb in text for text in said), verb


def test_the_test_split_is_opened_only_on_demand_and_counted(evaluated: Project) -> None:
    assert evaluated.status().test_opened == 0
    assert [evaluated.evaluate("test").test_opened for _ in range(2)] == [1, 2]
    assert evaluated.status().test_opened == 2


def test_a_retrained_model_has_a_name_of_its_own(evaluated: Project) -> None:
    assert evaluated.train().model == "v0.2"
    assert evaluated.decide().iteration == "v0"
    assert evaluated.failures().model == "v0.2"
    assert {p.name for p in (evaluated.folder / "models").iterdir()} == {"v0", "v0.2"}


def test_a_stopping_verdict_ends_the_run(project: Project) -> None:
    project = Project(project.folder, overrides={"stop": {"budget_images": 5}})
    made = project.run(iterations=9, annotator="oracle")
    assert (made.iterations, made.verdict) == (1, "stop_budget")
    assert project.run(iterations=9, annotator="oracle").iterations == 0


def test_an_empty_pool_ends_the_loop(project: Project) -> None:
    project = Project(project.folder, overrides={"select": {"share": 1.0}})
    made = project.run(annotator="oracle")
    assert made.verdict == "stop_pool_empty"
    assert project.status().pool.unlabeled == 0
    with pytest.raises(NotReadyError, match="no unlabeled image"):
        project.select()


def test_the_audit_log_explains_what_happened(evaluated: Project) -> None:
    with evaluated.store.read() as connection:
        lines = [(row["what"], row["target"], row["who"]) for row in db.history(connection)]
        history = iterations.load_iterations(connection)
    assert [what for what, _, _ in lines] == [
        "ingest",
        "split",
        "embed",
        "score",
        "select",
        "annotate oracle",
        "annotate close",
        "golden check",
        "train",
        "evaluate",
        "decide",
    ]
    assert len({who for _, _, who in lines}) == 1
    assert history[0].next_step is None


def test_a_second_process_is_refused_by_name(evaluated: Project) -> None:
    other = Project(evaluated.folder)
    with evaluated._alone("train"), pytest.raises(BusyError, match="train, process"):
        other.select()
    other.select()
