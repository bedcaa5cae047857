"""`failures` and `explain`: what a project tells of its newest model."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from annoloop.errors import InputError, NotReadyError
from annoloop.project import Project
from annoloop.records import Half, Split
from annoloop.render import to_json, to_text
from annoloop.store import samples


def test_failures_come_from_mine_and_are_told_in_every_way(evaluated: Project) -> None:
    made = evaluated.failures()
    with evaluated.store.read() as connection:
        val = {s.id: s for s in samples.load(connection, split=Split.VAL)}
    assert made.failures
    assert {val[view.failure.sample_id].half for view in made.failures} == {Half.MINE}
    assert sum(group.failures for group in made.groups) == len(made.failures)
    assert {g.type for g in made.groups} == set(made.by_type)
    assert made.notes == ()  # images have vectors, so groups are by look too
    total = sum(view.failure.price for view in made.failures)
    assert sum(made.prices.values()) == pytest.approx(total)
    assert sum(g.price for g in made.groups) == pytest.approx(total)
    counted = {w.path: w.fp + w.fn for w in made.worst}
    assert counted[made.worst[0].path] > 0
    assert made.changes is None
    (only,) = made.history
    assert (only.by_type, only.by_class) == (made.by_type, made.by_class)
    document = json.loads(to_json(made))
    assert len(document["failures"]) == len(made.failures)
    assert made.groups[0].text in to_text(made)


def test_what_changed_since_the_last_iteration(evaluated: Project) -> None:
    first = evaluated.failures()
    evaluated.run(iterations=1, annotator="oracle")
    second = evaluated.failures()
    assert second.changes is not None
    assert second.changes.since == "v0"
    assert second.changes.fixed + second.changes.still == len(first.failures)
    assert second.changes.new + second.changes.still == len(second.failures)
    told = sum((Counter(of_type) for of_type in second.changes.by_type.values()), Counter())
    assert told["fixed"] == second.changes.fixed
    assert told["new"] == second.changes.new
    assert [one.iteration for one in second.history] == ["v0", "v1"]
    assert second.history[0].by_type == first.by_type
    assert "still there" in to_text(second)


def test_groups_without_vectors_say_so(evaluated: Project, monkeypatch) -> None:
    monkeypatch.setattr("annoloop.store.vectors.VectorStore.load_scores", lambda self: None)
    made = evaluated.failures()
    assert made.notes == ("images have no vectors yet, so groups are by class and type only",)
    assert {(g.cluster, g.clusters) for g in made.groups} == {(1, 1)}


def test_details_on_gauge_and_slices_of_val(evaluated: Project) -> None:
    made = evaluated.evaluate(by="folder")
    assert made.details is not None
    assert made.gauge is not None
    assert made.val is not None
    for one in made.details["classes"]:
        assert one["ap"] == made.gauge["per_class"][one["name"]]
    assert sum(part["images"] for part in made.slices.values()) == made.val["images"]
    halves = evaluated.evaluate(by="half").slices
    assert halves["gauge"]["AP50"] == pytest.approx(made.gauge["summary"]["AP50"])
    again = evaluated.explain()
    assert (again.model, again.details) == (made.model, made.details)
    assert "slice of val" in to_text(made)
    counted = {one.image: (one.tp, one.fp, one.fn) for one in made.per_image}
    assert len(counted) == made.val["images"]
    worst = evaluated.failures().worst[0]
    assert counted[worst.path] == (worst.tp, worst.fp, worst.fn)
    with pytest.raises(InputError, match="'colour'"):
        evaluated.evaluate(by="colour")
    with pytest.raises(InputError, match="not sliced"):
        evaluated.evaluate("test", by="folder")


def test_nothing_is_explained_before_it_is_measured(project: Project) -> None:
    with pytest.raises(NotReadyError, match="nothing was evaluated"):
        project.explain()
    with pytest.raises(NotReadyError, match="nothing was evaluated"):
        project.failures()
