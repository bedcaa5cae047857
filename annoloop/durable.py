"""Files that are whole or not there, and what the operating system refuses, in words."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annoloop.errors import BusyError, InputError, StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
# Lance has no errno on its exceptions, only the number in their text.
_IN_TEXT = re.compile(r"\(os error (\d+)\)")


def write_text(file: Path, text: str) -> None:
    """Replace `file` by `text`, whole or not at all, also when the power goes."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """A renamed file is only safe once its folder is on the disk, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refuse_full(out: Path) -> None:
    """Raise InputError if `out` is a file, or a folder with something in it."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file", fix="Name a folder.")
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty", fix="Name a new folder, or empty this one first.")


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `out` (new, or empty) at the end, whole or not at all.

    Raises BusyError while another process fills the same, StorageError for a full disk.
    """
    part = out.with_name(f".{out.name}.part")
    with named(out):
        part.mkdir(parents=True, exist_ok=True)
        handle = os.open(part, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise BusyError(
                f"another annoloop is writing {out}", fix="Wait for it, or name another folder."
            ) from error
        try:
            for left in part.iterdir():  # by one that was killed
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            yield part
            if out.exists():
                out.rmdir()
            part.replace(out)
            sync_folder(out.parent)
        except BaseException:  # an interrupt, too, leaves nothing behind
            shutil.rmtree(part, ignore_errors=True)
            raise
        finally:
            os.close(handle)


@contextmanager
def named(where: Path) -> Iterator[None]:
    """Errors of the disk that people can act on become StorageError; others stay as they are."""
    try:
        yield
    except OSError as error:
        explained = explain(error, where)
        if explained is None:
            raise
        raise explained from error


def explain(error: OSError, where: Path) -> StorageError | None:
    """The disk is full, or refuses; None for what is not the disk's fault."""
    said = _IN_TEXT.search(str(error))
    number = error.errno if error.errno is not None else int(said[1]) if said else None
    place = error.filename or where
    if number in _FULL:
        why = os.strerror(number or 0).lower()
        return StorageError(
            f"{place}: the disk is full ({why}); nothing of this step was saved",
            fix="Free some space (or raise the quota) and run the same command again.",
        )
    if number in _REFUSED:
        return StorageError(
            f"{place}: {os.strerror(number or 0).lower()}",
            fix="Give yourself permission for it, or work on a copy of the folder.",
        )
    if number == errno.ENAMETOOLONG:
        return StorageError(f"{str(place)[:120]}…: the name is too long", fix="Use a shorter one.")
    if number == errno.EIO:
        return StorageError(
            f"{place}: the disk cannot be read or written (input/output error)",
            fix="Check the disk; then bring the project back: `annoloop restore BACKUP DIR`.",
        )
    return None
