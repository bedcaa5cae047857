"""Images with their boxes, for those who draw them: what people said and what the model says."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from annoloop.errors import InputError
from annoloop.records import Answer, Box, Detection, Sample, Split
from annoloop.results_golden import GoldenConflict
from annoloop.results_models import ImageView
from annoloop.steps.context import Context
from annoloop.steps.passes import blind_pass
from annoloop.store import batches, iterations, samples
from annoloop.store.iterations import StepRecord


def gallery(context: Context, ids: Collection[str]) -> dict[str, ImageView]:
    """sample id → where the image lies, its newest labels, and the newest model's boxes.

    Labels are a person's where there are any, else the reference's for val; the model's boxes are
    those from the operating point on.
    """
    with context.store.read() as connection:
        found = samples.load(connection, ids=ids)
        answers = batches.newest(batches.load_annotations(connection, ids=ids))
        known = samples.newest_references(connection, ids=ids)
        done = iterations.step_history(connection, "evaluate")
    labels: dict[str, tuple[Box, ...]] = {
        key: tuple(one.box for one in reference.labels) for key, reference in known.items()
    }
    in_pool = {s.id for s in found if s.split == "pool"}
    for key in in_pool:
        answer = answers.get(key)
        said = answer is not None and answer.answer in (Answer.COMPLETE, Answer.EMPTY)
        labels[key] = tuple(one.box for one in answer.labels) if answer and said else ()
    predicted = {
        key: tuple(one.box for one in detections)
        for key, detections in detected(context, done, ids).items()
    }
    return {
        s.id: _view(s, labels=labels.get(s.id, ()), predicted=predicted.get(s.id, ()))
        for s in found
    }


def detected(
    context: Context, evaluations: Sequence[StepRecord], ids: Collection[str]
) -> dict[str, tuple[Detection, ...]]:
    """The newest evaluated model's boxes from its operating point on, where it has predicted."""
    if not evaluations:
        return {}
    newest = evaluations[-1].record
    stored = context.vectors.load_predictions(str(newest["model"]), set(ids)) or {}
    least = float(newest["min_score"])
    return {key: tuple(d for d in found if d.score >= least) for key, found in stored.items()}


def image(context: Context, sample_id: str) -> Sample:
    """One image by its id. Raises InputError if there is none."""
    with context.store.read() as connection:
        found = samples.load(connection, ids=[sample_id])
    if not found:
        raise InputError(f"there is no sample {sample_id!r}", fix="Load the page again.")
    return found[0]


def _view(sample: Sample, *, labels: tuple[Box, ...], predicted: tuple[Box, ...]) -> ImageView:
    return ImageView(
        sample_id=sample.id,
        path=sample.path,
        uri=sample.uri,
        width=sample.width,
        height=sample.height,
        labels=labels,
        predicted=predicted,
    )


def golden_conflicts(context: Context) -> tuple[GoldenConflict, ...]:
    """Images of the newest golden check that differ most: the reference, and the blind answer."""
    with context.store.read() as connection:
        done = [one for one in iterations.load_iterations(connection) if "golden" in one.steps]
        if not done:
            return ()
        answers = blind_pass(connection, done[-1])
        known = samples.newest_references(connection, split=Split.GOLDEN)
        by_path = {s.path: s for s in samples.load(connection, split=Split.GOLDEN)}
    found = []
    for row in done[-1].steps["golden"].record["numbers"]["images"]:
        sample = by_path[row["image"]]
        view = _view(
            sample,
            labels=tuple(one.box for one in known[sample.id].labels),
            predicted=tuple(one.box for one in answers.get(sample.id, ())),
        )
        kinds = ("missed", "spurious", "confused", "misplaced")
        counts = {kind: int(row[kind]) for kind in kinds if row[kind]}
        found.append(GoldenConflict(done[-1].name, view, counts))
    return tuple(found)
