"""Labels that models contradict: what kind of error, how likely, and planted ones come first."""

from __future__ import annotations

import numpy as np
import pytest

from annoloop.core.suspects import PRIOR, Suspect, SuspectKind, by_image, suspects
from annoloop.records import Detection, Label

BOX = (10.0, 10.0, 40.0, 40.0)


def around(count: int = 100, *, score: float = 0.9) -> tuple[dict, dict]:
    """Images on which labels and models agree, each at a score of its own."""
    rng = np.random.default_rng(0)
    scores = np.clip(rng.normal(score, 0.05, count), 0.05, 1.0)
    labels = {f"i{n:03}": [Label(0, BOX)] for n in range(count)}
    said = {f"i{n:03}": [Detection(0, BOX, float(scores[n]))] for n in range(count)}
    return labels, said


def one(labels: dict, said: dict, key: str) -> Suspect:
    (found,) = [s for s in suspects(labels, said) if s.sample_id == key and s.suspicion > PRIOR]
    return found


def test_an_object_without_a_label() -> None:
    labels, said = around()
    labels["x"], said["x"] = [], [Detection(0, BOX, 0.97)]
    found = one(labels, said, "x")
    assert (found.kind, found.class_id, found.proposed_box) == (SuspectKind.MISSING, 0, BOX)
    assert found.suspicion > 0.5


def test_an_object_beside_one_that_is_labelled_and_found() -> None:
    labels, said = around()
    beside = (40.0, 10.0, 40.0, 40.0)  # IoU 0.14 with BOX
    labels["x"] = [Label(0, BOX)]
    said["x"] = [Detection(0, BOX, 0.98), Detection(0, beside, 0.97)]
    found = one(labels, said, "x")
    assert (found.kind, found.box) == (SuspectKind.MISSING, beside)


def test_another_class_that_the_model_is_surer_of() -> None:
    labels, said = around()
    labels["x"], said["x"] = [Label(1, BOX)], [Detection(0, BOX, 0.97)]
    found = one(labels, said, "x")
    assert (found.kind, found.class_id, found.proposed_class_id) == (SuspectKind.SWAPPED, 1, 0)


def test_another_class_that_the_model_is_less_sure_of_says_nothing() -> None:
    labels, said = around()
    labels["x"] = [Label(0, BOX)]
    said["x"] = [Detection(0, BOX, 0.97), Detection(1, BOX, 0.6)]
    assert not [s for s in suspects(labels, said) if s.kind is SuspectKind.SWAPPED]


def test_a_label_beside_its_object() -> None:
    labels, said = around()
    away = (30.0, 25.0, 40.0, 40.0)  # IoU 0.19 with BOX
    labels["x"], said["x"] = [Label(0, away)], [Detection(0, BOX, 0.97)]
    found = one(labels, said, "x")
    assert (found.kind, found.box, found.proposed_box) == (SuspectKind.MISPLACED, away, BOX)


def test_a_label_where_no_model_sees_anything() -> None:
    labels, said = around()
    labels["x"], said["x"] = [Label(0, BOX)], []
    found = one(labels, said, "x")
    assert (found.kind, found.proposed_class_id, found.score) == (SuspectKind.SPURIOUS, None, 1.0)


def test_a_model_that_often_misses_makes_no_label_a_suspect_for_it() -> None:
    labels, said = around(200)
    for n in range(80):
        said[f"i{n:03}"] = []
    found = [s for s in suspects(labels, said) if s.kind is SuspectKind.SPURIOUS]
    assert max(s.suspicion for s in found) < 0.1


def test_a_model_that_is_often_wrong_makes_no_gap_a_suspect_for_it() -> None:
    """False alarms at every score but the highest, as many as hits: each says little."""
    labels, said = around(200)
    for n in range(200):
        labels[f"e{n:03}"], said[f"e{n:03}"] = [], [Detection(0, BOX, 0.5 + n / 1000)]
    found = {s.sample_id: s.suspicion for s in suspects(labels, said)}
    assert max(found[f"e{n:03}"] for n in range(100)) < 0.1


def test_where_half_of_the_objects_lack_a_label_the_surest_are_taken_for_such() -> None:
    labels, said = around(800)
    for n in range(400):
        labels[f"i{n:03}"] = []
    found = suspects(labels, said)
    missing = [s for s in found if s.kind is SuspectKind.MISSING]
    assert len(missing) == 400
    assert np.mean([s.suspicion for s in missing[:50]]) > 0.6


def test_crowd_regions_are_no_suspects() -> None:
    labels, said = around()
    labels["x"], said["x"] = [Label(0, BOX, crowd=True)], [Detection(0, BOX, 0.99)]
    labels["y"], said["y"] = [Label(0, BOX, difficult=True)], []
    assert not [s for s in suspects(labels, said) if s.sample_id in "xy"]


def test_images_are_ranked_by_what_is_expected_to_be_wrong() -> None:
    rows = [
        Suspect(key, SuspectKind.SPURIOUS, 0, BOX, None, None, 1.0, suspicion)
        for key, suspicion in (("a", 0.6), ("b", 0.4), ("b", 0.4), ("c", 0.1))
    ]
    assert list(by_image(rows)) == ["b", "a", "c"]
    assert by_image(rows)["b"] == pytest.approx(0.8)


def test_nothing_in_nothing_out() -> None:
    assert suspects({}, {}) == ()
    assert suspects({"a": [], "b": []}, {"a": []}) == ()
