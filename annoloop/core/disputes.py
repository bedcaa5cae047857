"""Where several people agree with each other and not with the reference: perhaps it is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from annoloop.core.agreement import Answers, MatchRule, Outcome, match_image
from annoloop.core.krippendorff import cluster
from annoloop.records import Box, Label

QUORUM = 2


@dataclass(frozen=True, slots=True)
class Dispute:
    """One box to adjudicate; nothing is ever changed without a person.

    `kind` is extra (the reference has an object that people do not see), lacking (they see one that
    it does not have) or class (they agree on another class). Classes are names, None is "absent".
    `box` is the reference's, or of the first who drew it. `against` of `passes` agree.
    """

    image: str
    kind: str
    reference: str | None
    answer: str | None
    box: Box
    against: int
    passes: int


def disputes(
    reference: Answers, passes: Sequence[Answers], *, classes: Sequence[str], rule: MatchRule
) -> tuple[Dispute, ...]:
    """Boxes on which at least two passes, and more than half of all, agree against the reference.

    Most passes against first, then by image.
    """
    found: list[Dispute] = []
    names: dict[int | None, str | None] = {None: None, **dict(enumerate(classes))}
    for sample in sorted(reference):
        answers = [one[sample] for one in passes if sample in one]
        if len(answers) >= QUORUM:
            for one in _image_disputes(reference[sample], answers, rule=rule):
                sides = {"reference": names[one.reference], "answer": names[one.answer]}
                found.append(
                    Dispute(
                        sample,
                        one.kind,
                        **sides,
                        box=one.box,
                        against=one.against,
                        passes=len(answers),
                    )
                )
    return tuple(sorted(found, key=lambda one: (-one.against / one.passes, one.image, one.box)))


class _Against(NamedTuple):
    kind: str
    reference: int | None
    answer: int | None
    box: Box
    against: int


def _image_disputes(
    reference: Sequence[Label], answers: Sequence[Sequence[Label]], *, rule: MatchRule
) -> list[_Against]:
    said: dict[int, Counter[int | None]] = defaultdict(Counter)
    extra: list[list[Label]] = []
    for labels in answers:
        rows = match_image(reference, labels, rule=rule)
        for row in rows:
            if row.outcome in (Outcome.AGREE, Outcome.CONFUSION):
                said[row.reference][row.answer_class] += 1
            elif row.outcome is Outcome.MISSED:
                said[row.reference][None] += 1
        extra.append([labels[row.answer] for row in rows if row.outcome is Outcome.SPURIOUS])
    made, passes = [], len(answers)
    for position, votes in sorted(said.items()):
        label = reference[position]
        word, against = max(votes.items(), key=lambda vote: vote[1])
        if word != label.class_id and _carries(against, passes):
            kind = "extra" if word is None else "class"
            made.append(_Against(kind, label.class_id, word, label.box, against))
    for group in cluster(extra, iou=rule.iou):
        labels = [extra[rater][position] for rater, position in sorted(group.items())]
        word, against = Counter(label.class_id for label in labels).most_common(1)[0]
        if _carries(against, passes):
            made.append(_Against("lacking", None, word, labels[0].box, against))
    return made


def _carries(against: int, passes: int) -> bool:
    return against >= QUORUM and 2 * against > passes
