"""`history` and `sample` as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from annoloop.render_text import table
from annoloop.results_history import BoxView, HistoryResult, SampleView

SHOWN = 30
"""Lines of the log that a terminal shows."""


def _when(at: str) -> str:
    return at[:16].replace("T", " ")


def _history(r: HistoryResult) -> list[str]:
    lines = []
    for one in r.iterations:
        lines.append(f"{one.name}  batch {one.batch}, opened {_when(one.opened_at)}")
        lines += [f"  {s.step:<9} {_when(s.at)} by {s.who}: {s.said}" for s in one.steps]
    body = [(_when(e.at), e.who, e.what, e.target, e.said) for e in r.events[:SHOWN]]
    lines += ["", *table(("when", "who", "what", "of", "details"), body)]
    more = r.events_in_all - len(body)
    if more > 0:
        lines.append(f"… and {more} earlier lines (the newest {len(r.events)} with --json)")
    return lines


def _boxes(boxes: tuple[BoxView, ...]) -> list[str]:
    return [
        f"  {one.class_name}"
        + (f" {one.score:.2f}" if one.score is not None else "")
        + " at {:g}, {:g}, {:g} × {:g}".format(*(round(value, 1) for value in one.box))
        for one in boxes
    ]


def _sample(r: SampleView) -> list[str]:
    half = f" ({r.half})" if r.half else ""
    why = f": {r.why}" if r.why else ""
    lines = [
        f"sample   {r.path} ({r.id}), {r.width} × {r.height}",
        f"split    {r.split or 'none yet'}{half}"
        + (f", {r.status}{why}" if r.split == "pool" else "")
        + (f", group {r.group}" if r.group else ""),
        *(
            f"picked   {one.batch} by {one.source}, rank {one.rank}, {one.score:.3f}: {one.reason}"
            for one in r.batches
        ),
        *(
            f"answer   {one.answer} by {one.annotator} in {one.batch}, {_when(one.at)}, "
            f"{one.boxes} boxes" + (f", from {one.started_from}" if one.started_from else "")
            for one in r.answers
        ),
        f"labels   {r.labels_from or 'none that count'}",
        *_boxes(r.labels),
    ]
    if r.model:
        lines += [f"model    {r.model}", *_boxes(r.predicted)]
    return [*lines, *(f"failed   {said}" for said in r.failures)]


PAGES: Mapping[type, Callable[[Any], list[str]]] = {HistoryResult: _history, SampleView: _sample}
