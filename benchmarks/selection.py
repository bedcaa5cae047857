"""One whole selection: golden statistics, the hybrid batch, its commit; at three sizes.

    OMP_NUM_THREADS=2 NUMBA_NUM_THREADS=2 python benchmarks/selection.py [--sizes 10000 100000]

Writes benchmarks/selection.md. The projects are generated: rows and vectors go straight into the
store, without images. One iteration lies behind them (a tenth of the pool is labelled, its model
failed 500 times on val, coverage is scored), so `select` has everything that it needs and makes
30 % coverage and 70 % targeted. Every measurement is a fresh process on a fresh copy.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from annoloop import settings
from annoloop.project import Project
from annoloop.records import (
    Annotation,
    Answer,
    Batch,
    BatchKind,
    Failure,
    FailureType,
    Half,
    ImageResult,
    Label,
    Pick,
    Reference,
    Sample,
    Split,
    Status,
    sample_id,
)
from annoloop.steps.manifest import digest_of, write_manifest
from annoloop.store import batches, db, iterations, samples

HERE = Path(__file__).resolve().parent
PAGE = HERE / "selection.md"
WIDTH, EMBEDDER, AT = 512, "pixels-v1", "2026-01-01T00:00:00.000+00:00"
CLASSES, FAILURES = 10, 500
LARGEST = 10_000
"""A batch has a fifth of what remains, but no more than so many images."""


def generated(folder: Path, n: int) -> None:
    """A project of n samples with one decided iteration."""
    folder.mkdir()
    (folder / "images").mkdir()
    (folder / settings.FILE).write_text(settings.template("images"), encoding="utf-8")
    project = Project(folder)
    rng = np.random.default_rng(n)
    everyone = sorted(_samples(n, rng), key=lambda sample: sample.id)
    with project._alone("benchmark") as context:
        with project.store.write() as connection:
            samples.add_classes(connection, [f"class {k}" for k in range(CLASSES)])
            samples.add_samples(connection, everyone, AT)
            _iteration(connection, everyone, rng)
        locked = [(s.id, s.split, s.half) for s in everyone if s.split is not Split.POOL]
        write_manifest(context, everyone, digest_of(locked))
        middles = rng.normal(size=(200, WIDTH)).astype(np.float32)
        for start in range(0, n, 50_000):
            part = [s.sha256 for s in everyone[start : start + 50_000]]
            noise = rng.normal(size=(len(part), WIDTH)).astype(np.float32)
            context.vectors.add_vectors(
                EMBEDDER, part, middles[rng.integers(0, 200, len(part))] + noise
            )
        open_ = [s.id for s in everyone if s.split is Split.POOL and s.status is Status.UNLABELED]
        about = {"at": AT, "embedder": EMBEDDER, "occupied": n // 10, "closed": ["v0"]}
        context.vectors.write_scores(open_, rng.random(len(open_)), about)
        with project.store.write() as connection:  # scores without this line would be made again
            db.record(connection, at=AT, who="", what="score", target=EMBEDDER, details={})


def _samples(n: int, rng: np.random.Generator) -> list[Sample]:
    chance = rng.random(n)
    golden = min(50, n // 20)
    made = []
    for i, x in enumerate(chance.tolist()):
        split, half, status = Split.POOL, None, Status.UNLABELED
        if i < golden:
            split = Split.GOLDEN
        elif x < 0.3:
            split = Split.TEST if x < 0.15 else Split.VAL
            half = None if x < 0.15 else (Half.MINE if x < 0.225 else Half.GAUGE)
        elif x < 0.37:
            status = Status.ANNOTATED
        path = f"{i:07}.jpg"
        made.append(
            Sample(
                sample_id(path),
                path,
                path,
                640,
                480,
                f"{i:064x}",
                split=split,
                half=half,
                status=status,
            )
        )
    return made


def _iteration(connection: Any, everyone: list[Sample], rng: np.random.Generator) -> None:
    """Batch v0, answered and closed; its model, evaluated; the verdict: go on."""
    done = [s for s in everyone if s.status is Status.ANNOTATED]
    golden = [s for s in everyone if s.split is Split.GOLDEN]
    mine = [s for s in everyone if s.half is Half.MINE]
    batch = Batch("v0", BatchKind.SELECT, True, AT, None, len(done), 0, {})
    tasks = [(Pick(s.id, "coverage", i, 0.0, "generated"), False) for i, s in enumerate(done)]
    tasks += [(Pick(s.id, "blind golden", i, 0.0, "generated"), True) for i, s in enumerate(golden)]
    batches.add(connection, batch, 0, tasks)
    labels = {
        s.id: (Label(int(rng.integers(CLASSES)), (10.0, 10.0, 50.0, 50.0)),)
        for s in [*done, *golden, *mine]
    }
    samples.add_references(
        connection,
        [Reference(s.id, labels[s.id], "generated") for s in [*golden, *mine]],
        who="",
        at=AT,
    )
    answers = [
        Annotation(s.id, "v0", "ann", Answer.COMPLETE, labels[s.id], at=AT)
        for s in [*done, *golden]
    ]
    batches.add_annotations(connection, answers)
    batches.close(connection, "v0", AT)
    iterations.open_iteration(connection, number=0, batch="v0", at=AT, settings={})
    records: dict[str, dict[str, Any]] = {
        "select": {"batch": "v0"},
        "annotate": {"batch": "v0", "golden_statistics": batches_statistics()},
        "golden": {
            "verdict": "pass",
            "reason": "generated",
            "numbers": {"errors": {}, "images": []},
        },
        "train": {"model": "v0", "images": len(done), "boxes": len(done), "seconds": 1.0}
        | {"trainer": "generated"},
        "evaluate": {"model": "v0", "min_score": 0.3, "failures": {}}
        | {"gauge": {"summary": {"AP": 0.4, "AP50": 0.6}}, "val": {"summary": {"AP": 0.4}}},
        "decide": {"verdict": "continue", "reason": "generated", "numbers": {}},
    }
    for step, record in records.items():
        seq = iterations.add_step(connection, 0, step, at=AT, who="generated", record=record)
        if step == "evaluate":
            iterations.add_failures(connection, seq, _failures(mine, rng))
            results = [ImageResult(s.id, 1, 0, 0) for s in mine]
            iterations.add_results(connection, seq, results)


def batches_statistics() -> dict[str, Any]:
    return {"samples": 50, "samples_with_labels": 50, "total_detections": 50, "top_classes": []}


def _failures(mine: list[Sample], rng: np.random.Generator) -> list[Failure]:
    kinds = list(FailureType)
    return [
        Failure(
            mine[int(rng.integers(len(mine)))].id,
            kinds[int(rng.integers(len(kinds)))],
            int(rng.integers(CLASSES)),
            (10.0, 10.0, 50.0, 50.0),
            score=0.5,
            price=float(rng.random()) / FAILURES,
        )
        for _ in range(FAILURES)
    ]


def peak() -> float:
    """Peak memory of this process, MiB; what getrusage says would include the parent's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def child(folders: list[Path], mix: dict[str, float] | None) -> None:
    """The first selection of a process, and one more in the same process on another copy."""
    first, again = (timed(folder, mix) for folder in folders)
    print(json.dumps(first | {"again": again["seconds"], "again_cpu": again["cpu"]}))


def timed(folder: Path, mix: dict[str, float] | None) -> dict[str, float]:
    start, work = time.perf_counter(), time.process_time()
    project = Project(folder)
    with project.store.read() as connection:
        counts = samples.counts(connection)
    left = counts[Split.POOL, Status.UNLABELED]
    golden = project.golden_stats()
    middle = time.perf_counter()
    chosen = project.select(size=min(LARGEST, int(0.2 * left)), mix=mix)
    end = time.perf_counter()
    assert golden.history
    assert chosen.size == chosen.asked
    return {
        "pool": left,
        "batch": chosen.size,
        "golden": middle - start,
        "select": end - middle,
        "seconds": end - start,
        "cpu": time.process_time() - work,
        "peak": peak(),
    }


def measure(folder: Path, mix: str) -> dict[str, float]:
    copies = [folder.with_name("first"), folder.with_name("second")]
    for copy in copies:
        shutil.copytree(folder, copy)
    try:
        command = [sys.executable, __file__, "--mix", mix, "--child", *map(str, copies)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        print(folder, mix, found, file=sys.stderr, flush=True)
        return found
    finally:
        for copy in copies:
            shutil.rmtree(copy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--mix", default="coverage=0.3,targeted=0.7")
    parser.add_argument("--child", type=Path, nargs=2)
    given = parser.parse_args()
    if given.child:
        shares = dict(pair.split("=") for pair in given.mix.split(","))
        child(given.child, {name: float(share) for name, share in shares.items()})
        return
    found: dict[int, list[dict[str, float]]] = {}
    for n in given.sizes:
        with tempfile.TemporaryDirectory() as room:
            folder = Path(room) / "project"
            generated(folder, n)
            for _ in range(given.repeats):
                found.setdefault(n, []).append(measure(folder, given.mix))
        write(given, found)


def write(given: argparse.Namespace, found: dict[int, list[dict[str, float]]]) -> None:
    lines = [
        "# One whole selection",
        "",
        f"Golden statistics, a batch by {given.mix}, and its commit, on generated projects with "
        f"vectors of {WIDTH} numbers, one iteration behind them and {FAILURES} failures. Medians "
        f"of {given.repeats} (least – greatest), each in a fresh process on a fresh copy, imports "
        "and the loading of compiled kernels included; *again* is one more in the same process on "
        f"another copy, as in a notebook; {os.cpu_count()} cores. Measured on "
        f"{date.today().isoformat()} by the command at the head of `selection.py`. CPU seconds are "
        "those of both cores together.",
        "",
        "| samples | open pool | batch | seconds | golden statistics | select and commit | "
        "CPU seconds | again, seconds | again, CPU seconds | peak MiB |",
        "|" + " --- |" * 10,
    ]
    for n, rows in found.items():
        median = {key: statistics.median(r[key] for r in rows) for key in rows[0]}
        seconds = [r["seconds"] for r in rows]
        lines.append(
            f"| {n:,} | {median['pool']:,.0f} | {median['batch']:,.0f} | {median['seconds']:.1f} "
            f"({min(seconds):.1f} – {max(seconds):.1f}) | {median['golden']:.2f} | "
            f"{median['select']:.1f} | {median['cpu']:.1f} | {median['again']:.2f} | "
            f"{median['again_cpu']:.2f} | {median['peak']:,.0f} |"
        )
    lines += [
        "",
        "Of the peak, the vectors themselves take "
        + ", ".join(f"{n * WIDTH * 4 / 2**20:,.0f} MiB at {n:,}" for n in found)
        + " samples.",
    ]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
