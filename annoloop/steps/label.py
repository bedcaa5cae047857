"""Labelling in a browser: images are leased, drafts are kept, answers enter as imported ones do.

Tasks are numbered by id, which is a hash, and every image of a batch is treated alike: neither the
order nor an answer of this module tells a blind golden image from a pick.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from annoloop.errors import AnswersError, BatchError, InputError, TakenError
from annoloop.foreign import said
from annoloop.records import Annotation, Answer, Batch, BatchKind, Label, Sample
from annoloop.results_label import QueueView, Row, SavedView, Standing, TaskView, Work
from annoloop.steps.annotate import enter, require_name
from annoloop.steps.context import Context
from annoloop.steps.passes import is_baseline
from annoloop.steps.reconcile import against_rules, partly_outside
from annoloop.store import batches, leases, samples
from annoloop.store.leases import Lease

MOST_BOXES = 5000
"""Boxes of one image; more is a broken client."""

PREFETCH = 2
"""How many images after this one a browser may load ahead."""


def people(batch: Batch) -> int | None:
    """How many people answer each image; None where everybody does. One, unless asked for more."""
    if is_baseline(batch):
        return None
    return 2 if batch.kind is BatchKind.REVIEW else 1


def claim(
    context: Context,
    name: str,
    who: str,
    *,
    number: int | None = None,
    after: int = 0,
) -> tuple[str, Lease, TaskView] | None:
    """Lease task `number`, or the next one after `after` that needs this person; None if none does.

    Raises TakenError if somebody else holds or has answered that one.
    """
    require_name(who)
    with context.store.write() as connection:
        batch = batches.get_open(connection, name)
        ids = leases.task_ids(connection, name)
        desk = _Desk(connection, batch, who, now=context.now())
        if number is None:
            order = [*range(after, len(ids)), *range(min(after, len(ids)))]
            place = next((i for i in order if desk.needs_me(ids[i])), None)
            if place is None:
                return None
        else:
            place = number - 1
            if not 0 <= place < len(ids):
                raise _no_task(name, number, len(ids))
            desk.refuse_taken(ids[place], place + 1)
        key = ids[place]
        desk.let_go(but=key)
        mine = desk.mine.get(key) or Lease(key, who, "", "", 0, None, None, 0.0)
        held = replace(mine, until=_until(context))
        leases.save(connection, name, held)
        upcoming = [i + 1 for i in range(place + 1, len(ids)) if desk.needs_me(ids[i])]
        (sample,) = samples.load(connection, ids=[key])
        own = _own_answer(connection, name, key, who)
        standing = _standing(connection, name, who, total=len(ids))
    return key, held, _view(sample, held, own, (place + 1, upcoming[:PREFETCH], standing))


def save_draft(context: Context, name: str, number: int, *, who: str, work: Work) -> SavedView:
    """Keep what a person has drawn so far; when this returns, it is on the disk."""
    with context.store.write() as connection:
        batch = batches.get_open(connection, name)
        key = _task(connection, name, number)
        mine = _Desk(connection, batch, who, now=context.now(), only=key).hold(key, number, work)
        classes = len(samples.schema(connection).classes)
        _labels(work.boxes, classes=classes)
        kept = replace(
            mine,
            until=_until(context),
            boxes=work.boxes,
            why=_said(work.why),
            seconds=_seconds(work.seconds),
        )
        leases.save(connection, name, kept)
    return SavedView(kept.revision, context.now())


def answer(
    context: Context, name: str, number: int, *, who: str, said_: str, work: Work
) -> SavedView:
    """A person's answer for one image, appended as an imported one; the draft is done with."""
    try:
        kind = Answer(said_)
    except ValueError as error:
        raise InputError(f"{said_!r} is no answer", fix=f"Use {', '.join(Answer)}.") from error
    with context.store.write() as connection:
        batch = batches.get_open(connection, name)
        key = _task(connection, name, number)
        mine = _Desk(connection, batch, who, now=context.now(), only=key).hold(key, number, work)
        schema = samples.schema(connection)
        labels = _labels(work.boxes, classes=len(schema.classes))
        if kind in (Answer.COMPLETE, Answer.EMPTY):
            _refuse_suggested(work.boxes)
        given = Annotation(
            sample_id=key,
            batch=name,
            annotator=who,
            answer=kind,
            labels=labels if kind in (Answer.COMPLETE, Answer.UNSURE) else (),
            why=_said(work.why),
            seconds=_seconds(work.seconds),
            origin="app",
            at=context.now(),
        )
        _refuse_contradiction(kind, labels, given.why)
        tasks = {s.id: s for s in samples.load(connection, ids=[key])}
        partly_outside([given], tasks)
        rules = context.settings.labels.rules
        wrong = against_rules(rules, [given], tasks, schema=schema)
        if wrong and kind is Answer.COMPLETE:
            raise AnswersError(f"{wrong[0].row}: {wrong[0].what}", fix="Correct it, or say unsure.")
        enter(context, connection, name, given=[given], what="label")
        done = replace(mine, until=context.now(), boxes=None, why=None, seconds=given.seconds or 0)
        leases.save(connection, name, done)
        total = len(leases.task_ids(connection, name))
        standing = _standing(connection, name, who, total=total)
    return SavedView(done.revision, context.now(), standing)


def _refuse_suggested(boxes: Sequence[Row]) -> None:
    """Nobody has looked at a box that still is the model's: as an answer it would be one's word."""
    waiting = sum(1 for row in boxes if row[6])
    if waiting:
        raise AnswersError(
            f"{waiting} boxes of the model were neither accepted nor deleted",
            fix="Accept, correct or delete each; or say unsure.",
        )


def queue(context: Context, name: str, who: str) -> QueueView:
    """Where each task of a batch stands, as this person sees it."""
    with context.store.read() as connection:
        batch = batches.get(connection, name)
        ids = leases.task_ids(connection, name)
        desk = _Desk(connection, batch, who, now=context.now())
        standing = _standing(connection, name, who, total=len(ids))
        drafts = leases.count_drafts(connection, name)
    return QueueView(tuple(desk.state(key) for key in ids), standing, drafts)


def image_of(context: Context, name: str, number: int) -> Sample:
    """The image behind task `number` of a batch."""
    with context.store.read() as connection:
        batches.get(connection, name)
        (sample,) = samples.load(connection, ids=[_task(connection, name, number)])
    return sample


class _Desk:
    """Who may label what in one batch at one moment, as one person finds it."""

    def __init__(
        self, connection: Connection, batch: Batch, who: str, *, now: str, only: str | None = None
    ) -> None:
        self._connection, self._batch, self._who, self._now = connection, batch, who, now
        self._people = people(batch)
        self._answered = leases.who_answered(connection, batch.name, only)
        found = leases.load(connection, batch.name, only)
        self.mine = {one.sample_id: one for one in found if one.annotator == who}
        self._held: dict[str, set[str]] = {}
        for one in found:
            if one.annotator != who and one.until > now:
                self._held.setdefault(one.sample_id, set()).add(one.annotator)

    def answered_by_me(self, key: str) -> bool:
        return self._who in self._answered.get(key, ())

    def others(self, key: str) -> set[str]:
        """Other people who have answered the image, or hold it now."""
        return (self._answered.get(key, set()) | self._held.get(key, set())) - {self._who}

    def is_open(self, key: str) -> bool:
        """Whether this person may label the image: it is theirs, or somebody is still wanted."""
        if self._people is None or self.answered_by_me(key):
            return True
        return len(self.others(key)) < self._people

    def needs_me(self, key: str) -> bool:
        return self.is_open(key) and not self.answered_by_me(key)

    def state(self, key: str) -> str:
        draft = self.mine.get(key)
        if draft is not None and draft.boxes is not None:
            return "draft"
        if self.answered_by_me(key):
            return "mine"
        if self.is_open(key):
            return "free"
        return "held" if self._held.get(key) else "done"

    def refuse_taken(self, key: str, number: int) -> None:
        if self.is_open(key):
            return
        names = ", ".join(sorted(self.others(key)))
        doing = "is labelling" if self._held.get(key) else "has labelled"
        raise TakenError(
            f"{names} {doing} image {number}", fix="Go on with the next one: nothing is lost."
        )

    def hold(self, key: str, number: int, work: Work) -> Lease:
        """This person's lease with its next revision; raises TakenError if it is not theirs."""
        require_name(self._who)
        self.refuse_taken(key, number)
        mine = self.mine.get(key) or Lease(key, self._who, "", work.tab, 0, None, None, 0.0)
        # A tab that was not told of its last save (the server died) may go on from where it was.
        if mine.revision != work.revision and mine.tab != work.tab:
            raise TakenError(
                f"image {number} was changed in another window",
                fix="Load it again, and make your change there.",
            )
        return replace(mine, tab=work.tab, revision=mine.revision + 1)

    def let_go(self, *, but: str) -> None:
        """End this person's leases of images on which nothing was drawn."""
        for key, one in self.mine.items():
            if key != but and one.boxes is None and one.until > self._now:
                leases.save(self._connection, self._batch.name, replace(one, until=self._now))


def _task(connection: Connection, name: str, number: int) -> str:
    key = leases.task_id(connection, name, number)
    if key is None:
        raise _no_task(name, number, len(leases.task_ids(connection, name)))
    return key


def _no_task(name: str, number: int, total: int) -> BatchError:
    return BatchError(f"batch {name} has no image {number}", fix=f"It has images 1 to {total}.")


def _until(context: Context) -> str:
    minutes = timedelta(minutes=context.settings.labels.lease_minutes)
    return (datetime.fromisoformat(context.now()) + minutes).isoformat(timespec="milliseconds")


def _said(why: str | None) -> str | None:
    text = said(why or "", "the remark").strip()
    return text or None


def _seconds(value: float) -> float:
    if not math.isfinite(value) or value < 0:
        raise InputError(f"{value} seconds are no time", fix="Send how long it took.")
    return round(value, 1)


def _labels(rows: Sequence[Row], *, classes: int) -> tuple[Label, ...]:
    """Rows of a browser as labels. Raises InputError for what is no box."""
    if len(rows) > MOST_BOXES:
        raise InputError(f"{len(rows)} boxes on one image", fix=f"Draw at most {MOST_BOXES}.")
    for number, row in enumerate(rows, start=1):
        fits = len(row) == 7 and all(math.isfinite(value) for value in row)
        if not fits or row[0] not in range(classes) or min(row[3], row[4]) <= 0:
            raise InputError(f"box {number} is no box: {list(row)}", fix="Draw it again.")
    return samples.unpack(row[:6] for row in rows)


def _refuse_contradiction(kind: Answer, labels: Sequence[Label], why: str | None) -> None:
    if kind is Answer.COMPLETE and not labels:
        raise AnswersError("no box is drawn", fix="Draw one, or answer `empty`.")
    if kind is Answer.EMPTY and labels:
        raise AnswersError(
            f"{len(labels)} boxes are drawn on an image that is called empty",
            fix="Delete them, or answer `complete`.",
        )
    if kind is Answer.UNUSABLE and not why:
        raise AnswersError("nobody says why it is unusable", fix="Say it: the reason is kept.")


def _own_answer(connection: Connection, name: str, key: str, who: str) -> Annotation | None:
    given = batches.load_annotations(connection, batch=name, ids=[key])
    return next((one for one in reversed(given) if one.annotator == who), None)


def _standing(connection: Connection, name: str, who: str, *, total: int) -> Standing:
    by_image: Mapping[str, set[str]] = leases.who_answered(connection, name)
    mine = sum(who in names for names in by_image.values())
    return Standing(total, len(by_image), mine)


def _view(
    sample: Sample,
    held: Lease,
    own: Annotation | None,
    place: tuple[int, Sequence[int], Standing],
) -> TaskView:
    number, upcoming, standing = place
    if held.boxes is not None:
        boxes, origin, why = tuple(held.boxes), "draft", held.why
    elif own is not None:
        boxes, origin, why = rows(own.labels), "answer", own.why
    else:
        boxes, origin, why = (), "nothing", None
    return TaskView(
        number=number,
        width=sample.width,
        height=sample.height,
        boxes=boxes,
        origin=origin,
        answer=None if own is None else str(own.answer),
        why=why,
        seconds=held.seconds,
        revision=held.revision,
        upcoming=tuple(upcoming),
        standing=standing,
    )


def rows(labels: Sequence[Label], *, suggested: bool = False) -> tuple[Row, ...]:
    """Labels as a browser draws them."""
    return tuple((*row, int(suggested)) for row in samples.pack(labels))
