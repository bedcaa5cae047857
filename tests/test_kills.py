"""SIGKILL at random moments of every verb: the next run goes on, and nothing is lost or half-done.

A project is walked through two iterations twice: once undisturbed, once by processes that are
killed. In the end both hold the same rows, the audit log included.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import ledgers
from .conftest import draw_shapes
from .processes import Verbs

Row = tuple[object, ...]

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00")
SECONDS = re.compile(r'"seconds": [0-9.e-]+')
WALK: tuple[tuple[str, dict[str, Any], str | None], ...] = (
    ("init", {}, "ingest"),
    ("split", {}, "split"),
    ("embed", {}, "embed"),
    ("score", {}, "score"),
    ("map", {}, "map"),
    ("select", {"size": 4}, "select"),
    ("annotate_import", {"batch": "v0", "annotator": "ann"}, "annotate import"),
    ("annotate_close", {"batch": "v0"}, "annotate close"),
    ("golden_check", {}, "golden check"),
    ("train", {}, "train"),
    ("train_folds", {"folds": 2}, "train folds"),
    ("evaluate", {}, "evaluate"),
    ("decide", {}, "decide"),
    ("run", {"iterations": 1, "annotator": "oracle"}, None),
)
"""Verbs, their arguments, and the line by which the audit log tells that they are done."""


class Walk:
    """One project on its way through WALK."""

    def __init__(self, verbs: Verbs, data: Path, folder: Path) -> None:
        self.verbs, self.data, self.folder = verbs, data, folder
        self.kills: dict[str, int] = {}
        self.took: dict[str, float] = {}

    def undisturbed(self) -> None:
        for verb, args, _ in WALK:
            started = time.perf_counter()
            assert self.verbs.call(self.folder, verb, **self._args(verb, args)) == "done", verb
            self.took[verb] = time.perf_counter() - started

    def disturbed(self, took: dict[str, float], *, kills: int, rng: random.Random) -> None:
        """Kill each verb at random moments until its share of `kills` is spent, then let it end."""
        shares = [kills // len(WALK) + (n < kills % len(WALK)) for n in range(len(WALK))]
        rng.shuffle(shares)
        for (verb, args, line), share in zip(WALK, shares, strict=True):
            for _ in range(share):
                if self._done(line):
                    break
                # Early moments more often: on a busy machine the twin took longer than it needs.
                self._kill(verb, args, after=took[verb] * rng.random() ** 2)
            if not self._done(line):
                assert self.verbs.call(self.folder, verb, **self._args(verb, args)) == "done", verb

    def _kill(self, verb: str, args: dict[str, Any], *, after: float) -> None:
        before = self._rows()
        end = self.verbs.kill(self.folder, verb, after=after, **self._args(verb, args))
        assert end in {"killed", "done"}, end
        self.kills[verb] = self.kills.get(verb, 0) + (end == "killed")
        self.check(before)

    def check(self, before: dict[str, list[Row]]) -> None:
        """What must hold after any kill: history only grew, and no record is half."""
        after = self._rows()
        for table in ledgers.GROWING:
            old = before.get(table, [])
            assert after.get(table, [])[: len(old)] == old, table
        if not after.get("migrations"):
            return
        assert ledgers.broken(self.folder) == []

    def _args(self, verb: str, args: dict[str, Any]) -> dict[str, Any]:
        if verb == "init":
            return {"images": str(self.data / "images"), "labels": str(self.data / "labels.json")}
        if verb == "annotate_import":
            return {**args, "file": str(self.data / "labels.json"), "allow": ["ignore_unknown"]}
        if verb == "annotate_close":
            return {"batch": args["batch"]}
        return args

    def _done(self, line: str | None) -> bool:
        return line is not None and any(row[3] == line for row in self._rows().get("audit", []))

    def _rows(self) -> dict[str, list[Row]]:
        there = (self.folder / "annoloop.db").exists()
        return ledgers.rows(self.folder) if there else {}

    def story(self) -> dict[str, list[str]]:
        """Every row as text, without times of the clock."""
        return {
            table: [_timeless(table, row) for row in rows]
            for table, rows in self._rows().items()
            if table != "migrations"
        }


def _timeless(table: str, row: Row) -> str:
    if table == "audit" and row[3] == "embed":  # a killed run has left some vectors to the next
        row = (*row[:5], json.dumps({"stored": json.loads(str(row[5]))["stored"]}))
    return SECONDS.sub('"seconds": S', TIME.sub("T", repr(row).replace("\\'", "'")))


@pytest.fixture(scope="module")
def verbs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verbs]:
    made = Verbs(tmp_path_factory.mktemp("verbs") / "outcomes")
    yield made
    made.close()


@pytest.fixture(scope="module")
def twin(verbs: Verbs, tmp_path_factory: pytest.TempPathFactory) -> Walk:
    data = draw_shapes(tmp_path_factory.mktemp("data"), scenes=12, seed=3)
    made = Walk(verbs, data, tmp_path_factory.mktemp("twin") / "p")
    made.undisturbed()
    return made


def _walk(twin: Walk, folder: Path, *, kills: int, seed: int) -> Walk:
    made = Walk(twin.verbs, twin.data, folder)
    made.disturbed(twin.took, kills=kills, rng=random.Random(seed))
    assert made.story() == twin.story()
    return made


def test_ten_kills_leave_the_same_project_as_none(twin: Walk, tmp_path: Path) -> None:
    made = _walk(twin, tmp_path / "p", kills=10, seed=0)
    assert sum(made.kills.values()) >= 3
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.long
def test_two_hundred_kills_leave_the_same_project_as_none(twin: Walk, tmp_path: Path) -> None:
    total: dict[str, int] = {}
    for seed in range(100):
        folder = tmp_path / str(seed)
        made = _walk(twin, folder / "p", kills=24, seed=1 + seed)
        shutil.rmtree(folder)
        for verb, number in made.kills.items():
            total[verb] = total.get(verb, 0) + number
        if sum(total.values()) >= 200:
            break
    assert sum(total.values()) >= 200
    assert all(total.get(verb, 0) >= 3 for verb, _, _ in WALK), total
