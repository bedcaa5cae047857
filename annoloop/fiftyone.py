"""One step of the loop on a FiftyOne dataset alone, without a project.

    import annoloop.fiftyone
    result = annoloop.fiftyone.iterate(dataset, seed=0)

The dataset's own tags, fields and saved views are the record, by the names of the annotation
tutorial; docs/fiftyone.md puts its cells beside these calls. No image is opened, unless `embed`
asks for vectors.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from annoloop import durable
from annoloop.adapters.fiftyone import (
    HISTORY,
    LABELS,
    LOCKED,
    SCHEMA,
    SCORES,
    VECTORS,
    Columns,
    FiftyoneDataset,
    database,
    open_dataset,
    sdk,
)
from annoloop.core import coverage, selection
from annoloop.errors import (
    BatchOpenError,
    LockedSplitError,
    NotReadyError,
    SettingsError,
    VectorError,
)
from annoloop.records import Failure, FailureType, Selection
from annoloop.render_fiftyone import summary
from annoloop.results_fiftyone import (
    BatchProgress,
    FiftyonePick,
    IterationResult,
    PluginResult,
    PoolProgress,
    ProgressResult,
)

MIX = {"coverage": 0.3, "targeted": 0.7}
SHARE, LEAST, TOP_CLASSES = 0.2, 10, 5
"""The tutorial's batch: a fifth of what remains, ten at least; five classes of golden."""
OPEN = ("unlabeled", "pending")
LOOKING = ("targeted", "neighbours")
"""The sources that look for something; without failures only scores are read, and no vectors."""
COVERED = ("annotated", "selected")

Say = Callable[[str], None]
Note = Mapping[str, Any]


def talk(text: str) -> None:
    sys.stderr.write(text + "\n")


class Options(TypedDict, total=False):
    """What `iterate` takes by name.

    `mix`: shares by source (default 30 % coverage, 70 % targeted). `seed`: 0. `rescore`: compute
    `zcore` anew, conditional on what is labelled. `embed`: compute our `pixels` vectors where there
    are none. `allow_open`: go on although samples of the last batch still wait. `dry_run`: write
    nothing. `say`: where the summary goes (stderr).
    """

    mix: Mapping[str, float]
    seed: int
    rescore: bool
    embed: bool
    allow_open: bool
    dry_run: bool
    say: Say


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked, with the tutorial's defaults."""

    size: int | None
    mix: Mapping[str, float]
    seed: int
    rescore: bool
    embed: bool
    allow_open: bool


def iterate(dataset: Any, size: int | None = None, **options: Unpack[Options]) -> IterationResult:
    """Golden statistics and the next batch, written to the dataset; a summary is said.

    `dataset` is a FiftyOne dataset or its name. The batch has exactly `size` samples (default
    max(10, a fifth of the unlabeled pool)), floor(0.3 × size) of them coverage; `Options` says what
    else can be asked. Raises BatchOpenError, BusyError (another process is at it), VectorError,
    NotReadyError, InputError, LockedSplitError, SettingsError, DependencyError.
    """
    unknown = options.keys() - Options.__annotations__.keys()
    if unknown:
        raise TypeError(f"iterate() has no option {sorted(unknown)[0]!r}")
    found = open_dataset(dataset) if isinstance(dataset, str) else FiftyoneDataset(dataset)
    say = options.get("say", talk)
    wish = Wish(
        size,
        options.get("mix", MIX),
        options.get("seed", 0),
        rescore=options.get("rescore", False),
        embed=options.get("embed", False),
        allow_open=options.get("allow_open", False),
    )
    dry = options.get("dry_run", False)
    if dry and wish.embed:
        raise SettingsError(
            "a dry run writes nothing, and `embed` stores vectors",
            fix="Leave out one of them.",
        )
    with database():
        if dry:
            return _iterate(found, wish, None, say)
        with found.alone(at=datetime.now(UTC)) as lock:
            return _iterate(found, wish, lock.writing, say)


def progress(dataset: Any) -> ProgressResult:
    """Where the loop stands on a dataset: the pool, its batches, golden statistics."""
    found = open_dataset(dataset) if isinstance(dataset, str) else FiftyoneDataset(dataset)
    with database():
        return ProgressResult(
            dataset=found.name,
            pool=_progress(_pool(found), ()),
            batches=tuple(
                BatchProgress(f"v{number}", size, found.waiting(number))
                for number, size in found.batch_sizes().items()
            ),
            golden=tuple(found.dataset.info.get(HISTORY) or ()),
        )


def golden_statistics(dataset: Any) -> dict[str, Any]:
    """What the next entry of `golden_qa_history` would say. Raises InputError, as `iterate`."""
    return _golden(FiftyoneDataset(dataset))


def install_plugin() -> PluginResult:
    """Copy the plugin for the App into FiftyOne's plugins folder."""
    source = Path(__file__).parent / "fiftyone_plugin"
    target = Path(sdk().config.plugins_dir) / "annoloop"
    with durable.named(target):
        target.mkdir(parents=True, exist_ok=True)
        for file in sorted(source.glob("*.*")):
            durable.write_text(target / file.name, file.read_text(encoding="utf-8"))
    return PluginResult(str(target))


def _iterate(
    found: FiftyoneDataset, wish: Wish, writing: Callable[[Note | None], None] | None, say: Say
) -> IterationResult:
    number = _next_batch(found, wish)
    pool = _pool(found)
    golden = _golden(found)
    chosen, notes = _choose(found, pool, wish, number=number, dry=writing is None)
    by_source: dict[str, list[str]] = {}
    for pick in chosen.picks:
        by_source.setdefault(pick.source, []).append(pick.sample_id)
    if writing is not None:
        pending = [
            key for key, status in zip(pool.ids, pool.statuses, strict=True) if status == "pending"
        ]
        pending += found.slices.following(pending)
        writing({"batch": number, "pending": pending, "golden": golden})
        found.write_batch(number, by_source, {p.sample_id: p.reason for p in chosen.picks})
        found.append_info(HISTORY, golden)
        writing(None)
    file_of = found.files([p.sample_id for p in chosen.picks])
    result = IterationResult(
        dataset=found.name,
        batch=f"v{number}",
        view=f"batch_v{number}",
        dry_run=writing is None,
        asked=chosen.asked,
        size=len(chosen.picks),
        by_source={source: len(ids) for source, ids in by_source.items()},
        quotas=dict(chosen.quotas),
        shortfalls=chosen.shortfalls,
        seed=wish.seed,
        golden=golden,
        progress=_progress(pool, [p.sample_id for p in chosen.picks]),
        picks=tuple(
            FiftyonePick(p.sample_id, file_of[p.sample_id], p.source, p.rank, p.score, p.reason)
            for p in chosen.picks
        ),
        notes=(*notes, *chosen.notes),
    )
    say("\n".join(summary(result)))
    return result


def _next_batch(found: FiftyoneDataset, wish: Wish) -> int:
    last = max(found.batch_sizes(), default=None)
    if last is None:
        return 0
    waiting = found.waiting(last)
    if waiting and not wish.allow_open:
        raise BatchOpenError(
            f"{waiting} samples of batch v{last} still carry the tag `to_annotate`",
            fix=f"Label the saved view `batch_v{last}`, set their annotation_status and remove the "
            "tag; or say that it does not matter: allow_open=True (--allow-open).",
        )
    return last + 1


def _pool(found: FiftyoneDataset) -> Columns:
    """The pool's samples. Raises LockedSplitError if it holds one of another split."""
    pool = found.columns(found.view("pool", "split:pool"))
    bad = [
        (key, tag)
        for key, tags in zip(pool.ids, pool.tags, strict=True)
        for tag in tags
        if tag in LOCKED
    ]
    if bad:
        raise LockedSplitError(
            f"{len(bad)} samples of the pool belong to another split, first "
            f"{found.file(bad[0][0])} ({bad[0][1]})",
            fix="Mend the saved view `pool`, or the tags: a sample has one split for good.",
        )
    if not pool.ids:
        raise NotReadyError("the pool is empty", fix="Add samples with the tag `split:pool`.")
    return pool


def _golden(found: FiftyoneDataset) -> dict[str, Any]:
    """The entry of `golden_qa_history`: of the schema's classes, of all where there is none."""
    info = found.dataset.info
    schema = info.get(SCHEMA) or {}
    field = schema.get("field_name") or LABELS
    counts = found.label_counts(found.view("golden_qa", "split:golden"), field)
    known = set(schema.get("classes") or {name for one in counts for name in one})
    kept = [{name: n for name, n in one.items() if name in known} for one in counts]
    total: Counter[str] = Counter()
    for one in kept:
        total.update(one)
    ranked = sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))
    return {
        "iteration": len(info.get(HISTORY) or ()),
        "samples_with_labels": sum(bool(one) for one in kept),
        "total_detections": total.total(),
        "top_classes": dict(ranked[:TOP_CLASSES]),
    }


def _choose(
    found: FiftyoneDataset, pool: Columns, wish: Wish, *, number: int, dry: bool
) -> tuple[Selection, tuple[str, ...]]:
    """The next batch of the open pool, and what is to be said about it."""
    open_ = [row for row, status in enumerate(pool.statuses) if status in OPEN]
    if not open_:
        raise NotReadyError("no unlabeled sample is left in the pool", fix="Add samples to it.")
    ids = [pool.ids[row] for row in open_]
    notes: list[str] = [found.slices.note] if found.slices.note else []
    scores = None if wish.rescore else found.scores(ids)
    name, failed = found.failures()
    asked = any(wish.mix.get(source) for source in LOOKING) and failed is not None and failed.ids
    vectors = found.vectors(ids) if asked or scores is None or wish.embed else None
    if vectors is None and wish.embed:
        _embed(found)
        notes.append(f"no `{VECTORS}`: computed with the pixels embedder")
        vectors = found.vectors(ids)
    if scores is None:
        scores = _rescored(found, pool, ids, vectors, wish, dry=dry)
        notes.append(f"`{SCORES}` computed, conditional on what is labelled")
    queries = [] if vectors is None or not failed else _queries(found, name, failed, notes)
    if vectors is None and (asked or not found.has(VECTORS)):
        notes.append(f"coverage only: the dataset has no `{VECTORS}` (embed=True computes ours)")
    names = [pool.groups[row] for row in open_] if pool.groups is not None else None
    candidates = selection.Candidates(
        tuple(ids),
        vectors,
        scores,
        groups=None if names is None else np.unique(names, return_inverse=True)[1],
    )
    evidence = selection.Evidence(
        queries=tuple(queries),
        pending=tuple(pool.ids[row] for row in open_ if pool.statuses[row] == "pending"),
        labelled=_labelled(found, pool, wish.mix),
    )
    size = min(len(ids), max(LEAST, int(SHARE * len(ids)))) if wish.size is None else wish.size
    rng = np.random.default_rng([wish.seed, number])
    chosen = selection.select(candidates, evidence, size=size, mix=wish.mix, rng=rng)
    return chosen, tuple(notes)


def _labelled(
    found: FiftyoneDataset, pool: Columns, mix: Mapping[str, float]
) -> NDArray[np.float32] | None:
    """Vectors of what is labelled, where a source of the mix looks at them."""
    if mix.keys() <= {"coverage", "targeted", "neighbours", "random"}:
        return None
    return found.vectors(_covered(pool))


def _covered(pool: Columns) -> list[str]:
    return [key for key, status in zip(pool.ids, pool.statuses, strict=True) if status in COVERED]


def _queries(
    found: FiftyoneDataset, name: str | None, failed: Columns, notes: list[str]
) -> list[selection.Query]:
    """Each failure image of the newest evaluation as one query; they are one mode together."""
    vectors = found.vectors(failed.ids)
    if vectors is None:
        if failed.ids:
            notes.append(f"coverage only: the samples of `{name}` have no `{VECTORS}`")
        return []
    files = found.files(failed.ids)
    return [
        selection.Query(
            Failure(key, FailureType.MISSED, 0, (0.0, 0.0, 0.0, 0.0)),
            _words(tags),
            PurePath(files[key]).name,
            row,
        )
        for key, tags, row in zip(failed.ids, failed.tags, vectors, strict=True)
    ]


def _words(tags: Sequence[str]) -> str:
    kinds = [tag.removeprefix("failure:") for tag in tags if tag.startswith("failure:")]
    return f"a failure ({', '.join(sorted(kinds))})" if kinds else "a failure"


def _rescored(
    found: FiftyoneDataset,
    pool: Columns,
    ids: Sequence[str],
    vectors: NDArray[np.float32] | None,
    wish: Wish,
    *,
    dry: bool,
) -> NDArray[np.float64]:
    """ZCore of the open pool, labelled and selected samples taking part as occupied rows."""
    if vectors is None:
        raise VectorError(
            f"dataset {found.name!r} has neither `{VECTORS}` nor `{SCORES}`",
            fix="Compute embeddings into that field, or let us: embed=True "
            f"(`annoloop fiftyone iterate {found.name} --embed`).",
        )
    taken = found.vectors(_covered(pool))
    everyone = vectors if taken is None else np.concatenate([vectors, taken])
    occupied = np.arange(len(everyone)) >= len(vectors)
    draws = coverage.make_draws(
        everyone, coverage.default_draws(len(everyone)), rng=np.random.default_rng(wish.seed)
    )
    raw = coverage.zcore(everyone, draws, occupied=occupied, conditional=True)
    scores = coverage.scale(raw[: len(vectors)])
    if not dry:
        found.write_column(SCORES, dict(zip(ids, scores.tolist(), strict=True)))
    return scores


def _embed(found: FiftyoneDataset) -> None:
    """Our own vectors for every sample of the dataset."""
    from annoloop.adapters.pixels import PixelsEmbedder

    files = found.files(found.columns(found.everyone).ids)
    rows = PixelsEmbedder().embed(tuple(files.values()))
    found.write_column(VECTORS, dict(zip(files, rows, strict=True)))


def _progress(pool: Columns, picked: Sequence[str]) -> PoolProgress:
    """The pool once the batch is taken."""
    taken = frozenset(picked)
    counts = Counter(
        "selected" if key in taken else status
        for key, status in zip(pool.ids, pool.statuses, strict=True)
    )
    total = counts.total()
    names = ("annotated", "selected", "pending", "skipped", "unlabeled")
    numbers = {name: counts[name] for name in names}
    percent = {name: round(100 * n / total, 1) for name, n in numbers.items()}
    return PoolProgress(total=total, percent=percent, **numbers)
