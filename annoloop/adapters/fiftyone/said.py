"""What a dataset says of one sample, in our words; what many samples say alike is kept once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from annoloop.adapters.fiftyone.dataset import STATUS, WAITING, numbered
from annoloop.core.mirrored import loop_tags
from annoloop.errors import InputError, LockedSplitError
from annoloop.records import Split, Status
from annoloop.records_loop import LoopSample


@dataclass(frozen=True, slots=True)
class Tags:
    """What the tags of a sample say."""

    splits: tuple[Split, ...]
    batches: tuple[int, ...]
    answered: tuple[int, ...]
    sources: tuple[str, ...]
    waiting: bool
    failures: tuple[str, ...]
    loop: tuple[str, ...]


class Said:
    """Makes samples of rows; `sides` are the saved views of splits, `failed` the newest failure
    view, by id; `groups` has tags and status of the slices that are no images, by group: an image
    that says nothing itself says what they do."""

    def __init__(
        self,
        sides: Mapping[str, tuple[Split, ...]],
        failed: Mapping[str, str],
        groups: Mapping[str, tuple[tuple[str, ...], Any]],
    ) -> None:
        self._sides, self._failed, self._groups = sides, failed, groups
        self._tags: dict[tuple[str, ...], Tags] = {}
        self._texts: dict[str, str] = {}

    def sample(self, row: Mapping[str, Any]) -> LoopSample:
        """Raises InputError for an unknown status, LockedSplitError for two splits."""
        key, file, group = row["id"], row["file"], self._once(row.get("group"))
        own, status = self._read(tuple(row["tags"] or ())), row.get("status")
        tags, silent = own, not own.loop and status is None and group in self._groups
        if silent:
            said, status = self._groups[str(group)]
            tags = self._read(said)
        failures = tags.failures
        if key in self._failed:
            failures = tuple(sorted({*failures, self._failed[key]}))
        return LoopSample(
            key,
            file,
            split=_side(file, tags.splits, self._sides.get(key, ())),
            status=_status(file, status),
            group=group,
            batches=tags.batches,
            answered=tags.answered,
            sources=tags.sources,
            waiting=tags.waiting,
            reason=self._once(row.get("reason")),
            score=_finite(row.get("score")),
            failures=failures,
            tags=own.loop,
            silent=silent,
        )

    def _read(self, tags: tuple[str, ...]) -> Tags:
        if tags not in self._tags:
            kinds = {tag.removeprefix("failure:") for tag in tags if tag.startswith("failure:")}
            sources = (tag.removeprefix("source:") for tag in tags if tag.startswith("source:"))
            self._tags[tags] = Tags(
                splits=tuple(side for side in Split if f"split:{side}" in tags),
                batches=tuple(number for number, _ in numbered(r"batch:v(\d+)", tags)),
                answered=tuple(number for number, _ in numbered(r"annotated:v(\d+)", tags)),
                sources=tuple(sorted(sources)),
                waiting=WAITING in tags,
                failures=tuple(sorted(kinds)),
                loop=loop_tags(tags),
            )
        return self._tags[tags]

    def _once(self, value: Any) -> str | None:
        return None if value is None else self._texts.setdefault(str(value), str(value))


def with_split_of_group(rows: tuple[LoopSample, ...]) -> tuple[LoopSample, ...]:
    """Slices without a split have that of their group, if it has one."""
    sides: dict[str | None, set[Split]] = {}
    for one in rows:
        if one.split is not None:
            sides.setdefault(one.group, set()).add(one.split)
    if not sides or all(one.split is not None for one in rows):
        return rows
    alone = {group: next(iter(found)) for group, found in sides.items() if len(found) == 1}
    return tuple(
        replace(one, split=alone.get(one.group)) if one.split is None else one for one in rows
    )


def _side(file: str, tagged: tuple[Split, ...], views: tuple[Split, ...]) -> Split | None:
    both = {*tagged, *views}
    if len(both) > 1:
        raise LockedSplitError(
            f"{file} is in two splits: {', '.join(sorted(both))}",
            fix="Mend its tags `split:…`, or the saved views: a sample has one split for good.",
        )
    return next(iter(both), None)


def _status(file: str, value: Any) -> Status:
    try:
        return Status.UNLABELED if value is None else Status(value)
    except ValueError as error:
        raise InputError(
            f"`{STATUS}` of {file} is {value!r:.80}",
            fix=f"Set it to one of {', '.join(Status)}.",
        ) from error


def _finite(score: Any) -> float | None:
    return float(score) if isinstance(score, int | float) and math.isfinite(score) else None
