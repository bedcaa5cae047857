"""`batch export`: the batch as files for annotators, with no mark on what is hidden in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from annoloop import durable
from annoloop.errors import InputError
from annoloop.ports import Writer
from annoloop.records import Answer, Batch, BatchKind, Label, LabeledImage, Schema, Split
from annoloop.results_batches import ExportResult
from annoloop.steps.context import Context, require_files
from annoloop.steps.prelabels import Given, give
from annoloop.steps.prelabels import given as recorded
from annoloop.store import batches, samples


def export(
    context: Context,
    name: str,
    *,
    writer: Writer,
    form: str,
    out: Path,
    prelabels: bool = False,
) -> ExportResult:
    """The batch as files for annotators: shuffled, no mark on blind golden samples."""
    with context.store.read() as connection:
        batch = batches.get(connection, name)
        # By id, which is a hash: neither rank nor what is hidden can be read off the order.
        said = batches.newest(batches.load_annotations(connection, batch=name))
        unusable = {key for key, one in said.items() if one.answer is Answer.UNUSABLE}
        picked = {pick.sample_id for pick, _ in batches.load_picks(connection, name)}
        order = sorted(picked - unusable)
        by_id = {s.id: s for s in samples.load(connection, ids=order)}
        schema = samples.schema(connection)
    require_classes(schema)
    given = _given(context, batch, prelabels=prelabels, unusable=unusable)
    guesses = {} if given is None or not prelabels else given.shown()
    if batch.kind is BatchKind.RELABEL:
        guesses = current_labels(context, order)
    require_files({s.path: s.uri for s in by_id.values()})
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
    if out.resolve().is_relative_to(context.images_root.resolve()):
        raise InputError(
            f"{out} lies in the image folder: the next `ingest` would take the export for images",
            fix="Export into a folder elsewhere.",
        )
    durable.refuse_full(out)
    with durable.whole_folder(out) as part:
        writer.write(part, rows, classes=schema.classes)
    return ExportResult(
        batch=name,
        format=form,
        out=str(out),
        images=len(rows),
        boxes=sum(len(r.labels) for r in rows),
        prelabels=prelabels,
        without_prelabels=given.blank if given is not None and prelabels else 0,
        notes=() if given is None else given.notes,
    )


def _given(
    context: Context, batch: Batch, *, prelabels: bool, unusable: Collection[str]
) -> Given | None:
    """What the batch starts from; a note where people elsewhere start from a model's boxes."""
    if prelabels:
        return give(context, batch.name, skipped=unusable)
    known = recorded(context, batch.name)
    if known is None:
        return None
    note = (
        f"{batch.name} was given boxes of {known.model} before; answers to this export count as if "
        "their people had seen them. Export with `--prelabels` to keep the comparison clean"
    )
    return Given(known.rows, (note,))


def require_classes(schema: Schema) -> None:
    if not schema.classes:
        raise InputError(
            "this project has no classes yet, so nobody knows what to draw",
            fix="Name them: `annoloop ingest --classes cup,plate`.",
        )


def current_labels(context: Context, ids: Sequence[str]) -> dict[str, tuple[Label, ...]]:
    """What is to be corrected: the newest answers of the pool, the references of other splits."""
    with context.store.read() as connection:
        answers = batches.newest(batches.load_annotations(connection, ids=ids, split=Split.POOL))
        known = samples.newest_references(connection, ids=ids)
    labels = {key: one.labels for key, one in known.items()}
    return {**labels, **{key: one.labels for key, one in answers.items()}}
