"""`sample`: all that is known of one image, and why it was picked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from annoloop.core.failures import describe
from annoloop.errors import InputError
from annoloop.records import Annotation, Answer, Detection, Label, Sample, Split, sample_id
from annoloop.results_history import AnswerView, BoxView, PlaceView, SampleView
from annoloop.steps.context import Context
from annoloop.steps.gallery import detected
from annoloop.steps.prelabel_bias import started_from
from annoloop.store import batches, iterations, prelabels, samples

COUNTED = (Answer.COMPLETE, Answer.EMPTY)


def sample(context: Context, name: str) -> SampleView:
    """One image by its path or id. Raises InputError if there is none."""
    with context.store.read() as connection:
        one = _find(connection, name)
        classes = samples.schema(connection).classes
        places = batches.places_of(connection, one.id)
        # Who labels an open batch must not find out here which of its images are golden.
        hidden = {batch.name for batch, _, blind in places if blind and batch.open}
        answers = [
            given
            for given in batches.load_annotations(connection, ids=[one.id])
            if given.batch not in hidden
        ]
        starts = dict(prelabels.load(connection, of=one.id))
        labels, labels_from = _labels(connection, one, answers)
        evaluated = iterations.step_history(connection, "evaluate")
        failed: list[str] = []
        if evaluated:
            found = iterations.load_failures(connection, evaluated[-1].seq, of=one.id)
            failed = [describe(failure, classes) for failure in found]
    predicted = detected(context, evaluated, [one.id])
    return SampleView(
        id=one.id,
        path=one.path,
        uri=one.uri,
        width=one.width,
        height=one.height,
        group=one.group,
        split=one.split,
        half=one.half,
        status=one.status,
        why=one.why,
        labels=_boxes(labels, classes),
        labels_from=labels_from,
        predicted=_boxes(predicted.get(one.id, ()), classes),
        model=str(evaluated[-1].record["model"]) if one.id in predicted else None,
        batches=tuple(
            PlaceView(batch.name, pick.source, pick.rank, pick.score, pick.reason, batch.created_at)
            for batch, pick, _ in places
            if batch.name not in hidden
        ),
        answers=tuple(
            _answer(given, started_from(starts.get(given.batch), given)) for given in answers
        ),
        failures=tuple(failed),
    )


def _find(connection: Connection, name: str) -> Sample:
    found = samples.load(connection, ids={name, sample_id(name)})
    if found:
        return found[0]
    raise InputError(
        f"there is no sample {name!r}",
        fix="Name it by its path below the image root, as `annoloop batch show` prints it.",
    )


def _labels(
    connection: Connection, one: Sample, answers: Sequence[Annotation]
) -> tuple[tuple[Label, ...], str | None]:
    """What counts today: a person's answer in the pool, the reference elsewhere."""
    if one.split is Split.POOL:
        newest = answers[-1] if answers else None
        if newest is None or newest.answer not in COUNTED:
            return (), None
        return newest.labels, newest.annotator
    reference = samples.newest_references(connection, ids=[one.id]).get(one.id)
    return ((), None) if reference is None else (reference.labels, "reference")


def _boxes(
    found: Iterable[Label] | Iterable[Detection], classes: Sequence[str]
) -> tuple[BoxView, ...]:
    return tuple(
        BoxView(one.box, classes[one.class_id], one.score if isinstance(one, Detection) else None)
        for one in found
    )


def _answer(given: Annotation, start: str | None) -> AnswerView:
    return AnswerView(
        batch=given.batch,
        annotator=given.annotator,
        answer=given.answer,
        boxes=len(given.labels),
        at=given.at,
        seconds=given.seconds,
        origin=given.origin,
        why=given.why,
        started_from=start,
    )
