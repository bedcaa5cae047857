"""ZCore beside its plain NumPy definition, and how many draws two seeds need to agree.

Prints the tables and writes them to zcore.md next to this file (`speed` or `agreement` after the
name makes only that one anew and keeps the other). Every size runs in a process of its
own, so that its peak memory is its own; the plain definition runs in the same process just before
and just after. Takes about 15 minutes on two cores: run it when the machine is quiet.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from annoloop.core.coverage import Draws, default_draws, make_draws, zcore

DIMENSIONS, NEIGHBOURS = 512, 1000
SPEED = [(10_000, 1_000_000, 3), (100_000, 1_000_000, 3), (1_000_000, 1_000_000, 1)]
"""Rows, draws, repetitions."""
LARGE = (1_280_000, 1_000_000, 1)
DRAWS_PER_ROW = (50, 500, 5_000)


def clustered(n, rng, *, spread=0.5):
    """100 clusters of unequal size around normal centres, float32 (n, DIMENSIONS)."""
    centres = rng.standard_normal((100, DIMENSIONS), dtype=np.float32)
    cluster = rng.choice(100, n, p=rng.dirichlet(np.ones(100)))
    x = rng.standard_normal((n, DIMENSIONS), dtype=np.float32)
    x *= np.float32(spread)
    for start in range(0, n, 65_536):
        x[start : start + 65_536] += centres[cluster[start : start + 65_536]]
    return x


def reference(x, draws, scores):
    """The definition: all distances in float64, a full stable sort for every draw."""
    for dims, point in zip(draws.dims, draws.points.astype(np.float64), strict=True):
        plane = x[:, dims].astype(np.float64)
        row = int(np.argmin(np.abs(plane - point).sum(axis=1)))
        scores[row] += 1
        distances = np.abs(plane - plane[row]).sum(axis=1)
        nearest = np.argsort(distances, kind="stable")
        nearest = nearest[nearest != row][:NEIGHBOURS]
        if distances[nearest[0]] == 0:
            scores[nearest[0]] -= 1
        else:
            weights = (distances[nearest] / distances[nearest[0]]) ** -4.0
            scores[nearest] -= weights / weights.sum()


def seconds(work, *arguments, **options):
    start = time.perf_counter()
    work(*arguments, **options)
    return time.perf_counter() - start


def peak_gib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def one_size(n, n_draws, repetitions):
    """Milliseconds a draw of ours and of the definition, and peak memory; runs in a child."""
    rng = np.random.default_rng(0)
    x = clustered(n, rng)
    vectors_gib = peak_gib()
    zcore(x[:9000], make_draws(x[:9000], 100, rng=rng))  # compiles, or loads from the cache
    draws = make_draws(x, n_draws, rng=rng)
    few = [make_draws(x, 5, rng=rng) for _ in range(2)]
    plain = [seconds(reference, x, few[0], np.zeros(n)) / 5]
    ours = [seconds(zcore, x, draws, n_neighbours=NEIGHBOURS) for _ in range(repetitions)]
    few_draws = Draws(draws.dims[: n_draws // 4], draws.points[: n_draws // 4])
    part = [seconds(zcore, x, few_draws, n_neighbours=NEIGHBOURS) for _ in range(repetitions)]
    peak = peak_gib()
    plain.append(seconds(reference, x, few[1], np.zeros(n)) / 5)
    whole = statistics.median(ours)
    return {
        "n": n,
        "draws": n_draws,
        "ours_ms": whole / n_draws * 1e3,
        "more_ms": (whole - statistics.median(part)) / (n_draws - n_draws // 4) * 1e3,
        "plain_ms": statistics.median(plain) * 1e3,
        "whole_s": whole,
        "peak_gib": peak,
        "vectors_gib": vectors_gib,
    }


def in_a_child(case):
    answer = subprocess.run(
        [sys.executable, __file__, *map(str, case)], check=True, capture_output=True, text=True
    )
    return json.loads(answer.stdout)


def speed_table():
    rows = [in_a_child(case) for case in (*SPEED, LARGE)]
    yield (
        "| n | d | K | draws | ms/draw ours | one more draw | ms/draw plain | ratio | whole run | "
        "peak memory (vectors alone) |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        yield (
            f"| {row['n']:,} | {DIMENSIONS} | {NEIGHBOURS} | {row['draws']:,} "
            f"| {row['ours_ms']:.4f} | {row['more_ms']:.4f} | {row['plain_ms']:.1f} "
            f"| {row['plain_ms'] / row['ours_ms']:,.0f} × | {row['whole_s']:.0f} s "
            f"| {row['peak_gib']:.1f} GiB ({row['vectors_gib']:.1f}) |"
        )
    growth = {key: rows[2][key] / rows[0][key] for key in ("more_ms", "ours_ms")}
    yield ""
    yield (
        f"From {rows[0]['n']:,} to {rows[2]['n']:,} rows one more draw costs "
        f"{growth['more_ms']:.1f} times as much, a whole call {growth['ours_ms']:.1f} times; the "
        "square root of the growth in rows is 10. Ours is the median whole call for all its draws, "
        "with copying, coding and sorting the columns, which grows with the rows; one more draw is "
        "what a call costs more than one with a quarter of the draws. Making draws is not in it."
    )


def kinds_of_vectors(rng):
    n, share = 2_000, rng.dirichlet(np.ones(20))
    cluster = rng.choice(20, n, p=share)
    centres = rng.normal(size=(20, DIMENSIONS))
    noise = rng.normal(size=(n, DIMENSIONS))
    yield "20 clusters, spread 0.1", centres[cluster] + 0.1 * noise
    wide = rng.lognormal(0, 0.5, 20)[cluster][:, None]
    yield "20 clusters, spread 0.3, unequal", centres[cluster] + 0.3 * wide * noise
    yield "20 clusters, spread 0.3", centres[cluster] + 0.3 * noise
    low = 3 * rng.normal(size=(20, 32))[cluster] + rng.normal(size=(n, 32))
    x = np.maximum(low @ rng.normal(size=(32, DIMENSIONS)), 0)
    yield "20 clusters in 32 dimensions, rectified", x


def agreement_table():
    from scipy.stats import spearmanr

    yield "| vectors (2,000 × 512) | draws | Spearman, two seeds | same top 10 % | time of one |"
    yield "|---|---|---|---|---|"
    for name, numbers in kinds_of_vectors(np.random.default_rng(0)):
        x = numbers.astype(np.float32)
        for per_row in DRAWS_PER_ROW:
            start = time.perf_counter()
            first, second = (
                zcore(x, make_draws(x, per_row * len(x), rng=np.random.default_rng(seed)))
                for seed in (1, 2)
            )
            one = (time.perf_counter() - start) / 2
            top = len(x) // 10
            same = np.intersect1d(np.argsort(-first)[:top], np.argsort(-second)[:top])
            yield (
                f"| {name} | {per_row * len(x):,} | {spearmanr(first, second).statistic:.3f} "
                f"| {len(same) / top:.0%} | {one:.1f} s |"
            )
    yield ""
    yield f"`default_draws(2_000)` is {default_draws(2_000):,}."


def main(which):
    page = Path(__file__).with_suffix(".md")
    head, *kept = page.read_text(encoding="utf-8").split("\n\n| ")
    sections = []
    for name, table, old in zip(
        ("speed", "agreement"), (speed_table, agreement_table), kept, strict=True
    ):
        lines = []
        for line in table() if name in which else ["| " + old.rstrip("\n")]:
            print(line, flush=True)
            lines.append(line)
        sections.append("\n".join(lines))
    page.write_text("\n\n".join([head, *sections]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1].isdigit():
        print(json.dumps(one_size(*map(int, sys.argv[1:]))))
    else:
        main(sys.argv[1:] or ["speed", "agreement"])
