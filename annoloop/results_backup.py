"""What `backup` and `restore` answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BackupResult:
    """`rows` by table; `derived` names the data sets and models that were copied on demand."""

    out: str
    at: str
    bytes: int
    rows: Mapping[str, int]
    derived: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RestoreResult:
    project: str
    at: str
    rows: Mapping[str, int]
    derived: tuple[str, ...]
    notes: tuple[str, ...] = ()
