"""A replay of one project's labelled images, with the vectors, models and sizes that it uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annoloop.errors import InputError, SettingsError
from annoloop.project import Project
from annoloop.replay.engine import replay, replay_cost
from annoloop.replay.plan import Plan, parse_plan, read_plan
from annoloop.replay.worlds import labelled_images
from annoloop.results_replay import ReplayCost, ReplayResult
from annoloop.settings import Settings

SEEDS = 7
"""The least with which three arms beside the baseline can be told from chance."""
ITERATIONS, SHARE = 6, 0.6
"""Without a plan: so many batches, from this share of the pool. Later picks choose among less."""
LEAST = 5
OWN = ("embed", "coverage", "select", "train", "evaluate", "cost", "split")
"""Sections of annoloop.toml that all arms take over."""
NOT_OWN = (("select", "mix"), ("split", "golden"), ("split", "group"))
"""But each arm has its mix, no golden image is spent, and groups come with the images."""


def replay_project(
    project: Project,
    plan: Path | str | Mapping[str, Any] | None = None,
    *,
    out: Path | str | None = None,
    workers: int | None = None,
    dry_run: bool = False,
) -> ReplayResult | ReplayCost:
    """Replay what `project` has labels of; `plan` is a file, its parsed keys, or None.

    The project's settings are those of all arms unless the plan says otherwise. Keys that the plan
    leaves out: arms random, coverage, targeted and the project's own mix; seven seeds; six batches
    from 60 % of the pool. The project itself is not changed. Raises SettingsError for a plan with
    data of its own, InputError for too few labels.
    """
    made = own_plan(project, _written(plan))
    call = replay_cost if dry_run else replay
    folder = out if out is not None else project.folder / f"{made.name}-replay"
    return call(made, out=folder, workers=workers, say=project.say, progress=project.progress)


def own_plan(project: Project, written: Mapping[str, Any]) -> Plan:
    """The plan whole: data and settings of the project, and defaults for what is not written."""
    if "data" in written:
        raise SettingsError(
            "the plan has [data] of its own, but this project's images are to be replayed",
            fix="Leave [data] out, or give the plan to `annoloop replay` outside of the project.",
        )
    settings = project.settings
    whole = (
        {"name": project.folder.name} | _sizes(project, written) | {"seeds": SEEDS} | dict(written)
    )
    if "arms" not in whole:
        whole["arms"] = standard_arms(settings.select.mix)
    asked = whole.get("settings", {})
    if isinstance(asked, dict):
        whole["settings"] = _own_settings(settings, asked)
    whole["data"] = {"project": str(project.folder)}
    return parse_plan(whole, folder=project.folder)


def standard_arms(mix: Mapping[str, float]) -> list[dict[str, Any]]:
    """Random, each source alone, and the mix itself, named by its shares."""
    name = ", ".join(f"{part} {share:g}" for part, share in mix.items())
    alone = {part: {part: 1.0} for part in ("random", "coverage", "targeted")}
    arms = alone if len(mix) == 1 and next(iter(mix)) in alone else alone | {name: dict(mix)}
    return [{"name": key, "mix": one} for key, one in arms.items()]


def _sizes(project: Project, written: Mapping[str, Any]) -> dict[str, Any]:
    """First batch, batch and budget in images, where the plan names no size at all."""
    if written.keys() & {"first", "batch", "budget_images", "budget_boxes"}:
        return {}
    many, split = labelled_images(project), project.settings.split
    budget = int(SHARE * many * (1 - split.test - split.val))
    batch = budget // ITERATIONS
    if batch < LEAST:
        raise InputError(
            f"{many} labelled images are too few to replay {ITERATIONS} batches",
            fix="Label more, or write a plan with `first`, `batch` and `budget_images`.",
        )
    return {"first": batch, "batch": batch, "budget_images": batch * ITERATIONS}


def _own_settings(settings: Settings, asked: Mapping[str, Any]) -> dict[str, Any]:
    own = settings.model_dump(include=set(OWN), exclude_unset=True)
    for part, key in NOT_OWN:
        own.get(part, {}).pop(key, None)
    kept = {part: values for part, values in own.items() if values}
    return kept | {
        part: {**kept.get(part, {}), **values} if isinstance(values, dict) else values
        for part, values in asked.items()
    }


def _written(plan: Path | str | Mapping[str, Any] | None) -> Mapping[str, Any]:
    if plan is None:
        return {}
    return plan if isinstance(plan, Mapping) else read_plan(Path(plan))
