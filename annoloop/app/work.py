"""The process in which a step runs that was started in the browser: `python -m annoloop.app.work`.

A step in a process of its own cannot slow down or take with it the server that people label on, and
it ends like the command line: interrupted, it leaves the old state or the new. It reads one order
on stdin and writes one JSON object a line: what it says, how far it has come, and how it ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any, TextIO

from annoloop.errors import AnnoloopError

EVERY_SECONDS = 0.1
"""No more often is progress told."""


class _Teller:
    """Writes lines; a server that is gone does not end the step."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._told = 0.0

    def tell(self, **line: Any) -> None:
        with suppress(OSError, ValueError):
            self._out.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._out.flush()

    def say(self, text: str) -> None:
        self.tell(say=text)

    def progress(self, done: int, total: int, what: str) -> None:
        now = time.monotonic()
        if done >= total or now - self._told >= EVERY_SECONDS:
            self._told = now
            self.tell(done=done, total=total, what=what)


def work(order: dict[str, Any], teller: _Teller) -> None:
    """Do one order, and tell how it ended."""
    from annoloop.project import Project
    from annoloop.records import Source
    from annoloop.render import to_text

    try:
        project = Project(
            order["folder"], say=teller.say, progress=teller.progress, who=order["who"]
        )
        arguments = dict(order["arguments"])
        if "classes" in arguments:  # the one argument that is a record
            names = [name.strip() for name in arguments.pop("classes").split(",")]
            arguments["source"] = Source(classes=tuple(name for name in names if name))
        made = getattr(project, order["method"])(**arguments)
        teller.tell(text=to_text(made))
    except AnnoloopError as error:
        teller.tell(problem=error.problem, fix=error.fix)
    except KeyboardInterrupt:
        teller.tell(stopped=True)
    except Exception as error:
        import traceback

        traceback.print_exc()
        said = f"a bug in annoloop: {type(error).__name__}: {error}"
        teller.tell(
            problem=said, fix="Please report it with the lines that `annoloop app` printed."
        )


def main() -> None:
    # Libraries print what they like on stdout: that goes where people look, not between our lines.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    teller = _Teller(out)
    try:
        # A server that a script started in the background ignores Ctrl+C; so would this process.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        work(json.loads(sys.stdin.readline()), teller)
    except KeyboardInterrupt:
        teller.tell(stopped=True)


if __name__ == "__main__":
    main()
