"""`embed`: one vector for each image, appended in chunks, so that a killed run goes on."""

from __future__ import annotations

from annoloop.records import Split, Status
from annoloop.results import EmbedResult
from annoloop.steps.context import Context, require_files
from annoloop.steps.signal import signal_notes
from annoloop.store import db, samples


def embed(context: Context) -> EmbedResult:
    """Embed every image that has no vector yet; vectors are keyed by content hash."""
    embedder = context.embedder()
    with context.store.read() as connection:
        everything = [s for s in samples.load(connection) if s.status is not Status.SKIPPED]
    known = context.vectors.vector_keys(embedder.name)
    todo = {s.sha256: s.uri for s in everything if s.sha256 not in known}
    require_files({s.path: s.uri for s in everything if s.sha256 in todo})
    keys = sorted(todo)
    started = context.stopwatch()
    chunk = context.settings.embed.chunk
    for start in range(0, len(keys), chunk):
        part = keys[start : start + chunk]
        vectors = embedder.embed([todo[key] for key in part])
        context.vectors.add_vectors(embedder.name, part, vectors)
        context.progress(min(start + chunk, len(keys)), len(keys), "embedding")
    seconds = context.stopwatch() - started
    _record(context, embedder.name, new=len(keys), stored=len(known | set(keys)))
    return EmbedResult(
        embedder=embedder.name,
        width=context.vectors.width(embedder.name) or 0,
        embedded=len(keys),
        already=len({s.sha256 for s in everything}) - len(keys),
        seconds=round(seconds, 3),
        images_per_second=round(len(keys) / seconds, 1) if keys and seconds > 0 else None,
        notes=signal_notes(context, embedder.name),
    )


def _record(context: Context, name: str, *, new: int, stored: int) -> None:
    """The audit line; a run that was killed before it wrote one is told by the next."""
    with context.store.read() as connection:
        if not new and db.recorded(connection, what="embed", target=name):
            return
    with context.store.write() as connection:
        db.record(
            connection,
            at=context.now(),
            who=context.who,
            what="embed",
            target=name,
            details={"images": new, "stored": stored},
        )


def ensure_embedded(context: Context) -> str:
    """Embed what has no vector yet, and say so; returns the name of the vectors."""
    name = context.embedder().name
    known = context.vectors.vector_keys(name)
    with context.store.read() as connection:
        pool = samples.load(connection, split=Split.POOL)
    missing = sum(s.sha256 not in known for s in pool if s.status is not Status.SKIPPED)
    if missing:
        context.say(f"{missing} images have no {name} vector: embedding them (annoloop embed)")
        embed(context)
    return name
