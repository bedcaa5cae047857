"""`init --fiftyone`, and `ingest` there: what a data set of another tool has that is new here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from sqlalchemy import Connection

from annoloop.core import adoption
from annoloop.core.mirrored import state
from annoloop.errors import NotReadyError, SettingsError
from annoloop.ports import LoopReader
from annoloop.records import BatchKind, Problem, Reference, Sample, Split, Status
from annoloop.records_loop import Shown
from annoloop.results import IngestResult
from annoloop.steps import ingest
from annoloop.steps.adopt_boxes import Boxes
from annoloop.steps.adopt_loop import Taken, take_over
from annoloop.steps.context import Context
from annoloop.steps.dataset import Dataset, add_vectors, arrivals, only, opened, parts
from annoloop.steps.drawn import Drawings
from annoloop.store import batches, db, samples


def ingest_loop(
    context: Context, reader: LoopReader, *, classes: Sequence[str] = (), adopt: bool = False
) -> IngestResult:
    """Add what is new in the data set; into an empty project also how far its loop has come.

    Later only samples, vectors, reference labels and answers to the open batch come in: splits,
    statuses and batches are the project's own from then on. Raises InputError naming every bad
    file, adding nothing.
    """
    found = opened(context, reader)
    new, bad = arrivals(found)
    splits = not found.known and adoption.has_splits(only(found, new))
    if splits and adopt:
        raise SettingsError(
            "the dataset has splits and statuses of its own, which are adopted as they are",
            fix="Leave out `--adopt-labels`.",
        )
    new, late = _not_locked(found, new)
    vectors = add_vectors(found, [*found.known.values(), *new])
    _remember(found, new)
    if splits:
        made = take_over(found, new, classes)
    else:
        made = _add(found, new, classes, adopt=adopt)
    return IngestResult(
        images_added=len(new),
        images_known=len(found.known),
        images_labeled=made.labeled,
        boxes=made.boxes.drawings.boxes,
        classes=made.classes,
        refused=(*bad, *found.twice),
        problems=(*made.boxes.drawings.problems, *late),
        notes=(*(() if found.known else found.loop.notes), *vectors, *made.notes),
    )


def _remember(found: Dataset, some: Sequence[Sample]) -> None:
    """What the data set shows of these is seen: a `sync` may change it, and nothing else."""
    vectors = found.context.vectors
    before = vectors.load_seen() if some else {}
    seen = dict(before)
    alike: dict[tuple[str, ...], tuple[str, ...]] = {}  # a million samples are in few states
    for sample in some:
        one = found.said[sample.path]
        there = Shown() if one.silent else Shown(str(one.status), one.tags)
        now = (*seen.get(one.external_id, ()), state(there))
        seen[one.external_id] = alike.setdefault(now, tuple(dict.fromkeys(now)))
    if seen != before:
        vectors.write_seen(seen)


def _not_locked(found: Dataset, new: Sequence[Sample]) -> tuple[list[Sample], list[Problem]]:
    """Once the splits are locked here, a sample that is test, val or golden there stays out."""
    if not found.known:
        return list(new), []
    kept, late = [], []
    for sample in new:
        side = found.said[sample.path].split
        if side in (None, Split.POOL):
            kept.append(sample)
            continue
        what = f"is in {side} of the dataset, and the splits of this project are locked"
        late.append(Problem(sample.path, "", what, "left out"))
    return kept, late


@dataclass(frozen=True, slots=True)
class Addition:
    """What is about to be added to a project, without anything of the data set's own loop."""

    found: Dataset
    new: tuple[Sample, ...]
    batches: frozenset[str]
    open_batch: str | None
    waiting: frozenset[str]

    def answered_in(self, sample: Sample) -> tuple[str, Status] | None:
        """The open batch and the status there, for its samples that are done in the data set."""
        if self.open_batch is None or sample.id not in self.waiting:
            return None
        said = self.found.said[sample.path].status
        unsure = said is Status.PENDING and sample.status is Status.SELECTED
        done = unsure or said in (Status.ANNOTATED, Status.SKIPPED)
        return (self.open_batch, said) if done else None


def _add(found: Dataset, new: Sequence[Sample], classes: Sequence[str], *, adopt: bool) -> Taken:
    """New samples (before the splits without one, then of the pool), labels and answers."""
    context, at = found.context, found.context.now()
    _refuse_batches(found)
    with context.store.read() as connection:
        locked = samples.locked_groups(connection)
    if adopt and locked is not None:
        raise ingest.too_late()
    addition = _addition(found, [ingest.placed(_begun(found, s), s.group, locked) for s in new])
    scored = _scores(found, addition.new, at) if locked is None else ()
    with context.store.write() as connection:
        schema = samples.add_classes(connection, [*classes, *found.loop.classes])
        order = {name: schema.index()[name] for name in found.loop.classes}
        boxes = Boxes(
            Drawings(order, skip_bad=context.settings.images.skip_bad),
            answered_in=addition.answered_in,
            source=ingest.ADOPT if adopt else found.reference,
            at=at,
        )
        for part in parts(addition.new):
            samples.add_samples(connection, part, at)
        labeled, answers = _add_boxes(connection, addition, boxes, adopt=adopt)
        if addition.new or labeled or answers:
            db.record(
                connection,
                at=at,
                who=context.who,
                what="ingest",
                target=str(context.images_root),
                details={
                    "images": len(addition.new),
                    "labeled": labeled,
                    "answers": answers,
                    "dataset": found.loop.name,
                },
            )
        if scored:
            name = context.embedder().name
            details = {"candidates": len(addition.new), "adopted": found.loop.name}
            db.record(
                connection, at=at, who=context.who, what="score", target=name, details=details
            )
    _remember(
        found,
        [s for path, s in found.known.items() if path in found.said and addition.answered_in(s)],
    )
    told = boxes.notes(again=bool(found.known)) if answers or not found.known else ()
    notes = (*_notes(found, addition, answers), *told, *scored)
    return Taken(schema.classes, labeled, boxes, notes)


def _refuse_batches(found: Dataset) -> None:
    first = next((one for one in found.loop.samples if one.batches), None)
    if first is not None and not found.known:
        raise NotReadyError(
            f"dataset {found.loop.name!r} has batches ({first.file} is in batch "
            f"v{first.batches[0]}) but no splits",
            fix="Tag its samples split:test, split:val, split:golden and split:pool; or remove the "
            "tags batch:vN, and annoloop splits and starts with a batch of its own.",
        )


def _begun(found: Dataset, sample: Sample) -> Sample:
    """Of the statuses only `skipped` means something without a batch."""
    if found.said[sample.path].status is not Status.SKIPPED:
        return sample
    return replace(sample, status=Status.SKIPPED, why=adoption.SKIPPED)


def _addition(found: Dataset, new: Sequence[Sample]) -> Addition:
    with found.context.store.read() as connection:
        every = batches.load_all(connection, BatchKind.SELECT)
        name = next((b.name for b in every if b.open), None)
        picks = batches.load_picks(connection, name) if name else []
    waiting = frozenset(pick.sample_id for pick, blind in picks if not blind)
    ordered = tuple(sorted(new, key=lambda s: s.id))
    return Addition(found, ordered, frozenset(b.name for b in every), name, waiting)


def _scores(found: Dataset, new: Sequence[Sample], at: str) -> tuple[str, ...]:
    """Keep stored scores where every sample has one: splitting takes some out, no more."""
    scores = [found.said[s.path].score for s in new]
    known = [one for one in scores if one is not None]
    if found.known or not known or len(known) < len(scores):
        return ()
    name = found.context.embedder().name
    about = {"at": at, "embedder": name, "occupied": 0, "closed": []}
    found.context.vectors.write_scores([s.id for s in new], np.array(known, np.float64), about)
    return ("`zcore` is kept until the next `annoloop score`",)


def _add_boxes(
    connection: Connection, addition: Addition, boxes: Boxes, *, adopt: bool
) -> tuple[int, int]:
    """Reference labels and answers that are new; how many of each.

    A reference that was corrected in this project stays as it was corrected.
    """
    found, labeled, answered, done = addition.found, 0, 0, 0
    everyone = [*(s for s in found.known.values() if s.path in found.said), *addition.new]
    for part in parts(everyone):
        ids = [s.id for s in part]
        own = {
            key
            for key, one in samples.newest_references(connection, ids=ids).items()
            if one.source != found.reference
        }
        references: list[Reference] = []
        given = []
        for sample, drawn in found.boxes(part):
            answer = boxes.answer(sample, drawn)
            given += [answer] if answer else []
            one = None if sample.id in own else boxes.reference(sample, drawn)
            said = found.said[sample.path].status is Status.ANNOTATED
            if one is not None and (one.labels or said or not adopt):
                references.append(one)
        who, at = found.context.who, found.context.now()
        labeled += samples.add_references(connection, references, who=who, at=at)
        answered += batches.add_annotations(connection, given)
        done += len(part)
        found.context.progress(done, len(everyone), "reading boxes")
    return labeled, answered


def _notes(found: Dataset, addition: Addition, answers: int) -> Iterator[str]:
    if answers:
        yield f"{answers} answers to batch {addition.open_batch} came in"
    there = {number for one in found.loop.samples for number in one.batches}
    foreign = [f"v{number}" for number in sorted(there) if f"v{number}" not in addition.batches]
    if foreign and found.known:
        yield (
            f"the dataset has batches that this project has not ({', '.join(foreign)}): two loops "
            "at one pool; let one of them go on"
        )
    gone = len(found.known.keys() - found.said.keys())
    if gone:
        yield f"{gone} images of this project are no longer in the dataset; they are kept"
    other = sum(
        sample.external_id != found.said[path].external_id
        for path, sample in found.known.items()
        if path in found.said
    )
    if other:
        yield f"{other} images have another id in the dataset than when they came"
    said = Counter(
        str(found.said[s.path].status)
        for s in addition.new
        if found.said[s.path].status not in (Status.UNLABELED, Status.SKIPPED)
    )
    if said:
        kinds = ", ".join(f"{name} {number}" for name, number in sorted(said.items()))
        yield (
            f"statuses of new samples are not taken over ({kinds}): here they are unlabeled. "
            "Without splits their boxes can still be batch v0: `--labels FIELD --adopt-labels`"
        )
