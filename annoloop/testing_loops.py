"""The contract kits of data sets with a loop; `testing_kits` says how kits are used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from annoloop.errors import InputError, VectorError
from annoloop.ports import LoopReader, Mirror
from annoloop.records_loop import Drawn, LoopBoxes, LoopSample
from annoloop.testing_kits import says_what_to_do

SHARES_CLOSE = 1e-9
"""Largest difference between two boxes, as shares of the image."""


@dataclass(frozen=True, slots=True)
class LoopCase:
    """An opened data set, and what is in it by external id: samples, boxes, vectors.

    At least four samples: one that somebody reviewed and found empty, one that nobody looked at,
    one without a vector. `broken` is a data set with a box that has no coordinates in the file
    `culprit`, `blind` one with a vector of another width there.
    """

    reader: LoopReader
    samples: Mapping[str, LoopSample]
    boxes: Mapping[str, LoopBoxes]
    vectors: Mapping[str, tuple[float, ...]]
    broken: LoopReader
    blind: LoopReader
    culprit: str


class LoopReaderContract:
    """Reads every sample once, boxes and vectors of those asked for, and changes nothing."""

    @pytest.fixture
    def case(self) -> LoopCase:
        raise NotImplementedError("return a LoopCase")

    def test_every_sample_is_there_once(self, case: LoopCase) -> None:
        found = case.reader.read_loop()
        ids = [one.external_id for one in found.samples]
        assert sorted(ids) == sorted(set(ids)), "an external id is there once"
        assert dict(zip(ids, found.samples, strict=True)) == case.samples
        assert found.name.strip(), "a data set has a name"
        assert len(set(found.classes)) == len(found.classes), "classes are named once"

    def test_reading_twice_is_the_same(self, case: LoopCase) -> None:
        ids = sorted(case.samples)
        first = case.reader.read_loop(), case.reader.boxes(ids), case.reader.vectors(ids)
        again = case.reader.read_loop(), case.reader.boxes(ids), case.reader.vectors(ids)
        assert first[:2] == again[:2]
        assert first[2][0] == again[2][0]
        np.testing.assert_array_equal(first[2][1], again[2][1])

    def test_boxes_are_those_of_the_samples_asked(self, case: LoopCase) -> None:
        case.reader.read_loop()
        assert any(b.human == () for b in case.boxes.values()), "the case has a reviewed empty one"
        assert any(b == LoopBoxes() for b in case.boxes.values()), "the case has an unseen one"
        for ids in (sorted(case.samples), sorted(case.samples)[::-2], []):
            found = case.reader.boxes(ids)
            assert set(found) == set(ids), "boxes of those that were asked for, and of no other"
            for key in ids:
                same_boxes(found[key].reference, case.boxes[key].reference, key)
                same_boxes(found[key].human, case.boxes[key].human, key)

    def test_vectors_are_those_of_the_samples_asked(self, case: LoopCase) -> None:
        case.reader.read_loop()
        assert 0 < len(case.vectors) < len(case.samples), "the case has a sample without a vector"
        wide = {len(row) for row in case.vectors.values()}
        for ids in (sorted(case.samples), sorted(case.samples)[::-1], sorted(case.samples)[:2]):
            keys, rows = case.reader.vectors(ids)
            assert sorted(keys) == sorted(set(ids) & case.vectors.keys())
            assert rows.dtype == np.float32, "vectors are float32"
            assert np.isfinite(rows).all(), "vectors are finite"
            assert {rows.shape[1]} == wide
            for key, row in zip(keys, rows, strict=True):
                np.testing.assert_allclose(row, case.vectors[key], rtol=1e-6)
        keys, rows = case.reader.vectors([])
        assert (keys, len(rows)) == ([], 0), "no samples, no vectors"

    def test_a_broken_box_is_named(self, case: LoopCase) -> None:
        ids = [one.external_id for one in case.broken.read_loop().samples]
        with pytest.raises(InputError) as caught:
            case.broken.boxes(ids)
        assert case.culprit in caught.value.problem, "the error names the file"
        says_what_to_do(caught.value)

    def test_a_broken_vector_is_named(self, case: LoopCase) -> None:
        ids = [one.external_id for one in case.blind.read_loop().samples]
        with pytest.raises(VectorError) as caught:
            case.blind.vectors(ids)
        assert case.culprit in caught.value.problem, "the error names the file"
        says_what_to_do(caught.value)


class MirrorContract(LoopReaderContract):
    """Shows what was pushed and nothing else; the same push again changes nothing."""

    @pytest.fixture
    def mirror(self) -> Mirror:
        """A mirror of the case's data set, which may be written to."""
        raise NotImplementedError("return the mirror to be tested")

    def test_looks_at_every_sample(self, mirror: Mirror) -> None:
        there = mirror.look()
        said = {one.external_id: one for one in mirror.read_loop().samples}
        assert there.samples.keys() == said.keys()
        for key, shown in there.samples.items():
            assert tuple(sorted(shown.tags)) == said[key].tags, "tags as they stand there, sorted"
            assert (shown.status or "unlabeled") == said[key].status
        assert mirror.look() == there, "to look changes nothing"

    def test_tags_are_of_those_they_are_pushed_to(self, mirror: Mirror) -> None:
        before = mirror.look().samples
        first, second, *rest = sorted(before)
        mirror.push_tags({"batch:v7": [first, second], "val:mine": [first]}, {})
        mirror.push_tags({"batch:v7": [first]}, {"batch:v7": [second]})
        mirror.push_tags({}, {"batch:v7": [second]})  # nobody has it any more
        now = mirror.look().samples
        assert set(now[first].tags) == {*before[first].tags, "batch:v7", "val:mine"}
        assert now[first].tags == tuple(sorted(now[first].tags)), "each once, sorted"
        assert {key: now[key] for key in (second, *rest)} == {k: before[k] for k in (second, *rest)}

    def test_values_are_of_those_they_are_pushed_to(self, mirror: Mirror) -> None:
        before = mirror.look().samples
        first, second, *rest = sorted(before)
        for _ in range(2):
            mirror.push_values("status", {first: "pending", second: "skipped"})
            mirror.push_values("reason", {first: "why: a `b`, c = 0.5"})
            mirror.push_values("score", {second: 1 / 3})
        now = mirror.look().samples
        assert now[first] == replace(before[first], status="pending", reason="why: a `b`, c = 0.5")
        assert now[second] == replace(before[second], status="skipped", score=1 / 3)
        assert {key: now[key] for key in rest} == {key: before[key] for key in rest}

    def test_boxes_are_read_as_they_were_pushed(self, mirror: Mirror) -> None:
        mirror.read_loop()
        first, second, *rest = sorted(mirror.look().samples)
        before = mirror.boxes([first, second, *rest])
        name = mirror.read_loop().classes[0]
        drawn = (Drawn(name, (0.125, 0.25, 0.5, 1 / 3)), Drawn(name, (0.0, 0.0, 1.0, 1.0)))
        for _ in range(2):
            mirror.push_values("human", {first: drawn, second: drawn})
        mirror.push_values("human", {second: ()})
        now = mirror.boxes([first, second, *rest])
        same_boxes(now[first].human, drawn, first)
        assert now[second].human == (), "reviewed and empty is an answer, not a gap"
        assert {key: now[key] for key in rest} == {key: before[key] for key in rest}
        for key in (first, second):
            assert now[key].reference == before[key].reference, "trusted boxes stay"

    def test_detections_have_fields_of_their_own(self, mirror: Mirror) -> None:
        mirror.read_loop()
        first, *_ = ids = sorted(mirror.look().samples)
        before = mirror.boxes(ids)
        found = (Drawn(mirror.read_loop().classes[0], (0.1, 0.1, 0.2, 0.2), score=0.75),)
        for field in ("predictions", "golden_v7"):
            mirror.push_values(field, {first: found})
            assert field in mirror.look().fields
        assert mirror.boxes(ids) == before, "neither trusted boxes nor those of people"

    def test_what_is_told_of_the_whole_stands_beside_what_others_told(self, mirror: Mirror) -> None:
        first, second, *_ = sorted(mirror.look().samples)
        mirror.push_tags({"batch:v7": [first]}, {})
        mirror.push_summary({}, {"theirs": {"a": [1, "b", None]}})
        for _ in range(2):
            mirror.push_summary(
                {"batch_v7": "batch:v7", "eval_v7_failures": (second,)},
                {"eval_v7": {"mAP": 0.5, "model_path": "/a b/ü"}},
            )
        there = mirror.look()
        assert {"batch_v7", "eval_v7_failures"} <= there.views
        assert there.info["theirs"] == {"a": [1, "b", None]}
        assert there.info["eval_v7"] == {"mAP": 0.5, "model_path": "/a b/ü"}

    def test_nothing_pushed_nothing_changed(self, mirror: Mirror) -> None:
        ids = sorted(mirror.look().samples)
        before = mirror.look(), mirror.boxes(ids)
        mirror.push_tags({}, {})
        for name in ("status", "reason", "score", "human", "predictions"):
            mirror.push_values(name, {})
        mirror.push_summary({}, {})
        assert (mirror.look(), mirror.boxes(ids)) == before


def same_boxes(
    found: tuple[Drawn, ...] | None, wanted: tuple[Drawn, ...] | None, where: str
) -> None:
    """The same classes and boxes in the same order; nothing and nobody looked are two things."""
    assert (found is None) == (wanted is None), f"{where}: none drawn is not the same as no answer"
    for one, other in zip(found or (), wanted or (), strict=True):
        assert (one.name, one.crowd) == (other.name, other.crowd), where
        assert all(map(math.isfinite, one.shares)), where
        assert one.shares == pytest.approx(other.shares, abs=SHARES_CLOSE), where
