"""A full disk, a folder nobody may write, a locked database, a clock that goes back."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from annoloop.errors import BusyError, StorageError
from annoloop.project import Project
from annoloop.records import Source
from annoloop.store import batches

from . import ledgers
from .conftest import draw_shapes
from .processes import Verbs


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, and a project with one iteration decided and v1 open, whose answers are there."""
    base = draw_shapes(tmp_path_factory.mktemp("disk"), scenes=14, seed=3)
    source = Source(str(base / "images"), str(base / "labels.json"))
    project, _ = Project.init(base / "p", source, group="folder")
    project.run(iterations=1, annotator="oracle")
    project.select(size=4)
    return base


@pytest.fixture
def base(_made: Path, tmp_path: Path) -> Path:
    shutil.copytree(_made / "p", tmp_path / "p")
    (tmp_path / "images").symlink_to(_made / "images")
    shutil.copy(_made / "labels.json", tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def verbs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verbs]:
    made = Verbs(tmp_path_factory.mktemp("verbs") / "outcomes")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("limit", "verb", "args"),
    [
        (20_000, "annotate_oracle", {"batch": "v1"}),  # SQLite
        (2_000, "score", {}),  # Lance
        (2_000, "batch_export", {"name": "v1", "out": "OUT"}),
        (2_000, "batch_export", {"name": "v1", "out": "OUT", "prelabels": True}),
        (2_000, "report", {"out": "OUT.html"}),
        (5_000, "train", {}),
    ],
)
def test_a_full_disk_is_named_and_nothing_is_half(
    verbs: Verbs, base: Path, limit: int, verb: str, args: dict[str, Any]
) -> None:
    if verb == "train":
        verbs.call(base / "p", "annotate_oracle", batch="v1")
        verbs.call(base / "p", "annotate_close", batch="v1")
        verbs.call(base / "p", "golden_check")
    given = {k: str(v).replace("OUT", str(base / "out")) for k, v in args.items()}
    before, there = ledgers.rows(base / "p"), ledgers.files(base)
    end = verbs.call(base / "p", verb, file_limit=limit, **given)
    assert end.startswith("StorageError: "), end
    assert "the disk is full" in end
    assert ledgers.rows(base / "p") == before
    left = ledgers.files(base) - there
    assert not [f for f in left if ".lance/data/" not in f], left
    assert verbs.call(base / "p", verb, **given) == "done"


def test_a_file_system_without_room_is_named(base: Path) -> None:
    small = base / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", small]
    if os.getuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount, and not everywhere")
    try:
        folder = shutil.copytree(base / "p", small / "p")
        before = ledgers.rows(folder)
        filler = small / "filler"
        for left in (0, 16, 40, 48):  # KiB; SQLite alone needs 32 to open a database
            room = os.statvfs(small)
            filler.write_bytes(bytes(room.f_bavail * room.f_bsize - (left << 10)))
            for verb in (lambda p: p.annotate_oracle("v1"), lambda p: p.score()):
                with pytest.raises(StorageError, match="the disk is full"):
                    verb(Project(folder))
            filler.unlink()
            assert ledgers.rows(folder) == before
        assert Project(folder).annotate_oracle("v1").new_answers > 0
        Project(folder).score()
    finally:
        subprocess.run(["umount", "-l", small], check=True)


@pytest.fixture
def read_only(base: Path) -> Iterator[Path]:
    """The project where nobody can write, not even root."""
    folder = base / "p"
    if os.getuid() == 0:
        for words in (("--bind", folder, folder), ("-o", "remount,ro,bind", folder)):
            if subprocess.run(["mount", *words], capture_output=True).returncode:
                pytest.skip("root can write everywhere, and may not mount here")
        yield folder
        subprocess.run(["umount", "-l", folder], check=True)
        return
    modes = {f: f.stat().st_mode for f in (folder, *folder.rglob("*"))}
    for file, mode in modes.items():
        file.chmod(mode & ~0o222)
    yield folder
    for file, mode in modes.items():
        file.chmod(mode)


def test_a_read_only_project_can_be_read(read_only: Path) -> None:
    project = Project(read_only)
    assert project.status().open_batch == "v1"
    assert [b.name for b in project.batch_list().batches] == ["v0", "v1"]
    assert project.batch_show("v1").picks
    assert project.golden_stats().history
    project.failures()


WRITES: dict[str, Callable[[Project], object]] = {
    "ingest": lambda p: p.ingest(),
    "score": lambda p: p.score(),
    "answers": lambda p: p.annotate_oracle("v1"),
    "another batch": lambda p: p.batch_make("review"),
    "export": lambda p: p.batch_export("v1", p.folder / "out"),
    "report": lambda p: p.report(p.folder / "page.html"),
    "init": lambda p: Project.init(p.folder / "new", Source(str(p.folder.parent / "images"))),
}


@pytest.mark.parametrize("verb", WRITES)
def test_a_read_only_project_says_so_to_who_would_write(read_only: Path, verb: str) -> None:
    with pytest.raises(StorageError, match=r"(?i)permission|read-only|readonly") as caught:
        WRITES[verb](Project(read_only))
    assert str(read_only) in caught.value.problem
    assert "permission" in caught.value.fix


def test_a_locked_database_is_waited_for_and_then_named(base: Path) -> None:
    before = ledgers.rows(base / "p")
    project = Project(base / "p", overrides={"store": {"wait_seconds": 0.3}})
    other = sqlite3.connect(base / "p" / "annoloop.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BusyError, match=r"annoloop\.db has been locked .* for 0\.3 s"):
        project.annotate_oracle("v1")
    assert project.status().open_batch == "v1"  # readers go on
    other.execute("ROLLBACK")
    other.close()
    assert ledgers.rows(base / "p") == before
    assert project.annotate_oracle("v1").new_answers > 0


def test_a_clock_that_goes_back_changes_nothing_but_the_times(base: Path) -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)

    def clock() -> datetime:
        nonlocal now
        now -= timedelta(hours=1)
        return now

    project = Project(base / "p", clock=clock)
    project.annotate_oracle("v1")
    project.annotate_close("v1")
    project.run(iterations=1)
    project.select(size=4)
    project.annotate_oracle("v2")
    project.annotate_close("v2")
    now = datetime(2020, 1, 1, tzinfo=UTC)
    made = project.train()
    assert made.model == "v2"
    assert project.evaluate().model == "v2"
    assert [b.name for b in project.batch_list().batches] == ["v0", "v1", "v2"]
    steady = Project(base / "p")
    with steady.store.read() as connection:
        stored = batches.load_annotations(connection)
        assert [one.seq for one in stored] == sorted(one.seq for one in stored)
    assert [row.name for row in steady.status().iterations] == ["v0", "v1", "v2"]
    assert steady.decide().iteration == "v2"
