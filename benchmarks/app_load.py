"""Fifty people save once a second for a minute: how long a save takes, and whether all are there.

    python benchmarks/app_load.py

Writes benchmarks/app_load.md. `annoloop app` runs in a process of its own on this machine and is
killed (SIGKILL) as soon as the last save is acknowledged; then the database is read.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np

from annoloop.project import Project
from annoloop.records import Source
from annoloop.testing import make_digits

PAGE = Path(__file__).resolve().with_suffix(".md")
PEOPLE, SECONDS, BOXES = 50, 60, 12
COMMAND = [sys.executable, "-c", "from annoloop.cli import main; main()", "app", "--port", "0"]


def boxes(number: int, turn: int) -> list[list[int]]:
    return [[k % 10, number, turn, 5 + k, 7, 0, 0] for k in range(BOXES)]


async def person(client: httpx.AsyncClient, name: str, start: float) -> dict[str, object]:
    """Claim an image, and save it once a second, each at a moment of their own."""
    task = (await client.post("/api/label/v0/claim", json={"who": name})).raise_for_status().json()
    number, revision, took = task["number"], task["revision"], []
    for turn in range(SECONDS):
        await asyncio.sleep(max(0.0, start + turn + number / PEOPLE - time.perf_counter()))
        body = {"who": name, "boxes": boxes(number, turn), "seconds": turn, "tab": name}
        before = time.perf_counter()
        saved = await client.post(
            f"/api/label/v0/{number}/draft", json=body | {"revision": revision}
        )
        took.append(time.perf_counter() - before)
        revision = saved.raise_for_status().json()["revision"]
    return {"name": name, "number": number, "revision": revision, "took": took}


async def everybody(url: str) -> list[dict[str, object]]:
    limits = httpx.Limits(max_connections=PEOPLE)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        page = (await client.get("/label/v0")).text
        client.headers["x-annoloop-token"] = page.split('name="token" content="')[1][:43]
        start = time.perf_counter() + 3
        names = [f"person {k:02}" for k in range(PEOPLE)]
        return await asyncio.gather(*(person(client, name, start) for name in names))


def main() -> None:
    with tempfile.TemporaryDirectory() as root:
        data = make_digits(Path(root) / "data", images=200, seed=0)
        source = Source(str(data / "images"), str(data / "labels.json"))
        project, _ = Project.init(Path(root) / "project", source)
        project.select(60)
        app = subprocess.Popen(COMMAND, cwd=project.folder, stderr=subprocess.PIPE, text=True)
        assert app.stderr is not None
        found = re.search(r"http://\S+", app.stderr.readline())
        assert found is not None
        done = asyncio.run(everybody(found.group()))
        app.kill()
        app.wait()
        with closing(sqlite3.connect(project.folder / "annoloop.db")) as connection:
            query = "SELECT annotator, revision, boxes FROM leases"
            stored = {who: (n, json.loads(text)) for who, n, text in connection.execute(query)}
    lost = sum(
        SECONDS
        - stored[one["name"]][0]
        + (stored[one["name"]][1] != boxes(one["number"], SECONDS - 1))
        for one in done
    )
    took = 1000 * np.concatenate([one["took"] for one in done])
    p50, p95, p99 = np.percentile(took, (50, 95, 99))
    lines = [
        "# Fifty people label at once",
        "",
        f"`annoloop app`, {PEOPLE} people on images of their own, each saves {BOXES} boxes once a "
        f"second for {SECONDS} seconds; the server is killed after the last acknowledgement, then "
        f"the database is read. One run on {os.cpu_count()} cores that clients and server share, "
        "SQLite with `synchronous = FULL`. Written by `app_load.py`.",
        "",
        "| saves acknowledged | lost | median | p95 | p99 | longest |",
        "|---|---|---|---|---|---|",
        f"| {took.size:,} | {lost} | {p50:.1f} ms | {p95:.1f} ms | {p99:.1f} ms | "
        f"{took.max():.0f} ms |",
    ]
    PAGE.write_text("\n".join(lines) + "\n")
    print(PAGE.read_text())
    if lost:
        sys.exit(1)


if __name__ == "__main__":
    main()
