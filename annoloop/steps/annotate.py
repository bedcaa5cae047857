"""`annotate import`, `oracle`, `close`, `requeue`: answers back, every image accounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from annoloop import foreign
from annoloop.errors import AnswersError, BatchError, InputError, NotReadyError
from annoloop.records import (
    Annotation,
    Answer,
    BatchKind,
    ForeignDataset,
    ForeignImage,
    Problem,
    Sample,
    Status,
)
from annoloop.results_batches import ImportResult, RequeueResult
from annoloop.steps.context import Context
from annoloop.steps.reconcile import (
    against_rules,
    class_order,
    match_batch,
    overruled,
    partly_outside,
    refuse_other_sizes,
)
from annoloop.store import batches, db, samples


@dataclass(frozen=True, slots=True)
class Leniency:
    """What an import may overlook, each only because somebody asked for it."""

    empty_means_reviewed: bool = False
    ignore_unknown: bool = False
    skip_bad: bool = False


def import_answers(
    context: Context,
    name: str,
    answers: ForeignDataset,
    *,
    annotator: str,
    leniency: Leniency,
) -> ImportResult:
    """Merge a file of answers. Raises AnswersError, and merges nothing, if it does not fit."""
    require_name(annotator)
    with context.store.read() as connection:
        kind = batches.get_open(connection, name).kind
        ids = [pick.sample_id for pick, _ in batches.load_picks(connection, name)]
        tasks = {s.id: s for s in samples.load(connection, ids=ids)}
        schema = samples.schema(connection)
        before = batches.newest(batches.load_annotations(connection, batch=name))
    if answers.problems and not leniency.skip_bad:
        first = answers.problems[0]
        raise AnswersError(
            f"{first.file} {first.row}: {first.what} ({len(answers.problems)} such rows); "
            "nothing was merged",
            fix="Correct the file, or add `--skip-bad` to leave these rows out.",
        )
    order = class_order(answers, schema)
    matched, unknown = match_batch(answers, tasks)
    if unknown and not leniency.ignore_unknown:
        raise AnswersError(
            f"{len(unknown)} images are not in batch {name}, first {unknown[0]!r}; "
            "nothing was merged",
            fix="Import them into their own batch, or add `--ignore-unknown` to leave them out.",
        )
    given = []
    for key, image in sorted(matched.items()):
        if (answer := _answer(image, leniency)) is None:
            continue
        labels = tuple(replace(one, class_id=order[one.class_id]) for one in image.labels)
        given.append(
            Annotation(
                sample_id=key,
                batch=name,
                annotator=annotator,
                answer=answer,
                labels=labels,
                why=image.why,
                seconds=image.seconds,
                at=context.now(),
            )
        )
    refuse_other_sizes(matched, tasks)
    rules = context.settings.labels.rules
    problems = partly_outside(given, tasks) + against_rules(rules, given, tasks, schema=schema)
    # Two people who differ are what a review is for: neither overrules the other there.
    others = [] if kind is BatchKind.REVIEW else overruled(given, before)
    notes = tuple(_import_notes(matched, given, len(others)))
    new = _merge(context, name, given, what="import")
    missing = [tasks[k].path for k in ids if k not in {g.sample_id for g in given} | set(before)]
    made = _import_result(
        name, annotator, given=given, new=new, missing=missing, rest=(unknown, problems, answers)
    )
    return replace(made, notes=notes)


def require_name(annotator: str) -> None:
    if not foreign.said(annotator, "--annotator").strip():
        raise InputError("nobody is named as annotator", fix="Say who: `--annotator NAME`.")


def _import_notes(
    matched: Mapping[str, ForeignImage], given: Sequence[Annotation], others: int
) -> Iterator[str]:
    said = {one.sample_id for one in given}
    silent = sum(key not in said for key in matched)
    if silent:
        yield (
            f"{silent} images are listed without boxes and nobody says that they were looked at: "
            '`"reviewed": true` on the image or `--empty-means reviewed` makes them empty '
            "(docs/annotate.md)"
        )
    if others:
        yield (
            f"{others} images had another person's answer that differs; the newest counts, both "
            "are kept"
        )


def _answer(image: ForeignImage, leniency: Leniency) -> Answer | None:
    """What the file says about one image; None where it says nothing."""
    if image.answer is not None:
        return image.answer
    if image.labels:
        return Answer.COMPLETE
    if image.reviewed or (leniency.empty_means_reviewed and image.reviewed is None):
        return Answer.EMPTY
    return None


def _import_result(
    name: str,
    annotator: str,
    *,
    given: Sequence[Annotation],
    new: int,
    missing: Sequence[str],
    rest: tuple[Sequence[str], Sequence[Problem], ForeignDataset],
) -> ImportResult:
    counts = Counter(one.answer for one in given)
    unknown, problems, answers = rest
    return ImportResult(
        batch=name,
        annotator=annotator,
        images=len(given),
        complete=counts[Answer.COMPLETE],
        empty=counts[Answer.EMPTY],
        unsure=counts[Answer.UNSURE],
        unusable=counts[Answer.UNUSABLE],
        boxes=sum(len(one.labels) for one in given),
        new_answers=new,
        missing=tuple(missing),
        unknown=tuple(unknown),
        problems=(*answers.problems, *problems),
    )


def _merge(context: Context, name: str, given: Sequence[Annotation], *, what: str) -> int:
    """Append the answers in one transaction; returns how many were new."""
    with context.store.write() as connection:
        batches.get_open(connection, name)  # it may have been closed since it was read
        return enter(context, connection, name, given=given, what=what)


def enter(
    context: Context,
    connection: Connection,
    name: str,
    *,
    given: Sequence[Annotation],
    what: str,
) -> int:
    """Append answers with their audit line, as part of a transaction; how many were new."""
    new = batches.add_annotations(connection, given)
    if new:
        db.record(
            connection,
            at=context.now(),
            who=context.who,
            what=f"annotate {what}",
            target=name,
            details={"answers": new, "by": sorted({g.annotator for g in given})},
        )
    return new


def oracle(context: Context, name: str) -> ImportResult:
    """Answer a batch from the reference labels, as a perfect annotator would."""
    with context.store.read() as connection:
        batches.get_open(connection, name)
        ids = [pick.sample_id for pick, _ in batches.load_picks(connection, name)]
        tasks = {s.id: s for s in samples.load(connection, ids=ids)}
        known = samples.newest_references(connection, ids=ids)
    missing = [tasks[key].path for key in ids if key not in known]
    if len(missing) == len(ids):
        raise NotReadyError(
            f"the oracle knows no image of batch {name}: there are no reference labels",
            fix="Give them with `annoloop ingest --labels PATH`, or let people answer.",
        )
    given = [
        Annotation(
            sample_id=key,
            batch=name,
            annotator="oracle",
            answer=Answer.COMPLETE if known[key].labels else Answer.EMPTY,
            labels=known[key].labels,
            origin="oracle",
            at=context.now(),
        )
        for key in ids
        if key in known
    ]
    new = _merge(context, name, given, what="oracle")
    nothing = ForeignDataset((), ())
    return _import_result(
        name, "oracle", given=given, new=new, missing=missing, rest=((), (), nothing)
    )


def requeue(context: Context) -> RequeueResult:
    """Put pending samples back into the pool as unlabeled."""
    with context.store.write() as connection:
        pending = [s.id for s in samples.load(connection, statuses=(Status.PENDING,))]
        samples.set_status(
            connection, pending, status=Status.UNLABELED, came_from=(Status.PENDING,)
        )
        if pending:
            db.record(
                connection,
                at=context.now(),
                who=context.who,
                what="annotate requeue",
                target="pool",
                details={"samples": len(pending)},
            )
    return RequeueResult(len(pending))


def outcome(
    tasks: Mapping[str, Sample], answers: Mapping[str, Annotation]
) -> dict[Status, dict[str, str]]:
    """Status → sample id → why, for every task of a batch; no answer means pending."""
    found: dict[Status, dict[str, str]] = {
        Status.ANNOTATED: {},
        Status.PENDING: {},
        Status.SKIPPED: {},
    }
    for key in tasks:
        one = answers.get(key)
        if one is None:
            found[Status.PENDING][key] = "came back without an answer"
        elif one.answer is Answer.UNSURE:
            found[Status.PENDING][key] = one.why or "the annotator was unsure"
        elif one.answer is Answer.UNUSABLE:
            found[Status.SKIPPED][key] = one.why or "the annotator called it unusable"
        else:
            found[Status.ANNOTATED][key] = ""
    return found


def require_answers(answers: Mapping[str, Annotation], name: str) -> None:
    """Raise BatchError if a batch would be closed without a single answer."""
    if not answers:
        raise BatchError(
            f"batch {name} has no answer at all",
            fix="Label some on the page of `annoloop app`, or bring answers with `annoloop "
            f"annotate import FILE --batch {name} --annotator NAME`; then close it.",
        )
