"""Who works on a dataset: a document in its database, so that it holds for every machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, ClassVar

from annoloop.errors import BusyError

STALE = timedelta(hours=1)
"""A lock of another machine that is older is of a process that is gone."""


class Lock:
    """A document that only one process can insert."""

    held_here: ClassVar[set[str]] = set()
    """Datasets that this process works on now: its other locks are left over."""

    def __init__(self, collection: Any, dataset: str, at: datetime) -> None:
        self._collection, self._id = collection, dataset
        self._mine = {**_this_process(), "at": at.isoformat()}
        self._writing = False

    def take(self, name: str) -> Mapping[str, Any] | None:
        """Take the lock; what a dead holder noted down that it was writing."""
        from pymongo.errors import DuplicateKeyError

        left: Mapping[str, Any] | None = None
        try:
            self._collection.insert_one({"_id": self._id, **self._mine})
        except DuplicateKeyError:
            held = self._collection.find_one({"_id": self._id}) or {}
            if held and not self._dead(held):
                raise BusyError(
                    f"another process works on dataset {name!r} (process {held['pid']} on "
                    f"{held['host']} since {held['at']})",
                    fix="Wait until it is done, then run the same again.",
                ) from None
            left = held.get("writing")
            mine = dict(self._mine) if left is None else {**self._mine, "writing": left}
            seen = {key: held.get(key) for key in ("pid", "started", "at")}
            took = self._collection.replace_one({"_id": self._id, **seen}, mine)
            if not took.matched_count:
                raise BusyError(
                    f"another process has just begun to work on dataset {name!r}",
                    fix="Wait until it is done, then run the same again.",
                ) from None
        self.held_here.add(self._id)
        return left

    def _dead(self, held: Mapping[str, Any]) -> bool:
        if held["host"] != self._mine["host"]:
            made = datetime.fromisoformat(str(held["at"]))
            return datetime.fromisoformat(str(self._mine["at"])) - made > STALE
        if held["pid"] == self._mine["pid"] and held["started"] == self._mine["started"]:
            return self._id not in self.held_here
        return bool(_started(int(held["pid"])) != held["started"])

    def writing(self, note: Mapping[str, Any] | None) -> None:
        """Note down what is about to be written, so that half of it can be mended; None: it is.

        Raises BusyError if the lock was taken away meanwhile: it was held too long.
        """
        self._writing = note is not None
        change = {"$unset": {"writing": 1}} if note is None else {"$set": {"writing": dict(note)}}
        if not self._collection.update_one({"_id": self._id, **self._mine}, change).matched_count:
            raise BusyError(
                "another process has taken over this dataset", fix="Run the same again."
            )

    def release(self) -> None:
        self.held_here.discard(self._id)
        self._collection.delete_one({"_id": self._id, **self._mine})

    def drop(self) -> None:
        """Leave after a failure; what was half written stays noted down for whoever comes next."""
        from pymongo.errors import PyMongoError

        self.held_here.discard(self._id)
        if not self._writing:
            with suppress(PyMongoError):
                self.release()


def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "started": _started(pid)}


def _started(pid: int) -> float | None:
    """When a process of this machine started, None if there is none: numbers are used again."""
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None
