"""`train` and `predict`: a model of all annotated data, and what it says about images."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence

from annoloop.errors import NotReadyError, TrainerError
from annoloop.records import (
    Answer,
    BatchKind,
    Detection,
    LabeledImage,
    ModelCard,
    Sample,
    Split,
    Status,
)
from annoloop.results_models import PredictResult, TrainResult
from annoloop.steps.context import Context, as_images, refuse_locked, require_files
from annoloop.steps.golden import ensure_checked
from annoloop.steps.manifest import check_manifest
from annoloop.store import batches, db, iterations, samples
from annoloop.store.iterations import Iteration

TRAINING_KINDS = (BatchKind.SELECT, BatchKind.RELABEL)
"""Batches whose answers are trained on; blind golden and review answers never are."""


def train(context: Context) -> TrainResult:
    """Fit the configured trainer on every annotated pool sample, reviewed-empty ones included."""
    check_manifest(context)
    iteration = ensure_checked(context)
    images, classes = training_set(context)
    require_files({image.path: image.file for image in images})
    name = _model_name(context, iteration)
    card = fit(context, images, classes=classes, name=name)
    by_class = Counter(
        classes[label.class_id] for image in images for label in image.labels if not label.ignored
    )
    never = [name for name in classes if not by_class[name]]
    notes = (f"classes without a single training box: {', '.join(never)}",) if never else ()
    notes += tuple(card.details.get("notes", ()))
    result = TrainResult(
        model=name,
        trainer=card.trainer,
        folder=card.folder,
        images=len(images),
        empty_images=sum(not image.labels for image in images),
        boxes=sum(by_class.values()),
        boxes_by_class={c: by_class[c] for c in classes},
        seed=context.settings.train.seed,
        seconds=round(card.seconds, 3),
        details=card.details,
        notes=notes,
    )
    record = {
        "model": name,
        "trainer": card.trainer,
        "options": context.settings.train.options,
        "images": result.images,
        "empty_images": result.empty_images,
        "boxes": result.boxes,
        "boxes_by_class": dict(result.boxes_by_class),
        "seed": result.seed,
        "seconds": result.seconds,
    }
    with context.store.write() as connection:
        at = context.now()
        iterations.add_step(
            connection, iteration.number, "train", at=at, who=context.who, record=record
        )
        db.record(connection, at=at, who=context.who, what="train", target=name, details=record)
    return result


def training_set(context: Context) -> tuple[list[LabeledImage], tuple[str, ...]]:
    """Annotated pool samples with the newest answer that their labels came from."""
    with context.store.read() as connection:
        annotated = samples.load(connection, split=Split.POOL, statuses=(Status.ANNOTATED,))
        kinds = {b.name: b.kind for b in batches.load_all(connection)}
        answers = batches.newest(
            one
            for one in batches.load_annotations(connection, split=Split.POOL)
            if kinds[one.batch] in TRAINING_KINDS and one.answer in (Answer.COMPLETE, Answer.EMPTY)
        )
        classes = samples.schema(connection).classes
    refuse_locked(annotated, what="trained on")
    if not annotated:
        raise NotReadyError(
            "no pool image is annotated yet",
            fix="Answer and close a batch first: `annoloop annotate close`.",
        )
    images = [
        LabeledImage(
            sample_id=s.id,
            path=s.path,
            file=s.uri,
            width=s.width,
            height=s.height,
            labels=answers[s.id].labels,
            reviewed=True,
            group=s.group,
        )
        for s in annotated
    ]
    return images, classes


def _model_name(context: Context, iteration: Iteration) -> str:
    """v3, then v3.2, v3.3 for the same iteration trained again: nothing is overwritten."""
    with context.store.read() as connection:
        done = [
            one
            for one in iterations.step_history(connection, "train")
            if one.iteration == iteration.number
        ]
    return iteration.name if not done else f"{iteration.name}.{len(done) + 1}"


def fit(
    context: Context, images: Sequence[LabeledImage], *, classes: Sequence[str], name: str
) -> ModelCard:
    """Train into a folder beside the final one and move it there: half a model is never seen.

    What a killed run left there is kept for a trainer that resumes, and removed for all others.
    """
    trainer = context.trainer()
    final = context.model_folder(name)
    part = final.with_name(f".{name}.part")
    if not getattr(trainer, "resumes", False):
        shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, exist_ok=True)
    card = trainer.fit(
        images,
        classes=classes,
        folder=part,
        seed=context.settings.train.seed,
        progress=context.progress,
    )
    manifest = {
        "model": name,
        "trainer": card.trainer,
        "classes": list(classes),
        "seed": context.settings.train.seed,
        "options": context.settings.train.options,
        "seconds": card.seconds,
        "samples": [image.sample_id for image in images],
        "details": dict(card.details),
    }
    (part / "annoloop-model.json").write_text(
        json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )
    # Of a run killed after the move, before the record; or of before a restored backup.
    shutil.rmtree(final, ignore_errors=True)
    context.vectors.forget_predictions(name)
    part.rename(final)
    return ModelCard(card.trainer, str(final), card.seconds, card.details)


def predict(context: Context, splits: Sequence[Split] = (Split.VAL, Split.POOL)) -> PredictResult:
    """Predict with the newest model on whole splits (never on test: `evaluate` opens that)."""
    model = newest_model(context)
    with context.store.read() as connection:
        found = [s for side in splits for s in samples.load(connection, split=side)]
    started = context.stopwatch()
    known = predictions(context, model, found)
    return PredictResult(
        model=model,
        images=len(known),
        detections=sum(map(len, known.values())),
        seconds=round(context.stopwatch() - started, 3),
    )


def newest_model(context: Context) -> str:
    """Name of the last model trained. Raises NotReadyError if there is none."""
    with context.store.read() as connection:
        done = iterations.step_history(connection, "train")
    if not done:
        raise NotReadyError("no model has been trained yet", fix="Run `annoloop train` first.")
    return str(done[-1].record["model"])


def predictions(
    context: Context, model: str, wanted: Sequence[Sample]
) -> dict[str, tuple[Detection, ...]]:
    """Detections of a model for these samples: stored ones, and new ones for the rest."""
    known = context.vectors.load_predictions(model) or {}
    missing = [s for s in wanted if s.id not in known]
    if missing:
        with context.store.read() as connection:
            classes = samples.schema(connection).classes
        new = dict(ask(context, model, as_images(missing), classes))
        known = {**known, **new}
        context.vectors.write_predictions(model, sorted(known.items()))
    return {s.id: known[s.id] for s in wanted}


def pool_predictions(
    context: Context, pool: Sequence[Sample]
) -> tuple[str, dict[str, tuple[Detection, ...]]]:
    """The newest model and its detections on pool samples; predicts what is missing, and says so.

    Raises NotReadyError without a model.
    """
    model = newest_model(context)
    known = context.vectors.load_predictions(model, {s.id for s in pool}) or {}
    if len(known) < len(pool):
        context.say(
            f"{len(pool) - len(known)} pool images have no predictions of {model}: "
            "predicting (annoloop predict)"
        )
        known = predictions(context, model, pool)
    return model, known


def ask(
    context: Context, model: str, images: Sequence[LabeledImage], classes: Sequence[str]
) -> Iterator[tuple[str, tuple[Detection, ...]]]:
    """What a model says of these images, in order; every answer is checked."""
    folder = context.model_folder(model)
    if not folder.is_dir():
        raise NotReadyError(
            f"the folder of model {model} is gone ({folder})",
            fix="Bring it back, or train again: `annoloop train`.",
        )
    require_files({image.path: image.file for image in images})
    answered = context.trainer().predict(folder, images, classes=classes, progress=context.progress)
    for image, (key, found) in zip(images, answered, strict=True):
        _check(image, key, found, classes=len(classes))
        yield key, found


def _check(image: LabeledImage, key: str, found: Sequence[Detection], *, classes: int) -> None:
    """Raise TrainerError if a trainer answers another image, or with what is no detection."""
    fix = "Mend the trainer: each image asked is answered in order, boxes are x, y, w, h in pixels."
    if key != image.sample_id:
        raise TrainerError(f"the trainer answered {key} when asked for {image.path}", fix=fix)
    for number, one in enumerate(found, start=1):
        finite = all(map(math.isfinite, (*one.box, one.score)))
        if not finite or min(one.box[2:]) < 0 or not 0 <= one.score <= 1:
            raise TrainerError(f"{image.path}: detection {number} is broken: {one}", fix=fix)
        if not 0 <= one.class_id < classes:
            raise TrainerError(
                f"{image.path}: detection {number} has class {one.class_id} of {classes}", fix=fix
            )
