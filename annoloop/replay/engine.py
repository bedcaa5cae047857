"""`replay`: every arm with every seed, in parallel, resumable; then the answers."""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from annoloop import durable
from annoloop.errors import BusyError, InputError, TrainerError
from annoloop.ports import Progress, silent
from annoloop.replay.plan import ArmPlan, Plan, check_names, load_plan
from annoloop.replay.runs import (
    Job,
    is_whole,
    load_failure,
    load_records,
    perform,
)
from annoloop.replay.worlds import Voices, World, prepare_seed, prepare_world
from annoloop.results_replay import FailedRun, ReplayCost, ReplayResult

FULL = "every label"
"""The run that trains on the whole pool."""

POLL = 1.0


def replay(
    plan: Plan | Path | str,
    *,
    out: Path | str | None = None,
    workers: int | None = None,
    say: Callable[[str], None] | None = None,
    progress: Progress = silent,
) -> ReplayResult:
    """Make or go on with a replay, and write its answers: page, JSON, CSV and TOML in `out`.

    `out` is by default NAME-replay in the working folder; `workers` by default as many as cores.
    Raises SettingsError for a plan, InputError for data that cannot be replayed. A run that fails
    is marked in the answers, and tried again the next time.
    """
    from annoloop.replay.answers import answer

    started, many = time.perf_counter(), _workers(workers)
    with _opened(plan, out, Voices(say or (lambda _text: None), progress)) as stage:
        for seed in stage.plan.seed_list:
            prepare_seed(stage.world, stage.plan, seed)
        cost = _cost(stage.plan, stage.jobs, workers=many)
        done = f"{cost.iterations_done} of {cost.iterations} iterations done"
        stage.voices.say(f"{len(stage.jobs)} runs, {done}")
        todo = [job for job in stage.jobs if not is_whole(job)]
        for job, why in _perform_all(todo, stage.voices, workers=many):
            if why is not None:
                where = f"run {job.arm.name}, seed {job.seed}"
                stage.voices.say(f"{where} failed and is left out: {why}")
        seconds = time.perf_counter() - started
        return answer(stage.plan, stage.jobs, stage.world.folder, seconds=seconds)


def replay_cost(
    plan: Plan | Path | str,
    *,
    out: Path | str | None = None,
    workers: int | None = None,
    say: Callable[[str], None] | None = None,
    progress: Progress = silent,
) -> ReplayCost:
    """What `replay` would cost. Where nothing is timed yet, two iterations are run and kept."""
    many = _workers(workers)
    with _opened(plan, out, Voices(say or (lambda _text: None), progress)) as stage:
        notes: tuple[str, ...] = ()
        if not any(load_records(job.records) for job in stage.jobs):
            stage.voices.say("timing the first two iterations of one run; they are kept")
            first = stage.jobs[0]
            prepare_seed(stage.world, stage.plan, first.seed)
            why = perform(first, most=2)
            notes = () if why is None else (f"the run that was timed failed: {why}",)
        return _cost(stage.plan, stage.jobs, workers=many, notes=notes)


@dataclass(frozen=True, slots=True)
class _Stage:
    """A replay whose data is there and whose runs are known."""

    plan: Plan
    voices: Voices
    world: World
    jobs: Sequence[Job]


@contextmanager
def _opened(plan: Plan | Path | str, out: Path | str | None, voices: Voices) -> Iterator[_Stage]:
    known = plan if isinstance(plan, Plan) else load_plan(Path(plan))
    check_names(known)
    folder = _folder(known, plan, out)
    with _alone(folder):
        world = prepare_world(known, folder, voices)
        yield _Stage(known, voices, world, plan_jobs(known, world))


def _folder(plan: Plan, given: Plan | Path | str, out: Path | str | None) -> Path:
    if out is not None:
        folder = Path(out)
    else:
        folder = Path(f"{plan.name if isinstance(given, Plan) else Path(given).stem}-replay")
    if folder.is_file():
        raise InputError(f"{folder} is a file", fix="Name a folder with `--out`.")
    return folder.resolve()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One replay at a time in a folder: two would make the same runs."""
    with durable.named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".replay.lock").open("a")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"another replay is running in {folder}", fix="Wait for it, or use another `--out`."
            ) from error
        yield


def _workers(asked: int | None) -> int:
    if asked is not None and asked < 1:
        raise InputError(f"{asked} workers do nothing", fix="Ask for at least one.")
    return asked or os.cpu_count() or 1


def plan_jobs(plan: Plan, world: World) -> list[Job]:
    """All runs, seed by seed, so that what is there early is paired."""
    jobs = []
    for seed in plan.seed_list:
        jobs += [Job(plan, world, arm, seed) for arm in plan.arms]
        if plan.full:
            whole = ArmPlan(name=FULL, mix={"random": 1.0}, batch=world.images)
            jobs.append(Job(plan, world, whole, seed, whole_pool=True))
    return jobs


def failures(jobs: Sequence[Job]) -> tuple[FailedRun, ...]:
    found = [(job, load_failure(job.records)) for job in jobs]
    return tuple(FailedRun(job.arm.name, job.seed, why) for job, why in found if why is not None)


def _cost(
    plan: Plan, jobs: Sequence[Job], *, workers: int, notes: tuple[str, ...] = ()
) -> ReplayCost:
    wanted = [_iterations(job) for job in jobs]
    records = [load_records(job.records) for job in jobs]
    done = sum(min(len(found), number) for found, number in zip(records, wanted, strict=True))
    times = [one.seconds for found in records for one in found]
    arms, seeds = len(plan.arms), len(plan.seed_list)
    runs_of_baseline = [n for job, n in zip(jobs, wanted, strict=True) if _is_baseline(job)]
    # The first batch of a seed is the same for all, so it is trained on once.
    shared = sum(wanted) - seeds * (len(jobs) // seeds - 1)
    left = sum(wanted) - done
    return ReplayCost(
        name=plan.name,
        arms=tuple(arm.name for arm in plan.arms),
        seeds=seeds,
        runs=len(jobs),
        runs_done=sum(is_whole(job) for job in jobs),
        iterations=sum(wanted),
        iterations_done=done,
        trainings=shared + plan.noise * sum(runs_of_baseline),
        oracle_images=arms * seeds * (plan.budget_images or 0),
        workers=workers,
        seconds=round(left * sum(times) / len(times) / workers, 1) if times else None,
        notes=notes,
    )


def _is_baseline(job: Job) -> bool:
    return job.arm.name == job.plan.baseline and not job.whole_pool


def _iterations(job: Job) -> int:
    """How many records a run will have; from the mean of boxes an image under a budget in boxes."""
    plan = job.plan
    if job.whole_pool:
        return 2
    images = plan.budget_images
    if images is None:
        an_image = sum(job.world.boxes.values()) / max(job.world.images, 1)
        images = math.ceil((plan.budget_boxes or 0) / max(an_image, 1e-9))
    return 1 + max(0, math.ceil((images - plan.first) / plan.size_of(job.arm)))


def _perform_all(
    jobs: Sequence[Job], voices: Voices, *, workers: int
) -> Iterator[tuple[Job, str | None]]:
    """Every job and why it failed, as they come; in this process if one worker is enough."""
    if not jobs:
        return
    clock = _Clock(jobs, voices.progress)
    if workers == 1 or len(jobs) == 1:
        for job in jobs:
            yield job, perform(job)
            clock.tell()
        return
    # Fresh processes: forking one with threads of numba and Lance in it may hang.
    with ProcessPoolExecutor(
        min(workers, len(jobs)), mp_context=get_context("spawn"), initializer=_one_thread
    ) as pool:
        running: dict[Future[str | None], Job] = {pool.submit(perform, job): job for job in jobs}
        try:
            while running:
                done, _ = wait(running, timeout=POLL, return_when=FIRST_COMPLETED)
                clock.tell()
                for one in done:
                    yield running.pop(one), one.result()
        except BrokenProcessPool as error:
            raise TrainerError(
                "a worker process died, most likely for want of memory",
                fix="Run the same command with fewer `--workers`: what is done is kept.",
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one_thread() -> None:
    """Workers share the cores already."""
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")


class _Clock:
    """How far the runs are, and how long the rest may take at the pace so far."""

    def __init__(self, jobs: Sequence[Job], progress: Progress) -> None:
        self._jobs, self._progress = jobs, progress
        self._total = sum(map(_iterations, jobs))
        self._start = self._done()
        self._began = time.perf_counter()

    def _done(self) -> int:
        return sum(len(list(job.records.glob("v*.json"))) for job in self._jobs)

    def tell(self) -> None:
        done = self._done()
        new, passed = done - self._start, time.perf_counter() - self._began
        left = "" if not new else f", about {_duration(passed / new * (self._total - done))} left"
        self._progress(min(done, self._total), self._total, f"replaying{left}")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
