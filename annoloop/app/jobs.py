"""The step that was started in the browser: one at a time, in a process of its own, watched."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from annoloop.app.offers import Order
from annoloop.errors import BusyError, InputError

LINES = 200
"""The newest lines of what a step says; more is not kept."""


@dataclass(frozen=True, slots=True)
class JobView:
    """A step as pages show it; `state` is running, done, failed or stopped."""

    number: int
    command: str
    state: str = "running"
    said: tuple[str, ...] = ()
    done: int = 0
    total: int = 0
    what: str = ""
    text: str = ""
    problem: str = ""
    fix: str = ""
    seconds: float = 0.0


@dataclass
class _Job:
    view: JobView
    process: subprocess.Popen[str]
    began: float = field(default_factory=time.monotonic)


class Jobs:
    """Starts steps of one project and remembers the newest; safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._job: _Job | None = None

    def start(self, order: Order, *, who: str | None = None) -> JobView:
        """Begin a step in the name of `who`. Raises BusyError while another one runs."""
        with self._lock:
            if self._job is not None and self._job.view.state == "running":
                raise BusyError(
                    f"`{self._job.view.command}` is running",
                    fix="Wait for it to finish, or stop it.",
                )
            number = 1 if self._job is None else self._job.view.number + 1
            process = subprocess.Popen(
                [sys.executable, "-m", "annoloop.app.work"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
            job = self._job = _Job(JobView(number, order.command), process)
        what = {
            "folder": str(self._folder),
            "method": order.method,
            "arguments": dict(order.arguments),
            "who": who,
        }
        Thread(target=self._watch, args=(job, json.dumps(what)), daemon=True).start()
        return self.view() or job.view

    def view(self) -> JobView | None:
        """The step that runs, or the one that ended last; None before the first."""
        with self._lock:
            job = self._job
            if job is None or job.view.state != "running":
                return None if job is None else job.view
            return replace(job.view, seconds=time.monotonic() - job.began)

    def stop(self) -> None:
        """Interrupt the step as Ctrl+C would. Raises InputError if none runs."""
        with self._lock:
            if self._job is None or self._job.view.state != "running":
                raise InputError("no step is running", fix="Load the page again.")
            self._job.process.send_signal(signal.SIGINT)

    def _watch(self, job: _Job, order: str) -> None:
        process = job.process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(order + "\n")
            process.stdin.close()
        except OSError:
            pass  # it died at once: its exit code says so below
        with process:
            for line in process.stdout:
                with self._lock:
                    seen = _after(job.view, json.loads(line))
                    job.view = replace(seen, seconds=time.monotonic() - job.began)
        code = process.returncode
        with self._lock:
            if job.view.state == "running":
                stopped = code in (-signal.SIGINT, 130)
                job.view = replace(
                    job.view,
                    state="stopped" if stopped else "failed",
                    problem="" if stopped else f"its process ended with code {code}",
                    fix="" if stopped else "See what `annoloop app` printed, and start it again.",
                )


def _after(view: JobView, line: dict[str, Any]) -> JobView:
    """The view after one line of the process."""
    if "say" in line:
        return replace(view, said=(*view.said, line["say"])[-LINES:])
    if "done" in line:
        return replace(view, done=line["done"], total=line["total"], what=line["what"])
    if "text" in line:
        return replace(view, state="done", text=line["text"])
    if "problem" in line:
        return replace(view, state="failed", problem=line["problem"], fix=line["fix"])
    return replace(view, state="stopped")
