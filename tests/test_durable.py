"""Files that are whole or not there, and errors of the disk in words."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from annoloop import durable
from annoloop.errors import StorageError


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for text in ("one", "two ×"):
        durable.write_text(file, text)
        assert file.read_text(encoding="utf-8") == text
    assert [f.name for f in tmp_path.iterdir()] == ["a.json"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    durable.write_text(file, "old")
    with pytest.raises(UnicodeEncodeError):
        durable.write_text(file, "new \ud800")
    assert file.read_text() == "old"
    assert [f.name for f in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "x", "a.db"), "a.db: the disk is full"),
        (OSError(errno.EDQUOT, "x", "a.db"), "a.db: the disk is full"),
        (OSError(errno.EFBIG, "x"), "here: the disk is full"),
        (OSError("LanceError(IO): No space left (os error 28), /src/a.rs"), "the disk is full"),
        (PermissionError(errno.EACCES, "x", "a"), "a: permission denied"),
        (OSError(errno.EROFS, "x", "a"), "a: read-only file system"),
        (OSError(errno.ENAMETOOLONG, "x", "a" * 999), "the name is too long"),
        (OSError(errno.EIO, "x", "a"), "cannot be read or written"),
    ],
)
def test_what_the_disk_refuses_has_a_name_and_a_fix(error: OSError, words: str) -> None:
    with pytest.raises(StorageError) as caught, durable.named(Path("here")):
        raise error
    assert words in caught.value.problem
    assert caught.value.fix
    assert len(caught.value.problem) < 300


def test_what_is_not_the_disks_fault_stays_what_it_is() -> None:
    for error in (FileNotFoundError(errno.ENOENT, "x", "a"), OSError("no number"), KeyError("x")):
        with pytest.raises(type(error)), durable.named(Path("here")):
            raise error
