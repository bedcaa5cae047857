"""Verbs in real processes, for tests that kill them or let two of them meet."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SERVER = Path(__file__).parent / "verb_server.py"


class Verbs:
    """Starts verbs of projects, waits for them, and kills them."""

    def __init__(self, outcomes: Path) -> None:
        outcomes.mkdir()
        self._server = subprocess.Popen(
            [sys.executable, str(SERVER), str(outcomes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

        assert self._server.stdout is not None
        assert self._server.stdout.readline() == "ready\n"

    def start(self, folder: Path, verb: str, **args: Any) -> int:
        return int(self._ask({"folder": str(folder), "verb": verb, "args": args}))

    def wait(self, process: int) -> str:
        """`done`, `killed`, or the name and the words of the error."""
        return str(self._ask({"wait": process}))

    def call(self, folder: Path, verb: str, **args: Any) -> str:
        return self.wait(self.start(folder, verb, **args))

    def kill(self, folder: Path, verb: str, *, after: float, **args: Any) -> str:
        """Start a verb and SIGKILL it `after` so many seconds, if it still runs then."""
        process = self.start(folder, verb, **args)
        time.sleep(after)
        os.kill(process, signal.SIGKILL)  # until it is waited for, the number is its own
        return self.wait(process)

    def close(self) -> None:
        self._server.communicate()

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())
