"""A data set with a loop that nobody else sees: a `Mirror` kept in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.errors import InputError, VectorError
from annoloop.records_loop import ForeignLoop, LoopBoxes, Mirrored, Shown

BROKEN = "broken"
"""Stands for boxes that cannot be read."""


class Memory:
    """`vectors` are two numbers a sample. Boxes of other fields than people's are in `detected`."""

    def __init__(
        self, loop: ForeignLoop, boxes: Mapping[str, Any], vectors: Mapping[str, tuple[float, ...]]
    ) -> None:
        self.loop, self.drawn, self.rows = loop, dict(boxes), dict(vectors)
        self.files = {s.external_id: s.file for s in loop.samples}
        self.shown = {
            s.external_id: Shown(str(s.status) if s.tags else None, s.tags, s.reason, s.score)
            for s in loop.samples
        }
        self.views: dict[str, Any] = {}
        self.info: dict[str, Any] = {}
        self.detected: dict[str, dict[str, Any]] = {}

    def read_loop(self) -> ForeignLoop:
        return self.loop

    def boxes(self, ids: Sequence[str]) -> Mapping[str, LoopBoxes]:
        for key in ids:
            if self.drawn[key] == BROKEN:
                raise InputError(f"{self.files[key]}: a box has no coordinates", fix="Draw it.")
        return {key: self.drawn[key] for key in ids}

    def vectors(self, ids: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
        keys = [key for key in ids if key in self.rows]
        for key in keys:
            if len(self.rows[key]) != 2:
                raise VectorError(f"the vector of {self.files[key]} is odd", fix="Compute it.")
        return keys, np.array([self.rows[key] for key in keys], np.float32).reshape(-1, 2)

    def look(self) -> Mirrored:
        fields = frozenset({"ground_truth", "human_labels", *self.detected})
        return Mirrored(dict(self.shown), dict(self.info), frozenset(self.views), fields)

    def push_tags(
        self, add: Mapping[str, Sequence[str]], remove: Mapping[str, Sequence[str]]
    ) -> None:
        for tag, ids in add.items():
            for key in ids:
                self._tag(key, {*self.shown[key].tags, tag})
        for tag, ids in remove.items():
            for key in ids:
                self._tag(key, {*self.shown[key].tags} - {tag})

    def _tag(self, key: str, tags: set[str]) -> None:
        self.shown[key] = replace(self.shown[key], tags=tuple(sorted(tags)))

    def push_values(self, name: str, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            if name == "human":
                self.drawn[key] = replace(self.drawn[key], human=tuple(value))
            elif name in ("status", "reason", "score"):
                self.shown[key] = replace(self.shown[key], **{name: value})
            else:
                self.detected.setdefault(name, {})[key] = value

    def push_summary(
        self, views: Mapping[str, str | Sequence[str]], info: Mapping[str, Any]
    ) -> None:
        self.views |= views
        self.info |= info
