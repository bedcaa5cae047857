"""Numbers, lists and tables as text; what the pages of render are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from annoloop.records import Problem, Shortfall

SHOWN = 20

NOUNS = (
    "answers|boxes|checks|classes|detections|failures|folds|groups|images|iterations|labels|looks|"
    "models|objects|passes|picks|points|samples|suspects|vectors"
)
KINDS = "annotated|blind|golden|hidden|labelled|pool|reference|training"
VERBS = {"are": "is", "were": "was", "have": "has", "hold": "holds", "lack": "lacks"}

_NUMBER = rf"(?<![\w.,/])1 ((?:(?:{KINDS}) )*)"
_ONE = re.compile(rf"{_NUMBER}({NOUNS})(?![\w/-]|\.\w)(?: ({'|'.join(VERBS)})\b)?")
"""One of something, said as of many; the verb that follows it at once, too."""


def counted(text: str) -> str:
    """The text with "1 boxes" said as "1 box": sentences are written for any number."""

    def said(hit: re.Match[str]) -> str:
        verb = f" {VERBS[hit[3]]}" if hit[3] else ""
        noun = hit[2].removesuffix("es" if hit[2] in ("boxes", "classes", "passes") else "s")
        return f"1 {hit[1]}{noun}{verb}"

    return _ONE.sub(said, text)


def value(one: Any) -> str:
    """Anything in one line, or in indented lines where it is a list of sentences."""
    if isinstance(one, float):
        return f"{one:.4g}"
    if isinstance(one, Mapping):
        parts = (
            f"{k} ({value(v)})" if isinstance(v, Mapping) else f"{k} {value(v)}"
            for k, v in one.items()
        )
        return ", ".join(parts) or "none"
    if isinstance(one, Problem):
        where = f"{one.file} {one.row}".strip()
        return f"{where}: {one.what} ({one.action})"
    if isinstance(one, Shortfall):
        taker = one.refilled_by or "nobody"
        return f"{one.source}: {one.got} of {one.asked}, refilled by {taker} ({one.why})"
    if is_dataclass(one) and not isinstance(one, type):
        return value(asdict(one))
    if isinstance(one, list | tuple):
        return _listed(one)
    return str(one)


def _listed(values: Sequence[Any]) -> str:
    if all(isinstance(v, str) and len(v) < 40 and " " not in v for v in values):
        more = f" … and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
        return ", ".join(values[:SHOWN]) + more
    lines = [f"\n  {value(v)}" for v in values[:SHOWN]]
    if len(values) > SHOWN:
        lines.append(f"\n  … and {len(values) - SHOWN} more")
    return "".join(lines)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Columns aligned by hand: the output is the same in a pipe, a log and a terminal."""
    cells = [[str(c) for c in header], *[[cell(c) for c in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["  ".join(f"{c:<{w}}" for c, w in zip(r, widths, strict=True)).rstrip() for r in cells]
    return [lines[0], "  ".join("-" * w for w in widths), *lines[1:]]


def cell(one: object) -> str:
    """A fraction with three digits, – for what is not known."""
    if one is None:
        return "–"
    return f"{one:.3f}" if isinstance(one, float) else str(one)


def percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.1%}"
