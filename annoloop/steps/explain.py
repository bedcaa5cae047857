"""What lies behind the numbers of a model: details on gauge, slices of val."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import PurePosixPath
from typing import Any

from annoloop.core.box_columns import columns
from annoloop.core.details import details
from annoloop.errors import InputError, NotReadyError
from annoloop.records import Half, Sample, Split
from annoloop.results_models import ExplainResult
from annoloop.steps.context import Context
from annoloop.steps.ground import ground, halves, of
from annoloop.steps.groups import GroupRule
from annoloop.store import iterations, samples

FIELDS = tuple(f.name for f in fields(Sample) if f.name not in {"id", "path", "uri", "sha256"})
"""The columns of samples that sort them."""


def explain(context: Context) -> ExplainResult:
    """Details of the newest evaluated model on gauge, from its stored predictions.

    Raises NotReadyError where nothing was evaluated, or predictions are gone.
    """
    with context.store.read() as connection:
        done = iterations.step_history(connection, "evaluate")
        classes = samples.schema(connection).classes
    if not done:
        raise NotReadyError("nothing was evaluated yet", fix="Run `annoloop evaluate`.")
    model, least = str(done[-1].record["model"]), float(done[-1].record["min_score"])
    truth = halves(ground(context, Split.VAL))[Half.GAUGE]
    found = context.vectors.load_predictions(model, set(truth))
    if found is None or not truth.keys() <= found.keys():
        raise NotReadyError(
            f"predictions of model {model} on gauge are not stored", fix="Run `annoloop evaluate`."
        )
    made = details(columns(truth, of(found, truth), classes=classes), min_score=least)
    return ExplainResult(f"v{done[-1].iteration}", model, asdict(made.explained))


def slices_of(known: Sequence[Sample], by: str) -> dict[str, list[str]]:
    """Sample ids by `folder`, `size`, `rule:REGEX`, or a field of the samples, as `group`.

    Raises InputError for anything else.
    """
    found: dict[str, list[str]] = {}
    for sample in known:
        found.setdefault(_part(sample, by), []).append(sample.id)
    return dict(sorted(found.items()))


def _part(sample: Sample, by: str) -> str:
    value: Any
    if by == "folder":
        value = str(PurePosixPath(sample.path).parent)
    elif by == "size":
        value = f"{sample.width} × {sample.height}"
    elif by.startswith("rule:"):
        value = GroupRule(by, {}).group(sample.path)
    elif by.removeprefix("column:") in FIELDS:
        value = getattr(sample, by.removeprefix("column:"))
    else:
        raise InputError(
            f"val cannot be sliced by {by!r}",
            fix=f"Use folder, size, rule:REGEX, or one of {', '.join(FIELDS)}.",
        )
    return "none" if value is None else str(value)
