"""The dataset as `LoopReader` and `Mirror`, by the kits that every such adapter must pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from annoloop.adapters.fiftyone.mirror import FiftyoneMirror
from annoloop.adapters.fiftyone.reader import FiftyoneReader
from annoloop.ports import Mirror
from annoloop.records import Split, Status
from annoloop.records_loop import Drawn, LoopBoxes, LoopSample
from annoloop.testing_loops import LoopCase, LoopReaderContract, MirrorContract

fo = pytest.importorskip(
    "fiftyone", reason="no FiftyOne with a database here: `make test-fiftyone`"
)

CLASSES = ["cup", "big fork"]
BOXES = (Drawn("cup", (0.1, 0.2, 0.3, 1 / 3)), Drawn("big fork", (0.0, 0.5, 0.25, 0.5), crowd=True))
ROWS = {0: (1.0, 2.5), 1: (0.0, -1.0), 2: (3.0, 1e-9)}


def dataset() -> Any:
    """Five samples: annotated, reviewed and empty, waiting, of val with boxes, unseen."""
    made = fo.Dataset()
    made.add_samples([fo.Sample(filepath=f"/images/ü {i}.jpg") for i in range(5)], progress=False)
    made.info["annotation_schema"] = {"classes": CLASSES, "field_name": "human_labels"}
    made.save()
    for place, one in enumerate(made.iter_samples(autosave=True)):
        if place in ROWS:
            one["embeddings"] = np.array(ROWS[place], np.float32)
        if place < 3:
            one.tags = ["mine", "batch:v0", "source:coverage", "split:pool"]
            one["annotation_status"] = ("annotated", "annotated", "selected")[place]
            one["annoloop_reason"] = f"reason {place}"
            one["zcore"] = place / 3
        if place < 2:
            one.tags.append("annotated:v0")
            one["human_labels"] = of(BOXES if place == 0 else ())
        if place == 2:
            one.tags.append("to_annotate")
        if place == 3:
            one.tags = ["failure:high_fn", "split:val"]
            one["ground_truth"] = of(BOXES)
    return made


def of(boxes: tuple[Drawn, ...]) -> Any:
    return fo.Detections(
        detections=[
            fo.Detection(label=b.name, bounding_box=list(b.shares), iscrowd=int(b.crowd))
            for b in boxes
        ]
    )


def samples(ids: list[str]) -> dict[str, LoopSample]:
    base = ("batch:v0", "source:coverage", "split:pool")
    pool: dict[str, Any] = {"split": Split.POOL, "batches": (0,), "sources": ("coverage",)}
    files = [f"/images/ü {i}.jpg" for i in range(5)]
    made = [
        LoopSample(
            ids[i],
            files[i],
            status=Status.ANNOTATED,
            answered=(0,),
            reason=f"reason {i}",
            score=i / 3,
            tags=("annotated:v0", *base),
            **pool,
        )
        for i in range(2)
    ]
    made.append(
        LoopSample(
            ids[2],
            files[2],
            status=Status.SELECTED,
            waiting=True,
            reason="reason 2",
            score=2 / 3,
            tags=(*base, "to_annotate"),
            **pool,
        )
    )
    tags = ("failure:high_fn", "split:val")
    made.append(LoopSample(ids[3], files[3], Split.VAL, failures=("high_fn",), tags=tags))
    made.append(LoopSample(ids[4], files[4]))
    return {one.external_id: one for one in made}


@pytest.fixture
def opened() -> Iterator[Any]:
    """The case, its data set opened by the adapter that is given."""
    datasets = [dataset() for _ in range(3)]
    broken, blind = datasets[1:]
    worst = broken.skip(3).first()
    worst["ground_truth"] = fo.Detections(detections=[fo.Detection(label="cup")])
    worst.save()
    short = blind.skip(3).first()
    short["embeddings"] = np.zeros(3, np.float32)
    short.save()
    with ExitStack() as stack:

        def case(adapter: Any) -> LoopCase:
            first, second, third = (
                stack.enter_context(adapter.open_loop(one.name)) for one in datasets
            )
            ids = datasets[0].values("id")
            boxes = [
                LoopBoxes(None, BOXES),
                LoopBoxes(None, ()),
                LoopBoxes(),
                LoopBoxes(BOXES),
                LoopBoxes(),
            ]
            vectors = {ids[i]: row for i, row in ROWS.items()}
            made = dict(zip(ids, boxes, strict=True))
            return LoopCase(first, samples(ids), made, vectors, second, third, "ü 3.jpg")

        yield case
    for one in datasets:
        one.delete()


class TestReader(LoopReaderContract):
    @pytest.fixture
    def case(self, opened: Any) -> LoopCase:
        return opened(FiftyoneReader())


class TestMirror(MirrorContract):
    @pytest.fixture
    def case(self, opened: Any) -> LoopCase:
        return opened(FiftyoneMirror())

    @pytest.fixture
    def mirror(self, case: LoopCase) -> Mirror:
        return case.reader  # type: ignore[return-value]  # it was opened by a mirror
