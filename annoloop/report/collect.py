"""`report`: what the page shows, asked of the project, and the page written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from annoloop import durable
from annoloop.errors import InputError, NotReadyError
from annoloop.records import Box
from annoloop.report.control_chart import GoldenPoint
from annoloop.report.page import (
    THUMBNAILS,
    BatchCards,
    FailureCard,
    PickCard,
    ReportData,
    Weakness,
    WorstCard,
    render_page,
)
from annoloop.report.pr_chart import ClassCurve
from annoloop.results import ReportResult, StatusResult
from annoloop.results_failures import FailuresResult, FailureView
from annoloop.results_golden import GoldenStatsResult
from annoloop.results_models import ImageView

if TYPE_CHECKING:
    from annoloop.project import Project

BATCHES = 8
"""The newest batches that are shown with pictures."""


def write_report(project: Project, out: Path) -> ReportResult:
    """Write the page, whole or not at all."""
    if out.is_dir() or not out.name:
        raise InputError(f"{out} is a folder", fix="Name the file: `annoloop report page.html`.")
    now = project.status()
    found = newest_failures(project)
    data = ReportData(
        project=project.folder.name,
        generated_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        headline=headline(now),
        next_step=now.next_step,
        metric=now.metric,
        target=now.target,
        pool=now.pool,
        outlook=(now.decided or {}).get("outlook"),
        iterations=now.iterations,
        batches=tuple(_batches(project, now)),
        failures=_failures(project, found),
        weakness=weakness(project, found),
        golden=tuple(golden_points(project.golden_stats())),
        golden_reason=now.golden_reason,
        prelabels=_prelabels(project),
        conflicts=tuple(_conflicts(project)),
        notes=tuple(_notes(now)),
    )
    page = render_page(data)
    with durable.named(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        durable.write_text(out, page)
    return ReportResult(str(out), len(page.encode()))


def _prelabels(project: Project) -> str | None:
    """What the model's boxes do to the labels, where any batch was given some."""
    found = project.golden_prelabels()
    return found.reason if found.batches else None


def headline(now: StatusResult) -> str:
    decided = next((row for row in reversed(now.iterations) if row.reason), None)
    if decided is not None and decided.reason is not None:
        return f"{decided.name}: {decided.reason}"
    return f"{now.pool.annotated} of {now.pool.total} pool images are annotated"


def _notes(now: StatusResult) -> list[str]:
    sides = ", ".join(f"{name} {number}" for name, number in sorted(now.splits.items()))
    notes = [f"{now.samples} samples: {sides}"]
    if now.iterations:
        notes.append(
            f"{now.metric} and AP are measured on gauge, one fixed half of val; failures come "
            "from mine, the other half"
        )
    times = {0: "has not been opened", 1: "was opened once"}
    opened = times.get(now.test_opened, f"was opened {now.test_opened} times")
    return [*notes, f"the test split {opened}"]


def _batches(project: Project, now: StatusResult) -> list[BatchCards]:
    chosen = [b for b in now.batches if b.kind == "select"][-BATCHES:]
    found = []
    for summary in chosen:
        batch = project.batch_show(summary.name)
        picks = batch.picks
        views = project.gallery([p.sample_id for p in picks])
        cards = [
            PickCard(
                path=p.path,
                uri=views[p.sample_id].uri,
                source=p.source,
                rank=p.rank,
                score=p.score,
                reason=p.reason,
                boxes=views[p.sample_id].labels,
            )
            for p in picks
        ]
        found.append(
            BatchCards(
                summary.name,
                summary.open,
                tuple(cards),
                annotators=batch.annotators,
                made_at=summary.created_at,
                closed_at=summary.closed_at,
                embedder=batch.embedder,
            )
        )
    return found


def newest_failures(project: Project) -> FailuresResult | None:
    try:
        return project.failures()
    except NotReadyError:
        return None  # nothing was evaluated yet: the page says so by having no failures


def _failures(project: Project, found: FailuresResult | None) -> tuple[FailureCard, ...]:
    chosen = spread(found.failures, THUMBNAILS) if found else []
    views = project.gallery({v.failure.sample_id for v in chosen})
    return tuple(_failure_card(v, views[v.failure.sample_id]) for v in chosen)


def weakness(project: Project, found: FailuresResult | None) -> Weakness:
    if found is None:
        return Weakness()
    views = project.gallery({one.sample_id for one in found.worst})
    return Weakness(
        by_class=tuple((one.iteration, one.by_class) for one in found.history),
        curves=_curves(project),
        min_score=found.min_score,
        groups=found.groups,
        changes=found.changes,
        worst=tuple(
            WorstCard(
                path=one.path,
                uri=views[one.sample_id].uri,
                tp=one.tp,
                fp=one.fp,
                fn=one.fn,
                at_least=one.at_least,
                truth=views[one.sample_id].labels,
                predicted=views[one.sample_id].predicted,
            )
            for one in found.worst
        ),
    )


def _curves(project: Project) -> tuple[ClassCurve, ...]:
    try:
        classes = project.explain().details["classes"]
    except NotReadyError:
        return ()  # predictions are gone: derived data, the page lives without the curves
    return tuple(
        ClassCurve(
            name=one["name"],
            ap50=one["ap50"],
            curve=one["curve"],
            recall=one["recall"],
            precision=one["precision"],
        )
        for one in classes
        if one["ap50"] is not None
    )


def golden_points(stats: GoldenStatsResult) -> list[GoldenPoint]:
    """One point for each check that compared something."""
    return [
        GoldenPoint(
            name=str(one["batch"]),
            rates={kind: float(one[kind]) for kind in ("missed", "spurious", "confused")},
            alarm=one["alarm"].get("missed"),
        )
        for one in stats.history
        if one["verdict"] is not None and one["images_compared"]
    ]


def _conflicts(project: Project) -> list[FailureCard]:
    return [
        FailureCard(
            path=one.image.path,
            uri=one.image.uri,
            type="golden",
            text=", ".join(f"{number} {kind}" for kind, number in one.counts.items()),
            price=0.0,
            truth=one.image.labels,
            predicted=one.image.predicted,
        )
        for one in project.golden_conflicts()
    ]


def spread(found: Sequence[FailureView], most: int) -> list[FailureView]:
    """The dearest failures, in turn from each (type, class): no crowd hides the others."""
    groups: dict[tuple[str, int], list[FailureView]] = {}
    for view in found:
        groups.setdefault((view.failure.type, view.failure.class_id), []).append(view)
    turns = zip_longest(*groups.values())
    return [view for turn in turns for view in turn if view is not None][:most]


def boxes_of(view: FailureView, image: ImageView) -> tuple[tuple[Box, ...], tuple[Box, ...]]:
    """(truth, predicted): the failure's own box first, and whatever overlaps it.

    All boxes of a crowd would hide it.
    """
    box = view.failure.box
    missed = view.failure.type == "missed"
    truth = [b for b in image.labels if _overlap(b, box)]
    predicted = [b for b in image.predicted if _overlap(b, box)]
    return (
        tuple(dict.fromkeys([box, *truth] if missed else truth)),
        tuple(dict.fromkeys(predicted if missed else [box, *predicted])),
    )


def _failure_card(view: FailureView, image: ImageView) -> FailureCard:
    truth, predicted = boxes_of(view, image)
    return FailureCard(
        path=image.path,
        uri=image.uri,
        type=view.failure.type,
        text=view.text,
        price=view.failure.price,
        truth=truth,
        predicted=predicted,
    )


def _overlap(a: Box, b: Box) -> bool:
    wide = min(a[0] + a[2], b[0] + b[2]) > max(a[0], b[0])
    return wide and min(a[1] + a[3], b[1] + b[3]) > max(a[1], b[1])
