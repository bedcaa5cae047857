"""The boxes of an adopted data set: people's become answers, trusted ones reference labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from annoloop.records import Annotation, Answer, Reference, Sample, Split, Status
from annoloop.records_loop import LoopBoxes
from annoloop.steps.drawn import Drawings

ORIGIN = "fiftyone"
"""Origin of the answers that came with the data set; who gave them it does not say."""
WHY = {Status.SKIPPED: "skipped in the dataset", Status.PENDING: "pending in the dataset"}
"""What is said of those that were sent out and have no boxes to read."""


class Boxes:
    """Sorts the boxes of each sample, and counts what became of them.

    `answered_in` is the batch that a sample was answered in, and its status there; None where it
    was not. `source` is that of the reference labels.
    """

    def __init__(
        self,
        drawings: Drawings,
        *,
        answered_in: Callable[[Sample], tuple[str, Status] | None],
        source: str,
        at: str,
    ) -> None:
        self.drawings = drawings
        self._answered_in, self._source, self._at = answered_in, source, at
        self.answers: dict[str, Counter[str]] = {}
        """Batch → answers of each kind, and `boxes`."""
        self._silent = self._unused = self._copies = self._trusted = 0

    def answer(self, sample: Sample, boxes: LoopBoxes) -> Annotation | None:
        """The answer of a pool sample. Raises InputError for a class outside the schema."""
        found = self._answered_in(sample)
        if found is None:
            if sample.split is Split.POOL and boxes.human:
                self._unused += 1
            return None
        batch, status = found
        labels = () if status in WHY else self.drawings.answer(boxes.human, sample)
        self._silent += boxes.human is None and status not in WHY
        done = Answer.COMPLETE if boxes.human else Answer.EMPTY
        kind = {Status.SKIPPED: Answer.UNUSABLE, Status.PENDING: Answer.UNSURE}.get(status, done)
        self.answers.setdefault(batch, Counter()).update({str(kind): 1, "boxes": len(labels)})
        return Annotation(
            sample_id=sample.id,
            batch=batch,
            annotator=ORIGIN,
            answer=kind,
            labels=labels,
            why=WHY.get(status),
            origin=ORIGIN,
            at=self._at,
        )

    def reference(self, sample: Sample, boxes: LoopBoxes) -> Reference | None:
        """Trusted labels; outside the pool those of people where there are no others."""
        trusted = boxes.reference
        if sample.split not in (Split.POOL, None) and boxes.human is not None:
            self._copies += trusted is not None
            self._trusted += trusted is None
            trusted = boxes.human if trusted is None else trusted
        labels = self.drawings.reference(trusted, sample)
        return None if labels is None else Reference(sample.id, labels, self._source)

    def notes(self, *, again: bool = False) -> tuple[str, ...]:
        """What to say; `again` of answers alone, since the rest was said when it came."""
        silent = {
            "annotated samples have no people's boxes, not even an empty list: taken as reviewed "
            "and empty, as their status says that somebody was done": self._silent,
        }
        said = {
            **silent,
            "pool samples have people's boxes and are not annotated: the boxes stay there; once "
            "their status is `annotated`, `annoloop ingest` brings those of an open batch": (
                self._unused
            ),
            "samples of test, val and golden have people's boxes alone: they are their reference "
            "labels": self._trusted,
            "samples of test, val and golden have people's boxes beside reference boxes: those of "
            "people stay there": self._copies,
        }
        return (
            *(f"{n} {text}" for text, n in (silent if again else said).items() if n),
            *self.drawings.notes(),
        )
