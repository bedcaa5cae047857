"""A project of a million samples: ingest, `status`, `select` with stored scores, a backup.

    OMP_NUM_THREADS=2 NUMBA_NUM_THREADS=2 python benchmarks/million.py [--samples 1000000]

Writes benchmarks/million.md. Rows and vectors are generated, as in selection.py (but narrower: that
page holds `select` at full width); only the rate of reading images is measured on files (20,000
small JPEGs). Each measurement is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import selection

from annoloop import settings
from annoloop.project import Project
from annoloop.records import Sample, Source, sample_id
from annoloop.store import samples

PAGE = Path(__file__).resolve().parent / "million.md"
FILES, REPEATS = 20_000, 5
selection.WIDTH = 64


def ingest_files(room: Path) -> float:
    """Images a second: list, read, hash, decode enough to know that they are whole, store."""
    rng = np.random.default_rng(0)
    for number in range(FILES):
        folder = room / "images" / f"{number // 1000:03}"
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number:06}.jpg"), rng.integers(0, 255, (64, 64, 3), np.uint8))
    start = time.perf_counter()
    Project.init(room / "files", Source(str(room / "images")))
    return FILES / (time.perf_counter() - start)


def ingest_rows(room: Path, n: int) -> float:
    """Rows a second, all in one transaction, as an ingest writes them."""
    folder = room / "rows"
    (folder / "images").mkdir(parents=True)
    (folder / settings.FILE).write_text(settings.template("images"), encoding="utf-8")
    project = Project(folder)
    paths = [f"{i // 1000:04}/{i:07}.jpg" for i in range(n)]
    new = [Sample(sample_id(p), p, p, 640, 480, f"{i:064x}") for i, p in enumerate(paths)]
    start = time.perf_counter()
    with project.store.write() as connection:
        samples.add_samples(connection, new, selection.AT)
    return n / (time.perf_counter() - start)


def status(room: Path) -> list[float]:
    project = Project(room / "project")
    return [_seconds(project.status) for _ in range(REPEATS)]


def status_by_command(room: Path) -> list[float]:
    call = "from annoloop.cli import main; main()"
    words = [sys.executable, "-c", call, "status", "--project", str(room / "project")]
    return [
        _seconds(lambda: subprocess.run(words, check=True, capture_output=True))
        for _ in range(REPEATS)
    ]


def backup(room: Path) -> float:
    project = Project(room / "project")
    return _seconds(lambda: project.backup(room / "backup"))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def child(what: str, room: Path, n: int) -> None:
    calls: dict[str, Callable[[], object]] = {
        "files": lambda: ingest_files(room),
        "rows": lambda: ingest_rows(room, n),
        "status": lambda: status(room),
        "command": lambda: status_by_command(room),
        "backup": lambda: backup(room),
    }
    print(json.dumps({"found": calls[what](), "peak": selection.peak()}))


def measure(what: str, room: Path, n: int) -> tuple[float | list[float], float]:
    words = [sys.executable, __file__, "--child", what, "--room", str(room), "--samples", str(n)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    made = json.loads(done.stdout.splitlines()[-1])
    print(what, made, file=sys.stderr, flush=True)
    return made["found"], made["peak"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--child")
    parser.add_argument("--room", type=Path)
    given = parser.parse_args()
    n = given.samples
    if given.child:
        child(given.child, given.room, n)
        return
    with tempfile.TemporaryDirectory() as place:
        room = Path(place)
        rows = []
        for what, text in (
            ("files", f"ingest of {FILES:,} small JPEG files"),
            ("rows", f"writing {n:,} rows of samples"),
        ):
            rate, peak = measure(what, room, n)
            rows.append((text, f"{rate:,.0f} a second", peak))
        selection.generated(room / "project", n)
        for what, text in (
            ("status", "`status`, the verb"),
            ("command", "`status`, the command with its start"),
        ):
            found, peak = measure(what, room, n)
            assert isinstance(found, list)
            spread = f"{statistics.median(found):.2f} s ({min(found):.2f} – {max(found):.2f})"
            rows.append((text, spread, peak))
        seconds, peak = measure("backup", room, n)
        rows.append(("`backup`", f"{seconds:.1f} s", peak))
        chosen = selection.measure(room / "project", "coverage=0.3,targeted=0.7")
        rows.append(
            (
                f"`select` of {chosen['batch']:,.0f} with stored scores",
                f"{chosen['select']:.1f} s",
                chosen["peak"],
            )
        )
        size = (room / "project" / "annoloop.db").stat().st_size
        write(n, rows, size)


def write(n: int, rows: list[tuple[str, str, float]], size: int) -> None:
    lines = [
        f"# A project of {n:,} samples",
        "",
        f"Generated rows and vectors of {selection.WIDTH} numbers, one iteration behind them; the "
        f"database has {size / 2**20:,.0f} MiB. Each line is a process of its own, "
        f"{os.cpu_count()} cores, `status` {REPEATS} times: median (least – greatest). Measured on "
        f"{date.today().isoformat()} by the command at the head of `million.py`.",
        "",
        "| what | measured | peak MiB |",
        "| --- | --- | --- |",
        *(f"| {text} | {found} | {peak:,.0f} |" for text, found, peak in rows),
    ]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
