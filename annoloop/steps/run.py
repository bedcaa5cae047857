"""`run`: walk the loop, stop where people are needed, continue where it was."""

from __future__ import annotations

from annoloop.errors import GoldenError
from annoloop.records import StopVerdict
from annoloop.results import RunResult
from annoloop.steps.annotate import oracle
from annoloop.steps.close import close
from annoloop.steps.context import Context
from annoloop.steps.decide import decide
from annoloop.steps.select import Wish, select
from annoloop.steps.status import status
from annoloop.store import iterations, samples
from annoloop.store.iterations import Iteration


def run(context: Context, *, limit: int | None = None, unattended: bool = False) -> RunResult:
    """Take iterations to their verdict, until it says stop, `limit` is reached, or people come in.

    `unattended` answers batches by the oracle. Each step is the verb's own, so a killed run goes
    on at the first step that has no record.
    """
    done = 0
    while True:
        newest = _newest(context)
        verdict = _verdict(newest)
        if verdict is not None and verdict.stops:
            return _result(context, done, f"the verdict is {verdict}")
        if limit is not None and done >= limit:
            return _result(context, done, f"{limit} iterations were asked for")
        if newest is None or verdict is not None:
            if not _anything_left(context):
                return _result(context, done, "no unlabeled image is left in the pool")
            chosen = select(context, Wish())
            parts = ", ".join(f"{number} {name}" for name, number in chosen.by_source.items())
            context.say(f"batch {chosen.batch}: {chosen.size} images ({parts})")
            continue
        if "annotate" not in newest.steps:
            if not unattended:
                why = f"batch {newest.batch} is waiting for people"
                return _result(context, done, why)
            oracle(context, newest.batch)
            close(context, newest.batch)
            continue
        try:
            made = decide(context)
        except GoldenError as error:
            return _result(context, done, error.problem, golden_failed=True)
        done += 1
        context.say(f"{made.iteration}: {made.reason}")


def _newest(context: Context) -> Iteration | None:
    with context.store.read() as connection:
        return iterations.newest_iteration(connection)


def _verdict(iteration: Iteration | None) -> StopVerdict | None:
    if iteration is None or "decide" not in iteration.steps:
        return None
    return StopVerdict(iteration.steps["decide"].record["verdict"])


def _anything_left(context: Context) -> bool:
    from annoloop.records import Split
    from annoloop.steps.blind import OPEN

    with context.store.read() as connection:
        counts = samples.counts(connection)
    sides = (Split.POOL, None)  # None: the splits are not made yet, select will make them
    return any(counts.get((side, one), 0) for side in sides for one in OPEN)


def _result(context: Context, done: int, why: str, *, golden_failed: bool = False) -> RunResult:
    now = status(context)
    return RunResult(
        iterations=done,
        stopped_because=why,
        golden_failed=golden_failed,
        verdict=now.verdict,
        open_batch=now.open_batch,
        next_step=now.next_step,
        metric=now.metric,
        rows=now.iterations,
    )
