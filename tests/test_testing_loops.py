"""The kits of data sets with a loop: one kept in memory passes, those with one fault each fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from annoloop.records import Split, Status
from annoloop.records_loop import Drawn, ForeignLoop, LoopBoxes, LoopSample
from annoloop.testing_loops import LoopCase, MirrorContract
from tests.memory_mirror import BROKEN, Memory

CUP = Drawn("cup", (0.1, 0.2, 0.3, 0.4))
SAMPLES = (
    LoopSample(
        "a",
        "/images/a.jpg",
        Split.POOL,
        Status.ANNOTATED,
        batches=(0,),
        answered=(0,),
        tags=("annotated:v0", "batch:v0", "split:pool"),
    ),
    LoopSample("b", "/images/b.jpg", Split.POOL, tags=("split:pool",)),
    LoopSample("c", "/images/c.jpg", Split.VAL, tags=("split:val",)),
    LoopSample("d", "/images/d.jpg"),
)
BOXES = {
    "a": LoopBoxes(None, (CUP,)),
    "b": LoopBoxes(None, ()),
    "c": LoopBoxes((CUP, CUP)),
    "d": LoopBoxes(),
}
VECTORS = {"a": (1.0, 2.0), "b": (0.0, 1.0), "c": (2.5, 0.0)}


class Kept(Memory):
    """The four samples above."""

    def __init__(self, boxes: Mapping[str, Any] = BOXES, vectors: Mapping[str, Any] = VECTORS):
        super().__init__(ForeignLoop("kept", ("cup",), SAMPLES), boxes, vectors)


def case_of(kind: Callable[..., Kept]) -> LoopCase:
    return LoopCase(
        kind(),
        {s.external_id: s for s in SAMPLES},
        BOXES,
        VECTORS,
        kind(boxes={**BOXES, "c": BROKEN}),
        kind(vectors={**VECTORS, "c": (1.0,)}),
        "c.jpg",
    )


class TestMemory(MirrorContract):
    @pytest.fixture
    def case(self) -> LoopCase:
        return case_of(Kept)

    @pytest.fixture
    def mirror(self, case: LoopCase) -> Kept:
        return case.reader  # type: ignore[return-value]


class Twice(Kept):
    def read_loop(self) -> ForeignLoop:
        return ForeignLoop("kept", ("cup",), (*SAMPLES, SAMPLES[0]))


class Everything(Kept):
    def boxes(self, ids: Sequence[str]) -> Mapping[str, LoopBoxes]:
        return super().boxes(list(BOXES))


class Gap(Kept):
    """Reviewed and empty is read as nobody looked."""

    def boxes(self, ids: Sequence[str]) -> Mapping[str, LoopBoxes]:
        found = super().boxes(ids)
        return {k: replace(one, human=one.human or None) for k, one in found.items()}


class Wide(Kept):
    def vectors(self, ids: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
        keys, rows = super().vectors(ids)
        return keys, rows.astype(np.float64)  # type: ignore[return-value]


class Shuffled(Kept):
    def vectors(self, ids: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
        keys, rows = super().vectors(ids)
        return keys[::-1], rows


class Silent(Kept):
    def vectors(self, ids: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
        self.rows = {key: row for key, row in self.rows.items() if len(row) == 2}
        return super().vectors(ids)


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (Twice, "test_every_sample_is_there_once"),
        (Everything, "test_boxes_are_those_of_the_samples_asked"),
        (Gap, "test_boxes_are_those_of_the_samples_asked"),
        (Wide, "test_vectors_are_those_of_the_samples_asked"),
        (Shuffled, "test_vectors_are_those_of_the_samples_asked"),
    ],
)
def test_readers_with_a_fault_fail(kind: Callable[..., Kept], test: str) -> None:
    getattr(MirrorContract(), test)(case_of(Kept))
    with pytest.raises(AssertionError):
        getattr(MirrorContract(), test)(case_of(kind))


def test_a_reader_that_hides_what_is_broken_fails() -> None:
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        MirrorContract().test_a_broken_vector_is_named(case_of(Silent))


class Spread(Kept):
    """A tag lands on everybody."""

    def push_tags(self, add: Any, remove: Any) -> None:
        super().push_tags({tag: list(self.shown) for tag in add}, remove)


class Deaf(Kept):
    """Nothing is ever taken away."""

    def push_tags(self, add: Any, remove: Any) -> None:
        super().push_tags(add, {})


class Rough(Kept):
    def push_values(self, name: str, values: Mapping[str, Any]) -> None:
        rounded = {k: round(v, 3) if name == "score" else v for k, v in values.items()}
        super().push_values(name, rounded)


class Forgetful(Kept):
    """Empty answers are dropped."""

    def push_values(self, name: str, values: Mapping[str, Any]) -> None:
        super().push_values(name, {k: v for k, v in values.items() if v != ()})


class Mixing(Kept):
    """Detections land among people's boxes."""

    def push_values(self, name: str, values: Mapping[str, Any]) -> None:
        super().push_values(name, values)
        if name == "predictions":
            super().push_values("human", values)


class Alone(Kept):
    def push_summary(self, views: Any, info: Any) -> None:
        self.info = {}
        super().push_summary(views, info)


class Restless(Kept):
    def push_summary(self, views: Any, info: Any) -> None:
        super().push_summary(views, {**info, "pushed": self.info.get("pushed", 0) + 1})


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (Spread, "test_tags_are_of_those_they_are_pushed_to"),
        (Deaf, "test_tags_are_of_those_they_are_pushed_to"),
        (Rough, "test_values_are_of_those_they_are_pushed_to"),
        (Forgetful, "test_boxes_are_read_as_they_were_pushed"),
        (Mixing, "test_detections_have_fields_of_their_own"),
        (Alone, "test_what_is_told_of_the_whole_stands_beside_what_others_told"),
        (Restless, "test_nothing_pushed_nothing_changed"),
    ],
)
def test_mirrors_with_a_fault_fail(kind: Callable[..., Kept], test: str) -> None:
    getattr(MirrorContract(), test)(Kept())
    with pytest.raises((AssertionError, KeyError)):
        getattr(MirrorContract(), test)(kind())
