"""`batch export`: the batch as files for annotators, with no mark on what is hidden in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from annoloop.errors import InputError, NotReadyError
from annoloop.ports import Writer
from annoloop.records import Label, LabeledImage
from annoloop.results import ExportResult
from annoloop.steps.context import Context
from annoloop.steps.train import predictions
from annoloop.store import batches, iterations, samples


def export(
    context: Context,
    name: str,
    *,
    writer: Writer,
    form: str,
    out: Path,
    prelabels: bool = False,
) -> ExportResult:
    """The batch as files for annotators: task order, no mark on blind golden samples."""
    with context.store.read() as connection:
        batches.get(connection, name)
        order = [pick.sample_id for pick, _ in batches.load_picks(connection, name)]
        by_id = {s.id: s for s in samples.load(connection, ids=order)}
        schema = samples.schema(connection)
    if not schema.classes:
        raise InputError(
            "this project has no classes yet, so nobody knows what to draw",
            fix="Name them: `annoloop ingest --classes cup,plate`.",
        )
    guesses = _prelabels(context, order) if prelabels else {}
    rows = [
        LabeledImage(
            sample_id=s.id,
            path=s.path,
            file=s.uri,
            width=s.width,
            height=s.height,
            labels=guesses.get(s.id, ()),
        )
        for s in (by_id[key] for key in order)
    ]
    if out.exists() and any(out.iterdir()):
        raise InputError(
            f"{out} is not empty", fix="Export into a new folder, or empty this one first."
        )
    writer.write(out, rows, classes=schema.classes)
    return ExportResult(
        batch=name,
        format=form,
        out=str(out),
        images=len(rows),
        boxes=sum(len(r.labels) for r in rows),
        prelabels=prelabels,
    )


def _prelabels(context: Context, ids: Sequence[str]) -> dict[str, tuple[Label, ...]]:
    """Boxes of the newest model at its operating point, for people to accept or mend."""
    with context.store.read() as connection:
        done = iterations.step_history(connection, "evaluate")
        found = samples.load(connection, ids=ids)
    if not done:
        raise NotReadyError(
            "there is no evaluated model to prelabel with",
            fix="Export without `--prelabels`, or run `annoloop evaluate` first.",
        )
    newest = done[-1].record
    guesses = predictions(context, str(newest["model"]), found)
    least = float(newest["min_score"])
    return {
        key: tuple(Label(d.class_id, d.box) for d in detections if d.score >= least)
        for key, detections in guesses.items()
    }
