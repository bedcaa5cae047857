"""`train --folds`: predictions of each annotated image by a model that has not seen it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from annoloop import durable
from annoloop.core.folds import assign_folds, confined
from annoloop.core.splits import units
from annoloop.errors import InputError, NotReadyError
from annoloop.records import Detection, LabeledImage
from annoloop.results_suspects import FoldsResult
from annoloop.steps.context import Context, require_files
from annoloop.steps.manifest import check_manifest
from annoloop.steps.train import ask, fit, training_set
from annoloop.steps.twins import positions
from annoloop.store import db, iterations, samples
from annoloop.store.iterations import Iteration
from annoloop.store.samples import pack

STEP = "folds"
"""The step under which an iteration keeps that its folds were predicted."""

PLAN = "annoloop-folds.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is in which fold (sample id → number from 1), and what all that depends on, hashed."""

    fold: Mapping[str, int]
    digest: str
    sizes: tuple[int, ...]
    confined: tuple[str, ...]


def train_folds(context: Context, folds: int) -> FoldsResult:
    """Train `folds` models on the annotated pool, each predicting the images it has not seen.

    A killed run goes on with the folds that it had not predicted. The labels are those of today: a
    golden check that failed does not stop this, since it is how wrong labels are found.
    """
    if folds < 2:
        raise InputError(f"{folds} folds leave nothing unseen", fix="Ask for at least 2, as 5.")
    check_manifest(context)
    images, classes = training_set(context)
    require_files({image.path: image.file for image in images})
    iteration = _iteration(context)
    name = f"{iteration.name}.folds"
    plan = _plan(context, images, classes=classes, folds=folds)
    known = _begun(context, name, plan)
    kept = folds - len(_missing(plan, known))
    started = context.stopwatch()
    for number in _missing(plan, known):
        context.say(f"fold {number} of {folds}: training on the others, then predicting it")
        known |= _one_fold(context, f"{name}-{number}", images, classes=classes, plan=plan)
        context.vectors.write_predictions(name, sorted(known.items()))
    result = FoldsResult(
        model=name,
        trainer=context.settings.train.trainer,
        folds=folds,
        kept=kept,
        sizes=plan.sizes,
        images=len(images),
        boxes=sum(not one.ignored for image in images for one in image.labels),
        detections=sum(map(len, known.values())),
        seed=context.settings.train.seed,
        seconds=round(context.stopwatch() - started, 3),
        notes=tuple(_notes(plan)),
    )
    _record(context, iteration, result, plan)
    return result


def _notes(plan: Plan) -> list[str]:
    if not plan.confined:
        return []
    return [
        f"{', '.join(plan.confined)}: all objects are in one fold, whose model has seen none; "
        "what it says of their labels means nothing"
    ]


def _iteration(context: Context) -> Iteration:
    """The newest iteration whose answers are in."""
    with context.store.read() as connection:
        done = [one for one in iterations.load_iterations(connection) if "annotate" in one.steps]
    if not done:
        raise NotReadyError(
            "no batch has been closed yet", fix="Answer and close one: `annoloop annotate close`."
        )
    return done[-1]


def _plan(
    context: Context, images: Sequence[LabeledImage], *, classes: Sequence[str], folds: int
) -> Plan:
    """Groups and near-duplicates stay together, every class is spread; same input, same folds."""
    place = {image.sample_id: number for number, image in enumerate(images)}
    with context.store.read() as connection:
        twins = [
            pair
            for pair in samples.load_near_duplicates(connection)
            if pair[0] in place and pair[1] in place
        ]
    boxes = _counts(images, len(classes))
    seed = context.settings.train.seed
    fold = assign_folds(
        list(place),
        units=units([image.group for image in images], positions(twins, place)).units,
        boxes=boxes,
        folds=folds,
        rng=np.random.default_rng([seed, folds, 7]),
    )
    assigned = {key: int(fold[number]) + 1 for key, number in place.items()}
    settings = context.settings.train
    text = json.dumps(
        [
            [(one.sample_id, assigned[one.sample_id], pack(one.labels)) for one in images],
            list(classes),
            [folds, seed, settings.trainer, settings.options],
        ],
        sort_keys=True,
    )
    return Plan(
        fold=assigned,
        digest=hashlib.blake2b(text.encode(), digest_size=16).hexdigest(),
        sizes=tuple(np.bincount(fold, minlength=folds).tolist()),
        confined=tuple(classes[number] for number in confined(fold, boxes)),
    )


def _counts(images: Sequence[LabeledImage], classes: int) -> NDArray[np.int64]:
    """Objects by class on each image, (n, classes)."""
    counts = np.zeros((len(images), classes), dtype=np.int64)
    for row, image in zip(counts, images, strict=True):
        for kind, number in Counter(
            one.class_id for one in image.labels if not one.ignored
        ).items():
            row[kind] = number
    return counts


def _begun(context: Context, name: str, plan: Plan) -> dict[str, tuple[Detection, ...]]:
    """What an earlier run of the same plan has predicted; that of another plan is dropped.

    Predictions go before the plan that they would be taken for: a kill in between leaves none.
    """
    file = context.model_folder(name) / PLAN
    if file.is_file():
        written = json.loads(file.read_text(encoding="utf-8"))
        if written.get("digest") == plan.digest:
            return dict(context.vectors.load_predictions(name) or {})
    context.vectors.forget_predictions(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    durable.write_text(file, json.dumps({"digest": plan.digest, "fold": dict(plan.fold)}) + "\n")
    return {}


def _missing(plan: Plan, known: Mapping[str, object]) -> list[int]:
    """Folds of which an image is not predicted yet, in order."""
    return sorted({number for key, number in plan.fold.items() if key not in known})


def _one_fold(
    context: Context,
    name: str,
    images: Sequence[LabeledImage],
    *,
    classes: Sequence[str],
    plan: Plan,
) -> dict[str, tuple[Detection, ...]]:
    """Fit on all other folds and predict this one; its model is removed, it has done its work."""
    number = int(name.rpartition("-")[2])
    others = [one for one in images if plan.fold[one.sample_id] != number]
    mine = [replace(one, labels=()) for one in images if plan.fold[one.sample_id] == number]
    fit(context, others, classes=classes, name=name)
    found = dict(ask(context, name, mine, classes))
    shutil.rmtree(context.model_folder(name))
    return found


def _record(context: Context, iteration: Iteration, result: FoldsResult, plan: Plan) -> None:
    """Write down that it is done, unless the very same was before."""
    before = iteration.steps.get(STEP)
    if before is not None and before.record["plan"] == plan.digest and result.kept == result.folds:
        return
    record = {
        "model": result.model,
        "trainer": result.trainer,
        "options": context.settings.train.options,
        "folds": result.folds,
        "images": result.images,
        "boxes": result.boxes,
        "seed": result.seed,
        "seconds": result.seconds,
        "plan": plan.digest,
    }
    with context.store.write() as connection:
        at = context.now()
        iterations.add_step(
            connection, iteration.number, STEP, at=at, who=context.who, record=record
        )
        db.record(
            connection,
            at=at,
            who=context.who,
            what="train folds",
            target=result.model,
            details=record,
        )
