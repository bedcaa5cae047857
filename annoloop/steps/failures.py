"""`failures`: the typed failures of the newest evaluation, and ways to look at them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from annoloop.core import failures as core_failures
from annoloop.core.failure_changes import changes
from annoloop.core.failure_groups import FailureGroup, by_class, grouped
from annoloop.core.failure_ranking import worst_images
from annoloop.core.targeting import Query
from annoloop.errors import NotReadyError
from annoloop.records import Failure, FailureType, Half, Sample, Split
from annoloop.results_failures import (
    ChangesView,
    FailureHistory,
    FailuresResult,
    FailureView,
    GroupView,
    WorstImage,
)
from annoloop.steps.context import Context
from annoloop.store import iterations, samples
from annoloop.store.iterations import StepRecord

LISTED = 20
"""Fixed and new failures that are told one by one."""


@dataclass(frozen=True, slots=True)
class _Val:
    """The samples of val by id, and the schema's classes: what turns failures into words."""

    samples: Mapping[str, Sample]
    classes: tuple[str, ...]

    def view(self, one: Failure) -> FailureView:
        return FailureView(
            self.samples[one.sample_id].path, core_failures.describe(one, self.classes), one
        )

    def views(self, found: Iterable[Failure]) -> tuple[FailureView, ...]:
        return tuple(self.view(one) for one in sorted(found, key=_dearest))


def failures(context: Context) -> FailuresResult:
    """The typed failures of the newest evaluation, dearest first; reads what is stored."""
    with context.store.read() as connection:
        done = iterations.step_history(connection, "evaluate")
        if not done:
            raise NotReadyError("nothing was evaluated yet", fix="Run `annoloop evaluate`.")
        newest = done[-1]
        found = iterations.load_failures(connection, newest.seq)
        results = iterations.load_results(connection, newest.seq)
        val = _Val(
            {s.id: s for s in samples.load(connection, split=Split.VAL)},
            samples.schema(connection).classes,
        )
    mine = [r for r in results if val.samples[r.sample_id].half is Half.MINE]
    groups, notes = _groups(context, found, val)
    prices: dict[str, float] = {}
    for one in found:
        prices[str(one.type)] = prices.get(str(one.type), 0.0) + one.price
    return FailuresResult(
        model=str(newest.record["model"]),
        iteration=f"v{newest.iteration}",
        min_score=float(newest.record["min_score"]),
        images=len({f.sample_id for f in found}),
        by_type=dict(Counter(str(f.type) for f in found)),
        by_class=dict(Counter(val.classes[f.class_id] for f in found)),
        prices=prices,
        high_fn=tuple(val.samples[key].path for key in core_failures.high_fn(mine)),
        high_fp=tuple(val.samples[key].path for key in core_failures.high_fp(mine)),
        worst=tuple(
            WorstImage(
                path=val.samples[r.result.sample_id].path,
                sample_id=r.result.sample_id,
                tp=r.result.tp,
                fp=r.result.fp,
                fn=r.result.fn,
                share=r.share,
                at_least=r.at_least,
            )
            for r in worst_images(mine)
        ),
        groups=tuple(_group_view(one, val) for one in groups),
        changes=_changes(context, done, found, val),
        history=_history(context, done, val),
        failures=val.views(found),
        notes=notes,
    )


def newest_evaluation(context: Context) -> int | None:
    """The number of the newest evaluation, None before the first; cheap."""
    with context.store.read() as connection:
        return iterations.newest_step(connection, "evaluate")


def _dearest(failure: Failure) -> tuple[float, float, str]:
    return -failure.price, -(failure.score or 0.0), failure.sample_id


def _groups(
    context: Context, found: Sequence[Failure], val: _Val
) -> tuple[tuple[FailureGroup, ...], tuple[str, ...]]:
    """By class, type and cluster; where images have no vectors yet, by class and type."""
    scored = context.vectors.load_scores()
    name = None if scored is None else str(scored[2]["embedder"])
    keys = [val.samples[f.sample_id].sha256 for f in found]
    if not found or name is None or not context.vectors.having(name, keys).all():
        note = "images have no vectors yet, so groups are by class and type only"
        return by_class(found), (note,) if found else ()
    vectors = context.vectors.load_vectors(name, keys)
    queries = [
        Query(f, core_failures.describe(f, val.classes), val.samples[f.sample_id].path, vector)
        for f, vector in zip(found, vectors, strict=True)
    ]
    return grouped(queries, threshold=context.settings.select.cluster_cosine), ()


def _group_view(group: FailureGroup, val: _Val) -> GroupView:
    examples = tuple(val.view(one) for one in group.examples)
    name = val.classes[group.class_id]
    badly = "badly placed and " if group.type is FailureType.CLASS_LOCATION else ""
    return GroupView(
        text=examples[0].text if group.alike else f"several {badly}called `{name}`",
        type=str(group.type),
        class_name=name,
        cluster=group.cluster,
        clusters=group.clusters,
        failures=group.failures,
        images=group.images,
        price=group.price,
        examples=examples,
    )


def _changes(
    context: Context, done: Sequence[StepRecord], found: Sequence[Failure], val: _Val
) -> ChangesView | None:
    """Against the last evaluation of an earlier iteration; None if there is none."""
    newest = done[-1]
    earlier = [one for one in done if one.iteration < newest.iteration]
    if not earlier:
        return None
    with context.store.read() as connection:
        before = iterations.load_failures(connection, earlier[-1].seq)
        measured = [
            {
                r.sample_id
                for r in iterations.load_results(connection, one.seq)
                if val.samples[r.sample_id].half is Half.MINE
            }
            for one in (earlier[-1], newest)
        ]
    made = changes(before, found, measured_before=measured[0], measured_after=measured[1])
    by_type: dict[str, dict[str, int]] = {}
    for what, listed in (
        ("fixed", made.fixed),
        ("new", made.new),
        ("still", [now for _, now in made.still]),
    ):
        for one in listed:
            of_type = by_type.setdefault(str(one.type), {"fixed": 0, "new": 0, "still": 0})
            of_type[what] += 1
    return ChangesView(
        since=f"v{earlier[-1].iteration}",
        fixed=len(made.fixed),
        new=len(made.new),
        still=len(made.still),
        changed_type=sum(old.type != now.type for old, now in made.still),
        unseen=len(made.unseen),
        by_type=by_type,
        fixed_failures=val.views(made.fixed)[:LISTED],
        new_failures=val.views(made.new)[:LISTED],
    )


def _history(context: Context, done: Sequence[StepRecord], val: _Val) -> tuple[FailureHistory, ...]:
    """The newest evaluation of each iteration; classes keep the names of today's schema."""
    newest = {one.iteration: one.seq for one in done}
    rows = []
    with context.store.read() as connection:
        for number, seq in sorted(newest.items()):
            found = iterations.count_failures(connection, seq)
            types: Counter[str] = Counter()
            kinds: Counter[str] = Counter()
            for (kind, class_id), count in found.items():
                types[kind] += count
                kinds[val.classes[class_id]] += count
            images = sum(
                val.samples[r.sample_id].half is Half.MINE
                for r in iterations.load_results(connection, seq)
            )
            rows.append(FailureHistory(f"v{number}", images, dict(types), dict(kinds)))
    return tuple(rows)
