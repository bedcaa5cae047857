"""`history` and `sample`: who did what, and what is known of one image."""

from __future__ import annotations

import pytest

from annoloop.errors import InputError
from annoloop.project import Project
from annoloop.records import Answer, Split
from annoloop.render import to_text
from annoloop.steps.history import LONGEST
from annoloop.store import batches, samples


def test_every_step_is_told_with_its_outcome(evaluated: Project) -> None:
    (one,) = evaluated.history().iterations
    told = {step.step: step.said for step in one.steps}
    row = evaluated.status().iterations[0]
    assert list(told) == ["select", "annotate", "golden", "train", "evaluate", "decide"]
    assert told["decide"] == row.reason
    assert f"{row.images} images, {row.boxes} boxes" in told["train"]
    assert f"AP50 {row.metric:.3f} on gauge" in told["evaluate"]
    assert told["golden"].startswith(str(row.golden))


def test_the_log_names_who_asked_and_is_cut_to_what_was_wanted(evaluated: Project) -> None:
    theirs = Project(evaluated.folder, who="mia")
    theirs.select(4)
    seen = evaluated.history(events=1)
    assert [(e.who, e.what, e.target) for e in seen.events] == [("mia", "select", "v1")]
    assert seen.events_in_all == len(evaluated.history(events=10_000).events)
    assert all(len(e.said) <= LONGEST for e in evaluated.history().events)
    assert f"… and {seen.events_in_all - 1} earlier lines" in to_text(seen)


def test_a_sample_says_why_it_was_picked_and_what_was_answered(evaluated: Project) -> None:
    pick = evaluated.batch_show("v0").picks[0]
    seen = evaluated.sample(pick.path)
    assert seen == evaluated.sample(pick.sample_id)
    (place,) = seen.batches
    assert (place.batch, place.source, place.reason) == ("v0", pick.source, pick.reason)
    (given,) = seen.answers
    assert given.annotator == seen.labels_from == "oracle"
    with evaluated.store.read() as connection:
        (stored,) = batches.load_annotations(connection, ids=[pick.sample_id])
        classes = samples.schema(connection).classes
    assert given.answer == stored.answer
    assert [(b.box, b.class_name) for b in seen.labels] == [
        (label.box, classes[label.class_id]) for label in stored.labels
    ]
    assert pick.reason in to_text(seen)


def test_a_sample_of_val_shows_its_reference_and_what_the_model_got_wrong(
    evaluated: Project,
) -> None:
    failures = evaluated.failures().failures
    key = failures[0].failure.sample_id
    seen = evaluated.sample(key)
    assert (seen.split, seen.half, seen.labels_from) == (Split.VAL, "mine", "reference")
    assert sorted(seen.failures) == sorted(
        view.text for view in failures if view.failure.sample_id == key
    )
    assert seen.model == "v0"
    least = evaluated.failures().min_score
    assert all(box.score is not None and box.score >= least for box in seen.predicted)


def test_a_hidden_golden_image_is_not_told_until_its_batch_is_closed(evaluated: Project) -> None:
    evaluated.select(4)
    with evaluated.store.read() as connection:
        hidden = [pick.sample_id for pick, blind in batches.load_picks(connection, "v1") if blind]
    evaluated.annotate_oracle("v1")
    assert hidden
    for key in hidden:
        seen = evaluated.sample(key)
        assert "v1" not in {place.batch for place in seen.batches}
        assert "v1" not in {given.batch for given in seen.answers}
    evaluated.annotate_close("v1")
    assert all("v1" in {given.batch for given in evaluated.sample(key).answers} for key in hidden)


def test_an_answer_that_does_not_count_gives_no_labels(project: Project) -> None:
    project.select(4)
    pick = project.batch_show("v0").picks[0]
    assert project.sample(pick.path).labels_from is None
    project.annotate_skip([pick.path], why="too dark")
    seen = project.sample(pick.path)
    assert (seen.labels, seen.labels_from) == ((), None)
    assert [(given.answer, given.why) for given in seen.answers] == [(Answer.UNUSABLE, "too dark")]


def test_no_such_sample(project: Project) -> None:
    with pytest.raises(InputError, match=r"no sample 'nowhere\.jpg'"):
        project.sample("nowhere.jpg")
