"""Targeted search: failures against a pool, exact and by lists; time, recall and peak memory.

    OMP_NUM_THREADS=2 NUMBA_NUM_THREADS=2 python benchmarks/targeted.py [--repeats 3]

Writes benchmarks/targeted.md. Every measurement is a fresh process, so that its peak memory is its
own. Beside ours stands the whole table of cosines in NumPy, a hundred failures at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
PAGE = HERE / "targeted.md"
WIDTH, WANTED = 512, 100
CASES = [
    (1_000, 100_000, "numpy"),
    (1_000, 100_000, "exact"),
    (1_000, 100_000, "lists"),
    (1_000, 1_000_000, "numpy"),
    (1_000, 1_000_000, "exact"),
    (1_000, 1_000_000, "lists"),
    (8_000, 1_000_000, "exact"),
    (8_000, 1_000_000, "lists"),
]


def vectors(n: int, rng: np.random.Generator, middles: np.ndarray) -> np.ndarray:
    rows = np.empty((n, WIDTH), dtype=np.float32)
    for start in range(0, n, 20_000):
        some = rows[start : start + 20_000]
        some[:] = middles[rng.integers(0, len(middles), len(some))]
        some += rng.standard_normal(some.shape, dtype=np.float32)
    return rows


def plain(asked: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """The best of every query by the whole table of cosines, 100 queries at a time."""
    lengths = np.linalg.norm(pool, axis=1)
    best = []
    for start in range(0, len(asked), 100):
        part = asked[start : start + 100]
        cosines = part @ pool.T
        cosines /= lengths
        best.append(np.argpartition(-cosines, WANTED, axis=1)[:, :WANTED])
    return np.concatenate(best)


def child(queries: int, n: int, how: str) -> None:
    rng = np.random.default_rng(0)
    middles = rng.standard_normal((300, WIDTH), dtype=np.float32)
    pool = vectors(n, rng, middles)
    asked = vectors(queries, rng, middles)
    from annoloop.core import search
    from annoloop.core.neighbours import nearest

    nearest(asked[:5], pool[:5_000], k=5)
    search.listed(pool[:5_000])  # compiles, or loads from the cache
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    start, work = time.perf_counter(), time.process_time()
    if how == "numpy":
        found = plain(asked, pool)
    elif how == "exact":
        found = nearest(asked, pool, k=WANTED)[1]
    else:
        found = search.listed(pool).nearest(asked, k=WANTED)[1]
    row = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - work}
    row["added"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10 - before
    some = np.arange(0, queries, max(1, queries // 200))
    true = found[some] if how == "exact" else nearest(asked[some], pool, k=WANTED)[1]
    shared = [len(np.intersect1d(a, b)) / WANTED for a, b in zip(found[some], true, strict=True)]
    print(json.dumps(row | {"recall": float(np.mean(shared))}))


def measure(case: tuple[int, int, str]) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", *map(str, case)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(case, found, file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=3)
    given = parser.parse_args()
    if given.child:
        child(int(given.child[0]), int(given.child[1]), given.child[2])
        return
    from annoloop.core.search import EXACT, LISTS, LOOKED_AT

    rows: dict[tuple[int, int, str], list[dict[str, float]]] = {}
    for _ in range(given.repeats):  # in turn, so that a busy machine meets all of them alike
        for case in CASES:
            rows.setdefault(case, []).append(measure(case))
    lines = [
        "# Targeted search",
        "",
        f"The {WANTED} nearest of each failure in a pool of vectors {WIDTH} wide (300 clusters, "
        f"half of each row noise). Medians of {given.repeats}, each in a fresh process, in turn; "
        f"{os.cpu_count()} cores. Measured on {date.today().isoformat()} by the command at the "
        "head of `targeted.py`. *Added* is memory beside the vectors. *numpy* is the whole table "
        "of cosines, a hundred failures at a time; *exact* is what selection does up to "
        f"{EXACT / 1e9:.1f} billion pairs, *lists* what it does above ({LISTS} lists, of which a "
        f"failure sees a {LOOKED_AT}th of the pool; making them is included).",
        "",
        "| failures | pool | how | seconds | CPU seconds | its time ÷ exact | added MiB | recall |",
        "|" + " --- |" * 8,
    ]
    for (queries, n, how), found in rows.items():
        median = {key: statistics.median(one[key] for one in found) for key in found[0]}
        exact = statistics.median(one["cpu"] for one in rows[queries, n, "exact"])
        lines.append(
            f"| {queries:,} | {n:,} | {how} | {median['seconds']:.1f} | {median['cpu']:.1f} | "
            f"{median['cpu'] / exact:.2f} × | {median['added']:,.0f} | {median['recall']:.3f} |"
        )
    lines += ["", "The ratio is of CPU seconds, which other work on the machine disturbs less."]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
