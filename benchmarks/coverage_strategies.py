"""k-centre, facility location and TypiClust beside LightlyStudio's engine: time, memory, coverage.

    OMP_NUM_THREADS=2 NUMBA_NUM_THREADS=2 python benchmarks/coverage_strategies.py [--repeats 3]

Writes benchmarks/coverage_strategies.md. The other engine is the package `lightly-mundig`; put it
in a folder of its own (`pip install --target FOLDER lightly-mundig`) and name that folder with
`--mundig FOLDER`. Without it the page has our rows only, and says so. Every measurement is a fresh
process, so that its peak memory is its own; the engines take turns, so that a busy machine meets
all of them alike.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
PAGE = HERE / "coverage_strategies.md"
ENGINES = ("kcenter", "facility", "typiclust", "random")
OTHER = "lightly-mundig"


def pool(n: int, d: int) -> np.ndarray:
    """Unit vectors of 300 clusters of unequal size and width, half of each row noise or more."""
    rng = np.random.default_rng(7)
    share = rng.pareto(1.0, 300) + 0.2
    which = rng.choice(300, n, p=share / share.sum())
    width = rng.uniform(0.4, 1.2, 300)[which]
    middles = rng.normal(size=(300, d)).astype(np.float32)
    vectors = np.empty((n, d), dtype=np.float32)
    for start in range(0, n, 1_000):  # in pieces: the peak measured is the search's, not this one's
        some = slice(start, min(n, start + 1_000))
        noise = rng.normal(size=vectors[some].shape) * width[some, None]
        vectors[some] = middles[which[some]] + noise
        vectors[some] /= np.linalg.norm(vectors[some], axis=1, keepdims=True)
    return vectors


def pick(engine: str, vectors: np.ndarray, want: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    if engine == "kcenter":
        from annoloop.core.kcenter import farthest_first

        return farthest_first(vectors, want=want).positions
    if engine == "facility":
        from annoloop.core.facility import facility_location

        return facility_location(vectors, want=want, rng=rng).positions
    if engine == "typiclust":
        from annoloop.core.typiclust import most_typical

        return most_typical(vectors, want=want, rng=rng).positions
    if engine == "random":
        return rng.choice(len(vectors), want, replace=False)
    from lightly_mundig import Selection

    selection = Selection()
    selection.add_diversifying_strategy(vectors, 1.0)
    return np.array(selection.run_selection([], len(vectors), want))


def peak() -> float:
    """Peak memory of this process so far, MiB; what getrusage says would include the parent's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def child(engine: str, n: int, d: int, want: int) -> None:
    vectors = pool(n, d)
    pick(engine, vectors[:2_000].copy(), 20)  # compiled kernels are loaded, threads are there
    before = peak()
    start, work = time.perf_counter(), time.process_time()
    picks = pick(engine, vectors, want)
    seconds, cpu, most = time.perf_counter() - start, time.process_time() - work, peak()
    assert len(set(picks.tolist())) == want
    best = np.concatenate(
        [(vectors[s : s + 4096] @ vectors[picks].T).max(1) for s in range(0, n, 4096)]
    )
    apart = 1.0 - best.astype(np.float64)
    row = {"seconds": seconds, "cpu": cpu, "peak": most, "added": most - before}
    print(json.dumps({**row, "mean": apart.mean(), "max": apart.max()}))


def measure(engine: str, shape: tuple[int, int, int], mundig: Path | None) -> dict[str, float]:
    env = dict(os.environ)
    if engine == OTHER and mundig is not None:
        env["PYTHONPATH"] = str(mundig)
    command = [sys.executable, __file__, "--child", engine, *map(str, shape)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{engine} {shape}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(engine, shape, found, file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--picks", type=int, nargs="+", default=[1_000, 5_000])
    parser.add_argument("--mundig", type=Path)
    parser.add_argument("--child", nargs=4)
    given = parser.parse_args()
    if given.child:
        child(given.child[0], *map(int, given.child[1:]))
        return
    there = given.mundig is not None or importlib.util.find_spec("lightly_mundig") is not None
    engines = (*ENGINES[:2], OTHER, *ENGINES[2:]) if there else ENGINES
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for _ in range(given.repeats):
        for want in given.picks:
            for engine in engines:
                shape = (given.rows, given.dimensions, want)
                found.setdefault((engine, want), []).append(measure(engine, shape, given.mundig))
        write(given, found, engines)


def write(
    given: argparse.Namespace,
    found: dict[tuple[str, int], list[dict[str, float]]],
    engines: tuple[str, ...],
) -> None:
    rounds = len(next(iter(found.values())))
    lines = [
        "# Coverage strategies beside LightlyStudio's engine",
        "",
        f"{given.rows:,} × {given.dimensions} unit vectors in 300 clusters, nothing labelled; "
        f"medians of {rounds} (least – greatest), each in a fresh process, the engines in "
        f"turn; {os.cpu_count()} cores. Measured on {date.today().isoformat()} by the command at "
        "the head of `coverage_strategies.py`. Distance is 1 - cosine, of every image to its "
        "nearest pick. *Added* is what the search needed beside the vectors. CPU seconds are those "
        "of both cores together; where they are far below twice the seconds, others were at work.",
        "",
    ]
    if OTHER not in engines:
        lines += ["The package `lightly-mundig` was not installed: its rows are missing.", ""]
    head = ["picks", "engine", "seconds", "CPU seconds", "its time ÷ ours", "peak MiB", "added MiB"]
    lines += table_head([*head, "mean distance", "greatest distance"])
    for want in given.picks:
        for engine in engines:
            rows = found[engine, want]
            median = {key: statistics.median(r[key] for r in rows) for key in rows[0]}
            seconds = [r["seconds"] for r in rows]
            ratio = "–"
            if OTHER in engines and engine in ("kcenter", "facility"):
                paired = zip(found[OTHER, want], rows, strict=True)
                ratio = f"{statistics.median(a['seconds'] / b['seconds'] for a, b in paired):.2f} ×"
            time_ = f"{median['seconds']:.1f} ({min(seconds):.1f} – {max(seconds):.1f})"
            lines.append(
                f"| {want:,} | {engine} | {time_} | {median['cpu']:.1f} | {ratio} | "
                f"{median['peak']:,.0f} | {median['added']:,.0f} | {median['mean']:.4f} | "
                f"{median['max']:.4f} |"
            )
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def table_head(cells: list[str]) -> list[str]:
    return ["| " + " | ".join(cells) + " |", "|" + " --- |" * len(cells)]


if __name__ == "__main__":
    main()
