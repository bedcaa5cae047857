"""One run: an arm with a seed, walked by the loop's own steps, one record an iteration."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from annoloop import durable
from annoloop.core import evaluation
from annoloop.errors import AnnoloopError, NotReadyError
from annoloop.ports import silent
from annoloop.records import Half, Pick, Split
from annoloop.replay.plan import ArmPlan, Plan
from annoloop.replay.worlds import ReplayProject, World
from annoloop.results import StatusResult
from annoloop.steps.context import as_images
from annoloop.steps.ground import ground, halves
from annoloop.steps.train import training_set
from annoloop.store import batches, iterations, samples

FAILED, TEST = "failed.json", "test.json"
RETRAINED = 10_000
"""Training seeds of the noise floor: this times 1, 2, … above the run's own."""


@dataclass(frozen=True, slots=True)
class Record:
    """What one iteration of one run came to; metrics are measured on gauge, fractions."""

    arm: str
    seed: int
    iteration: int
    images: int
    boxes: int
    minutes: float
    metric: float
    per_class: Mapping[str, float | None]
    by_source: Mapping[str, int]
    picks: Sequence[str]
    targeted: Mapping[str, float] = field(default_factory=dict)
    """Targeted picks, how many held the failure's class, and how many random ones would have."""
    retrained: Sequence[float] = ()
    """The same metric of the same training set, trained with other seeds."""
    train_seconds: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Job:
    """One run to be made (or gone on with); `whole_pool` takes all that is left as one batch."""

    plan: Plan
    world: World
    arm: ArmPlan
    seed: int
    whole_pool: bool = False

    @property
    def folder(self) -> Path:
        return self.world.run_folder(self.plan, self.arm, self.seed)

    @property
    def records(self) -> Path:
        return self.folder / "replay"


def load_records(folder: Path) -> list[Record]:
    """The records of a run, in order."""
    found = [json.loads(f.read_text(encoding="utf-8")) for f in sorted(folder.glob("v*.json"))]
    return [Record(**one) for one in found]


def load_test(folder: Path) -> dict[str, Any] | None:
    file = folder / TEST
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def load_failure(folder: Path) -> str | None:
    """Why a run failed, if it did."""
    file = folder / FAILED
    return json.loads(file.read_text(encoding="utf-8"))["why"] if file.exists() else None


def is_whole(job: Job) -> bool:
    """True for a run that reached this plan's budget, or could not spend what is left of it."""
    records, test = load_records(job.records), load_test(job.records)
    if not records or test is None or (job.records / FAILED).exists():
        return False
    last = records[-1]
    if test["iteration"] == last.iteration and test.get("budget") == _budget(job):
        return True
    if job.plan.budget_boxes is not None:
        return last.boxes >= job.plan.budget_boxes
    return not job.whole_pool and last.images >= (job.plan.budget_images or 0)


def perform(job: Job, *, most: int | None = None) -> str | None:
    """Walk a run to its budget, or only until it has `most` records.

    What goes wrong in it is marked and returned, not raised.
    """
    _copy_start(job)
    (job.records / FAILED).unlink(missing_ok=True)
    try:
        _walk(job, most)
    except Exception as error:  # a run stands for itself: the others go on
        why = error.problem if isinstance(error, AnnoloopError) else repr(error)
        durable.write_text(job.records / FAILED, json.dumps({"why": why}))
        return why
    return None


def _copy_start(job: Job) -> None:
    if not job.folder.is_dir():
        part = job.folder.with_name(f".{job.folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(job.world.seed_folder(job.plan, job.seed), part)
        part.rename(job.folder)
    job.records.mkdir(exist_ok=True)


def _walk(job: Job, most: int | None) -> None:
    """The loop: decide, record, select, answer, close; each goes on where a killed run was."""
    project = job.world.open(job.folder, job.plan, job.arm, job.seed)
    started = time.perf_counter()
    while True:
        now = project.status()
        if now.open_batch is not None:
            project.answer(now.open_batch, job.plan.oracle, seed=job.seed)
            project.annotate_close(now.open_batch)
            now = project.status()
        newest = now.iterations[-1]
        if newest.verdict is None:
            project.decide()
        file = job.records / f"{_padded(newest.name)}.json"
        if not file.exists():
            made = asdict(_record(job, project, seconds=time.perf_counter() - started))
            durable.write_text(file, json.dumps(made))
        started = time.perf_counter()  # the next iteration begins with its selection
        known = load_records(job.records)
        if most is not None and len(known) >= most:
            return
        wanted = _next_size(job, known[-1], now)
        if wanted < 1:
            ended = "the budget is spent"
            break
        try:
            project.select(wanted, mix=job.arm.mix, seed=job.seed)
        except NotReadyError as error:  # only groups larger than what is left to spend
            ended = error.problem
            break
    _open_test(job, project, ended)


def _padded(name: str) -> str:
    return f"v{int(name.removeprefix('v')):04}"


def _next_size(job: Job, done: Record, now: StatusResult) -> int:
    left = now.pool.unlabeled + now.pool.pending
    if job.whole_pool:
        return left
    plan = job.plan
    if plan.budget_boxes is not None:
        return min(plan.size_of(job.arm), left) if done.boxes < plan.budget_boxes else 0
    return min(plan.size_of(job.arm), left, (plan.budget_images or 0) - done.images)


def _open_test(job: Job, project: ReplayProject, ended: str) -> None:
    """The test split, once, at the end; its record says why the run ended."""
    last = load_records(job.records)[-1].iteration
    known = load_test(job.records)
    if known is not None and known["iteration"] == last:
        if known.get("budget") != _budget(job):
            durable.write_text(job.records / TEST, json.dumps({**known, "budget": _budget(job)}))
        return
    with project.store.read() as connection:
        there = bool(samples.load(connection, split=Split.TEST))
        trained = bool(iterations.step_history(connection, "train"))
    made: dict[str, Any] = {"iteration": last, "metric": None, "ended": ended}
    made["budget"] = _budget(job)
    if there and trained:
        found = project.evaluate("test").test or {}
        made["metric"] = found["summary"][job.plan.metric]
    durable.write_text(job.records / TEST, json.dumps(made))


def _budget(job: Job) -> list[int | None]:
    return [job.plan.budget_images, job.plan.budget_boxes]


def _record(job: Job, project: ReplayProject, *, seconds: float) -> Record:
    with project.store.read() as connection:
        newest = iterations.newest_iteration(connection)
        assert newest is not None
        picks = [p for p, hidden in batches.load_picks(connection, newest.batch) if not hidden]
        paths = {s.id: s.path for s in samples.load(connection, ids=[p.sample_id for p in picks])}
    evaluated = newest.steps["evaluate"].record if "evaluate" in newest.steps else None
    images, _ = training_set(project._context())
    boxes = sum(len(image.labels) for image in images)
    cost = project.settings.cost
    gauge: Mapping[str, Any] = evaluated["gauge"] if evaluated else {}
    by_source: dict[str, int] = {}
    for pick in picks:
        by_source[pick.source] = by_source.get(pick.source, 0) + 1
    again = job.arm.name == job.plan.baseline and not job.whole_pool and evaluated
    return Record(
        arm=job.arm.name,
        seed=job.seed,
        iteration=newest.number,
        images=len(images),
        boxes=boxes,
        minutes=(len(images) * cost.seconds_per_image + boxes * cost.seconds_per_box) / 60,
        metric=(gauge.get("summary", {}).get(job.plan.metric)) or 0.0,  # no model finds nothing
        per_class=gauge.get("per_class", {}),
        by_source=by_source,
        picks=[paths[p.sample_id] for p in picks],
        targeted=_aimed(project, picks),
        retrained=[_again(job, project, k) for k in range(job.plan.noise)] if again else [],
        train_seconds=float(newest.steps["train"].record["seconds"]) if evaluated else 0.0,
        seconds=round(seconds, 3),
    )


def _aimed(project: ReplayProject, picks: Sequence[Pick]) -> dict[str, float]:
    """How often a targeted pick shows an object of the class that failed, and chance would."""
    aimed = [p for p in picks if "class_id" in p.details]
    if not aimed:
        return {}
    mine = {p.sample_id for p in picks}
    with project.store.read() as connection:
        pool = samples.load(connection, split=Split.POOL)
        known = samples.newest_references(connection, ids=[s.id for s in pool])
        before = {
            p.sample_id
            for b in batches.load_all(connection)
            for p, _ in batches.load_picks(connection, b.name)
        } - mine
    shown = {key: {label.class_id for label in one.labels} for key, one in known.items()}
    open_then = [shown[s.id] for s in pool if s.id not in before]
    share = {
        c: sum(c in one for one in open_then) / len(open_then)
        for c in {p.details["class_id"] for p in aimed}
    }
    return {
        "picks": len(aimed),
        "held": sum(p.details["class_id"] in shown[p.sample_id] for p in aimed),
        "by_chance": sum(share[p.details["class_id"]] for p in aimed),
    }


def _again(job: Job, project: ReplayProject, number: int) -> float:
    """The metric of this iteration's training set under another training seed."""
    context = project._context()
    images, classes = training_set(context)
    known = ground(context, Split.VAL)
    truth = halves(known)[Half.GAUGE]
    wanted = as_images([s for s in known.samples if s.id in truth])
    seed = job.seed + RETRAINED * (number + 1)
    trainer = context.trainer()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        trainer.fit(images, classes=classes, folder=folder, seed=seed, progress=silent)
        found = dict(trainer.predict(folder, wanted, classes=classes, progress=silent))
    return evaluation.evaluate(truth, found, classes=classes).summary[job.plan.metric] or 0.0
