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
import resource
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


Times = list[tuple[float, float]]
"""Wall seconds and CPU seconds (of children too), one pair a repeat."""


def timed(call: Callable[[], object], repeats: int = 1) -> Times:
    found = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), _cpu()
        call()
        found.append((time.perf_counter() - wall, _cpu() - cpu))
    return found


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def ingest_files(room: Path) -> Times:
    """List, read, hash, decode enough to know that they are whole, store."""
    rng = np.random.default_rng(0)
    for number in range(FILES):
        folder = room / "images" / f"{number // 1000:03}"
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number:06}.jpg"), rng.integers(0, 255, (64, 64, 3), np.uint8))
    return timed(lambda: Project.init(room / "files", Source(str(room / "images"))))


def ingest_rows(room: Path, n: int) -> Times:
    """All in one transaction, as an ingest writes them."""
    folder = room / "rows"
    (folder / "images").mkdir(parents=True)
    (folder / settings.FILE).write_text(settings.template("images"), encoding="utf-8")
    project = Project(folder)
    paths = [f"{i // 1000:04}/{i:07}.jpg" for i in range(n)]
    new = [Sample(sample_id(p), p, p, 640, 480, f"{i:064x}") for i, p in enumerate(paths)]

    def write() -> None:
        with project.store.write() as connection:
            samples.add_samples(connection, new, selection.AT)

    return timed(write)


def status_by_command(room: Path) -> Times:
    call = "from annoloop.cli import main; main()"
    words = [sys.executable, "-c", call, "status", "--project", str(room / "project")]
    return timed(lambda: subprocess.run(words, check=True, capture_output=True), REPEATS)


def child(what: str, room: Path, n: int) -> None:
    calls: dict[str, Callable[[], Times]] = {
        "files": lambda: ingest_files(room),
        "rows": lambda: ingest_rows(room, n),
        "status": lambda: timed(Project(room / "project").status, REPEATS),
        "command": lambda: status_by_command(room),
        "backup": lambda: timed(lambda: Project(room / "project").backup(room / "backup")),
    }
    print(json.dumps({"times": calls[what](), "peak": selection.peak()}))


def measure(what: str, room: Path, n: int) -> tuple[Times, float]:
    words = [sys.executable, __file__, "--child", what, "--room", str(room), "--samples", str(n)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    made = json.loads(done.stdout.splitlines()[-1])
    print(what, made, file=sys.stderr, flush=True)
    return made["times"], made["peak"]


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
        rows = [
            row(f"`init` on {FILES:,} small JPEG files", *measure("files", room, n), count=FILES),
            row(f"writing {n:,} samples", *measure("rows", room, n), count=n),
        ]
        selection.generated(room / "project", n)
        rows += [
            row("`status`, the verb", *measure("status", room, n)),
            row("`status`, the command with its start", *measure("command", room, n)),
            row("`backup`", *measure("backup", room, n)),
        ]
        size = (room / "project" / "annoloop.db").stat().st_size
        made = selection.measure(room / "project", "coverage=0.3,targeted=0.7")
        what = f"`golden stats` and `select` of {made['batch']:,.0f} with stored scores"
        rows.append(row(what, [(made["seconds"], made["cpu"])], made["peak"]))
        write(n, rows, size)


def row(what: str, times: Times, peak: float, *, count: int | None = None) -> str:
    wall, cpu = ([one[side] for one in times] for side in (0, 1))
    spread = f" ({min(wall):.2f} – {max(wall):.2f})" if len(wall) > 1 else ""
    rate = "" if count is None else f"{count / statistics.median(cpu):,.0f}"
    return (
        f"| {what} | {statistics.median(wall):.2f}{spread} | {statistics.median(cpu):.2f} | {rate} "
        f"| {peak:,.0f} |"
    )


def write(n: int, rows: list[str], size: int) -> None:
    lines = [
        f"# A project of {n:,} samples",
        "",
        f"Generated rows and vectors of {selection.WIDTH} numbers, one iteration behind them; the "
        f"database has {size / 2**20:,.0f} MiB. Each line is a process of its own; `status` "
        f"{REPEATS} times: median (least – greatest). Measured on {date.today().isoformat()}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[1]:.0f}, by the command at the head of "
        "`million.py`; where the load is above the cores, CPU seconds are what an idle machine "
        "takes.",
        "",
        "| what | seconds | CPU seconds | a CPU second | peak MiB |",
        "| --- | --- | --- | --- | --- |",
        *rows,
    ]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
