"""`map`: a place in the plane for every image that has a vector, computed once and kept."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from annoloop.core.layout import layout
from annoloop.errors import NotReadyError
from annoloop.results_map import MapResult, MapState
from annoloop.steps.context import Context
from annoloop.steps.embed import embed
from annoloop.store import columns, db


def lay_out(context: Context, *, again: bool = False) -> MapResult:
    """Lay out all images anew if one has no place yet, or if asked `again`.

    Places are told apart by the vectors that they come from, and written as one version: a run
    that is killed leaves the map as it was.
    """
    name = context.embedder().name
    with context.store.read() as connection:
        paths: dict[str, str] = dict(columns.living(connection))
    if not paths:
        raise NotReadyError("there are no images to lay out", fix="Run `annoloop ingest` first.")
    keys = list(paths)
    waiting = len(keys) - int(context.vectors.having(name, keys).sum())
    if waiting:
        context.say(f"{waiting} images have no {name} vector: embedding them (annoloop embed)")
        embed(context)
    stored = None if again else context.vectors.load_points(name, keys)
    if stored is not None and not np.isnan(stored[0]).any():
        about = stored[1]
        with context.store.read() as connection:
            known = db.recorded(connection, what="map", target=name, at=about["at"])
        if known:  # else of a run that was killed before it wrote its audit line
            return MapResult(
                name, len(keys), False, 0.0, about["method"], about["seed"], about["at"]
            )
    seed = context.settings.select.seed
    started = context.stopwatch()
    points = layout(
        context.vectors.load_vectors(name, keys),
        seed=seed,
        names=[paths[key] for key in keys],
        progress=context.progress,
    )
    at, method = context.now(), f"PaCMAP {version('pacmap')}"
    about = {"at": at, "seed": seed, "method": method}
    context.vectors.write_points(name, keys, points, about)
    with context.store.write() as connection:
        details = {"images": len(keys), "seed": seed, "method": method}
        db.record(connection, at=at, who=context.who, what="map", target=name, details=details)
    seconds = round(context.stopwatch() - started, 3)
    return MapResult(name, len(keys), True, seconds, method, seed, at)


def state(context: Context) -> MapState:
    """How many images have a place by the current vectors, and how many wait for one."""
    name = context.embedder().name
    with context.store.read() as connection:
        keys = columns.living_hashes(connection)
    stored = context.vectors.load_points(name, keys)
    if stored is None:
        return MapState(name, len(keys), 0, len(keys), None)
    missing = int(np.isnan(stored[0][:, 0]).sum())
    return MapState(name, len(keys), len(keys) - missing, missing, stored[1]["at"])
