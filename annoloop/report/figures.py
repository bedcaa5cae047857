"""The figures of the loop that report and app have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from annoloop.report import charts
from annoloop.report.charts import PATTERNS, Chart
from annoloop.report.learning_curve import learning_curve
from annoloop.report.pr_chart import ClassCurve, precision_recall
from annoloop.results import IterationRow, PoolProgress

__all__ = ["PATTERNS", "Course", "Weak", "loop", "progress", "weakness"]


class Course(Protocol):
    """How the loop went: the rows oldest first, `metric` names the number that decides."""

    @property
    def iterations(self) -> tuple[IterationRow, ...]: ...
    @property
    def metric(self) -> str: ...
    @property
    def target(self) -> float | None: ...
    @property
    def outlook(self) -> Mapping[str, Any] | None: ...


class Weak(Protocol):
    """Failures by class of each iteration, and the classes' curves at `min_score`."""

    @property
    def by_class(self) -> Sequence[tuple[str, Mapping[str, int]]]: ...
    @property
    def curves(self) -> Sequence[ClassCurve]: ...
    @property
    def min_score(self) -> float: ...


def progress(pool: PoolProgress) -> Chart | None:
    """What became of the pool so far, as one bar."""
    return charts.progress_bar(
        [
            ("annotated", pool.annotated),
            ("selected", pool.selected),
            ("pending", pool.pending),
            ("skipped", pool.skipped),
            ("still unlabeled", pool.unlabeled),
        ]
    )


def loop(course: Course) -> list[Chart]:
    """The learning curve, the batches by source, the failures by type: those there are."""
    rows = course.iterations
    made = (
        learning_curve(
            [(row.name, row.images, row.metric) for row in rows],
            metric=course.metric,
            target=course.target,
            outlook=course.outlook,
        ),
        charts.batches_by_source([(row.name, row.batch) for row in rows]),
        charts.failures_over_time(
            [(row.name, row.failures) for row in rows if row.metric is not None]
        ),
    )
    return [one for one in made if one is not None]


def weakness(found: Weak) -> list[Chart]:
    """The failures by class, and the curves of the classes."""
    made = (
        charts.failures_over_time(found.by_class, what="class"),
        precision_recall(found.curves, min_score=found.min_score),
    )
    return [one for one in made if one is not None]
