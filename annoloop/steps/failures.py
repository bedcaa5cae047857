"""`failures`: the typed failures of the newest evaluation."""

from __future__ import annotations

from collections import Counter

from annoloop.core import failures as core_failures
from annoloop.errors import NotReadyError
from annoloop.records import Half, Split
from annoloop.results_models import FailuresResult, FailureView
from annoloop.steps.context import Context
from annoloop.store import iterations, samples


def failures(context: Context) -> FailuresResult:
    """The typed failures of the newest evaluation, dearest first."""
    with context.store.read() as connection:
        done = iterations.step_history(connection, "evaluate")
        if not done:
            raise NotReadyError("nothing was evaluated yet", fix="Run `annoloop evaluate`.")
        seq, model = done[-1].seq, str(done[-1].record["model"])
        found = iterations.load_failures(connection, seq)
        results = iterations.load_results(connection, seq)
        by_id = {s.id: s for s in samples.load(connection, split=Split.VAL)}
        classes = samples.schema(connection).classes
    mine = [r for r in results if by_id[r.sample_id].half is Half.MINE]
    found.sort(key=lambda f: (-f.price, -(f.score or 0.0), f.sample_id))
    return FailuresResult(
        model=model,
        images=len({f.sample_id for f in found}),
        by_type=dict(Counter(str(f.type) for f in found)),
        by_class=dict(Counter(classes[f.class_id] for f in found)),
        high_fn=tuple(by_id[key].path for key in core_failures.high_fn(mine)),
        high_fp=tuple(by_id[key].path for key in core_failures.high_fp(mine)),
        failures=tuple(
            FailureView(by_id[f.sample_id].path, core_failures.describe(f, classes), f)
            for f in found
        ),
    )
