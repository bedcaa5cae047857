"""A review of failures: blind batch, two people, and what decide makes of their answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annoloop.errors import BatchError, BatchOpenError, NotReadyError
from annoloop.project import Project
from annoloop.records import Annotation, Answer, Label
from annoloop.store import batches, iterations

Person = Callable[[str, tuple[Label, ...]], tuple[Label, ...] | None]


def answer(project: Project, name: str, *people: Person) -> None:
    """Each person sees every image once and answers from its reference labels as they like."""
    from annoloop.store import samples

    with project.store.write() as connection:
        ids = [pick.sample_id for pick, _ in batches.load_picks(connection, name)]
        known = samples.newest_references(connection, ids=ids)
        for number, person in enumerate(people):
            given = []
            for key in ids:
                said = person(key, known[key].labels)
                kind = Answer.UNSURE if said is None else Answer.COMPLETE if said else Answer.EMPTY
                given.append(Annotation(key, name, f"person {number}", kind, said or ()))
            batches.add_annotations(connection, given)


def faithful(_: str, labels: tuple[Label, ...]) -> tuple[Label, ...]:
    return labels


def unsure(_: str, labels: tuple[Label, ...]) -> None:
    return None


def model(project: Project) -> Person:
    """Somebody who says what the model said at each failure: the labels are wrong."""
    found: dict[str, list[Any]] = {}
    for view in project.failures().failures:
        found.setdefault(view.failure.sample_id, []).append(view.failure)

    def person(key: str, labels: tuple[Label, ...]) -> tuple[Label, ...]:
        missed = {f.box for f in found.get(key, ()) if f.type == "missed"}
        wrong = [f for f in found.get(key, ()) if f.type != "missed"]
        kept = tuple(one for one in labels if one.box not in missed)
        return (*kept, *(Label(f.class_id, f.box) for f in wrong))

    return person


def test_failures_that_people_see_like_the_labels_are_the_models(evaluated: Project) -> None:
    made = evaluated.failures_review()
    assert made.kind == "review"
    answer(evaluated, made.batch, faithful, faithful)
    closed = evaluated.annotate_close(made.batch)
    assert closed.review is not None
    shares = closed.review["shares"]
    assert shares["counts"] == {"model error": shares["failures"]}
    assert shares["model"]["value"] == pytest.approx(1.0)
    decoys = closed.review["decoys"]
    assert decoys["agree"] == decoys["images"]
    decided = evaluated.decide()
    assert decided.verdict == "continue"
    assert decided.numbers["review"] == shares
    assert f"{made.batch} reviewed model v0" in decided.reason


def test_what_nobody_can_tell_stops_the_loop(
    evaluated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So few failures that half of them cannot be certain.
    monkeypatch.setattr("annoloop.core.stopping.MOSTLY_AMBIGUOUS", 0.2)
    name = evaluated.failures_review().batch
    answer(evaluated, name, faithful, unsure)
    evaluated.annotate_close(name)
    assert evaluated.decide().verdict == "stop_ambiguity"
    assert evaluated.run(iterations=1).stopped_because == "the verdict is stop_ambiguity"


def test_wrong_labels_ask_to_be_fixed_and_are_forgotten_once_corrected(
    evaluated: Project, tmp_path: Path
) -> None:
    name = evaluated.failures_review().batch
    person = model(evaluated)
    answer(evaluated, name, person, person)
    closed = evaluated.annotate_close(name)
    assert closed.review is not None
    counts = closed.review["shares"]["counts"]
    assert counts.get("label error", 0) > 0.5 * sum(counts.values())
    made = evaluated.decide()
    assert made.verdict == "fix_labels"
    assert "wrong label" in made.reason
    assert "relabel" in evaluated.status().next_step
    paths = [p.path for p in evaluated.batch_show(name).picks if p.source == "review"][:1]
    relabel = evaluated.batch_make("relabel", paths=paths).batch
    evaluated.batch_export(relabel, tmp_path / "out")
    file = next((tmp_path / "out").glob("*.json"))
    evaluated.annotate_import(file, batch=relabel, annotator="ann", allow=["empty_means_reviewed"])
    evaluated.annotate_close(relabel)
    assert evaluated.decide().numbers["review"] is None


def test_one_answer_is_no_review(evaluated: Project) -> None:
    name = evaluated.failures_review(size=4).batch
    answer(evaluated, name, faithful)
    closed = evaluated.annotate_close(name)
    assert closed.review is None
    assert "two blind ones" in closed.notes[0]
    assert evaluated.decide().numbers["review"] is None


def test_the_batch_is_blind_and_one_at_a_time(evaluated: Project, tmp_path: Path) -> None:
    made = evaluated.failures_review(size=3)
    with pytest.raises(BatchOpenError, match="still open"):
        evaluated.failures_review()
    with pytest.raises(BatchError, match="anchor"):
        evaluated.batch_export(made.batch, tmp_path / "pre", prelabels=True)
    evaluated.batch_export(made.batch, tmp_path / "out")
    text = next((tmp_path / "out").glob("*.json")).read_text()
    assert not json.loads(text)["annotations"]
    assert "decoy" not in text
    assert "two people answer" in evaluated.status().next_step
    shown = evaluated.batch_show(made.batch).picks
    asked = min(3, len(evaluated.failures().failures))
    assert sum(len(p.details["failures"]) for p in shown) == asked


def test_two_people_who_differ_are_not_called_overruled(evaluated: Project, tmp_path: Path) -> None:
    name = evaluated.failures_review(size=3).batch
    evaluated.batch_export(name, tmp_path / "out")
    file = next((tmp_path / "out").glob("*.json"))
    given = json.loads(file.read_text())
    for number, image in enumerate(given["images"]):
        image["reviewed"] = True
        box = {"image_id": image["id"], "category_id": 1, "bbox": [2, 2, 9, 9]}
        given["annotations"].append({"id": number + 1, "iscrowd": 0, "area": 81, **box})
    other = tmp_path / "other.json"
    other.write_text(json.dumps(given))
    evaluated.annotate_import(other, batch=name, annotator="ann")
    second = evaluated.annotate_import(
        file, batch=name, annotator="ben", allow=["empty_means_reviewed"]
    )
    assert not [note for note in second.notes if "newest counts" in note]
    assert evaluated.annotate_close(name).review is not None


def test_a_review_is_kept_with_the_iteration_whose_failures_it_judged(evaluated: Project) -> None:
    name = evaluated.failures_review(size=5).batch
    answer(evaluated, name, faithful, unsure)
    evaluated.run(iterations=2, annotator="oracle")
    evaluated.annotate_close(name)
    with evaluated.store.read() as connection:
        kept = iterations.step_history(connection, "review")
        newest = iterations.newest_iteration(connection)
    assert [one.iteration for one in kept] == [0]
    assert newest is not None
    assert newest.number == 2
    assert evaluated.decide().numbers["review"] is None  # two iterations later it says nothing


def test_nothing_to_review(project: Project) -> None:
    with pytest.raises(NotReadyError, match="nothing was evaluated"):
        project.failures_review()
