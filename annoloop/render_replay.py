"""The answers of a replay as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from annoloop.render_text import table
from annoloop.results_replay import ReplayCost, ReplayResult


def replay_lines(result: ReplayResult) -> list[str]:
    rows = [
        (
            arm.name,
            arm.seeds,
            arm.area,
            arm.final,
            arm.test,
            arm.rare_final,
            _percent(arm.targeted_held),
            _percent(arm.targeted_chance),
            _reached(arm.reach[0].images),
        )
        for arm in result.arms
    ]
    header = (
        "arm",
        "seeds",
        f"{result.metric} over the run",
        "at the end",
        "on test",
        "rare AP",
        "held class",
        "by chance",
        f"images to {result.baseline}'s end",
    )
    lines = [f"{result.name}: {result.headline}", "", *table(header, rows), ""]
    lines += [f"- {arm.verdict}" for arm in result.arms if arm.name != result.baseline]
    if result.noise is not None:
        gap = 100 * result.noise.gap
        lines.append(
            f"- noise floor: the same batches trained again differ by {gap:.2f} points over the "
            f"run on average ({result.noise.pairs} pairs)"
        )
    if result.full_metric is not None:
        lines.append(f"- training on the whole pool: {result.full_metric:.3f}")
    lines += [
        f"- run {one.arm}, seed {one.seed} failed and is left out: {one.why}"
        for one in result.failed
    ]
    lines += [f"- {note}" for note in result.notes]
    advice = result.recommendation
    lines += ["", f"take over: {advice.arm} ({advice.reason})"]
    return [*lines, *(f"{kind:<12}{file}" for kind, file in result.files.items())]


def cost_lines(cost: ReplayCost) -> list[str]:
    time = "nothing has been timed" if cost.seconds is None else f"about {_time(cost.seconds)} left"
    return [
        f"{cost.name}: {len(cost.arms)} arms × {cost.seeds} seeds, {cost.runs} runs in all",
        f"runs         {cost.runs_done} of {cost.runs} are there",
        f"iterations   {cost.iterations_done} of {cost.iterations} are there",
        f"trainings    {cost.trainings} in all, those of the noise floor included",
        f"time         {time}, with {cost.workers} workers",
        *(f"- {note}" for note in cost.notes),
    ]


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.0f} %"


def _reached(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.0f}"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


PAGES: dict[type, Callable[[Any], list[str]]] = {
    ReplayResult: replay_lines,
    ReplayCost: cost_lines,
}
