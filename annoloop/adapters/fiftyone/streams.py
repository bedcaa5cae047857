"""Samples of a FiftyOne collection one after another, so that nobody holds a million documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

MANY = 50_000
"""Ids in one selection: MongoDB refuses a query of 16 MiB, which some 800,000 ids are."""


def stream(view: Any, fields: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The values of at least two `fields` of each sample, in the order of `view.values`.

    That holds a document for every sample before it answers, above a kilobyte each.
    """
    yield from view._iter_values(list(fields))


def selections(view: Any, ids: Sequence[str], *, size: int = MANY) -> Iterator[Any]:
    """Views of these samples of a view, `size` of them each."""
    for start in range(0, len(ids), size):
        yield view.select(list(ids[start : start + size]))
