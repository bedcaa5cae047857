"""Runs verbs in processes of their own, forked from this one, which has imported what they need.

`python verb_server.py OUTCOMES` reads requests from stdin, one JSON line each, and answers each
with one: {"verb", "folder", "args"} starts a process and answers its number, {"wait": number}
answers how it ended: "done", "killed", or the name and the words of its error. Real processes,
so that they can be killed at any moment; forked, because importing takes longer than most verbs.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from pathlib import Path
from typing import Any

import cv2  # noqa: F401
import numba  # noqa: F401
import sklearn.linear_model  # noqa: F401

from annoloop import results, results_batches, results_models  # noqa: F401
from annoloop.adapters import classical, coco, pixels  # noqa: F401
from annoloop.errors import AnnoloopError
from annoloop.project import Project
from annoloop.records import Source
from annoloop.steps import close, golden_files, metrics, run  # noqa: F401


def main() -> None:
    outcomes = Path(sys.argv[1])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        request = json.loads(line)
        answer = (
            _wait(request["wait"], outcomes) if "wait" in request else _start(request, outcomes)
        )
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _start(request: dict[str, Any], outcomes: Path) -> int:
    child = os.fork()
    if child:
        return child
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    try:
        _call(request)
        said = "done"
    except AnnoloopError as error:
        said = f"{type(error).__name__}: {error.problem}"
    except BaseException:
        said = traceback.format_exc()
    (outcomes / str(os.getpid())).write_text(said)
    os._exit(0)


def _call(request: dict[str, Any]) -> None:
    folder, verb, args = request["folder"], request["verb"], request["args"]
    if verb == "init":
        Project.init(folder, Source(args["images"], args["labels"]), group="folder")
        return
    if "file_limit" in args:  # bytes beyond which no file may grow: how a full disk behaves
        resource.setrlimit(resource.RLIMIT_FSIZE, (args.pop("file_limit"),) * 2)
    project = Project(folder, overrides=args.pop("overrides", None))
    getattr(project, verb)(**args)


def _wait(child: int, outcomes: Path) -> str:
    _, status = os.waitpid(child, 0)
    said = outcomes / str(child)
    if not os.WIFSIGNALED(status):
        return said.read_text()
    # Killed after it had said that it was done is done: the verb's last word is its record.
    return "killed"


if __name__ == "__main__":
    main()
