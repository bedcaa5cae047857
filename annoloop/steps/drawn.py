"""Boxes that another tool keeps as shares of the image become labels of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from annoloop import foreign
from annoloop.core.shares import to_pixels
from annoloop.errors import InputError
from annoloop.records import Label, Problem, Sample
from annoloop.records_loop import Drawn

Labels = tuple[Label, ...]


class Drawings:
    """Turns drawn boxes into labels and remembers what did not fit.

    `order` is class name → class id. Reference boxes of other classes are left out and counted, as
    the schema says what is looked for; an answer with another class, or with a box that is none, is
    refused unless `skip_bad`.
    """

    def __init__(self, order: Mapping[str, int], *, skip_bad: bool) -> None:
        self._order, self._skip_bad = order, skip_bad
        self.problems: list[Problem] = []
        self.unknown: Counter[str] = Counter()
        self.boxes = 0

    def reference(self, drawn: Sequence[Drawn] | None, sample: Sample) -> Labels | None:
        """Trusted labels; None where nobody has looked, and where every box had to be dropped."""
        if drawn is None:
            return None
        known = [one for one in drawn if one.name in self._order]
        self.unknown.update(one.name for one in drawn if one.name not in self._order)
        labels = self._labels(known, sample)
        self.boxes += len(labels)
        return None if known and not labels else labels

    def answer(self, drawn: Sequence[Drawn] | None, sample: Sample) -> Labels:
        """What a person drew on an image that is annotated. Raises InputError naming it."""
        given = drawn or ()
        strange = [one.name for one in given if one.name not in self._order]
        if strange and not self._skip_bad:
            raise InputError(
                f"{sample.path}: an annotated object is {strange[0]!r}, which is no class of the "
                f"schema ({', '.join(list(self._order)[:10])})",
                fix="Add it to info['annotation_schema']['classes'], rename it, or leave such "
                "boxes out with `--skip-bad`.",
            )
        self.problems += [
            Problem(sample.path, "", f"the class {name!r} is not in the schema", "dropped")
            for name in strange
        ]
        known = [one for one in given if one.name in self._order]
        before = len(self.problems)
        labels = self._labels(known, sample)
        if len(self.problems) > before and not self._skip_bad:
            first = self.problems[before]
            raise InputError(
                f"{sample.path} is annotated, and its {first.row} is none: {first.what}",
                fix="Mend it, or leave such boxes out with `--skip-bad`.",
            )
        if known and not labels:
            raise InputError(
                f"{sample.path}: is annotated, but none of its {len(known)} boxes lies in it",
                fix="Mend its boxes, or set its status to pending.",
            )
        self.boxes += len(labels)
        return labels

    def notes(self) -> Iterator[str]:
        if self.unknown:
            found = ", ".join(f"{name} {n}" for name, n in self.unknown.most_common(5))
            more = len(self.unknown) - 5
            yield (
                f"{self.unknown.total()} reference boxes are of classes outside the schema, and "
                f"left out: {found}" + (f" and {more} more" if more > 0 else "")
            )

    def _labels(self, drawn: Sequence[Drawn], sample: Sample) -> Labels:
        made = []
        for number, one in enumerate(drawn, start=1):
            box = to_pixels(one.shares, sample.width, sample.height)
            why = foreign.why_dropped(box, sample.width, sample.height)
            if why is None:
                made.append(Label(self._order[one.name], box, one.crowd))
            else:
                self.problems.append(Problem(sample.path, f"box {number}", why, "dropped"))
        return tuple(made)
