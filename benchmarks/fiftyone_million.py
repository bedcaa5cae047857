"""A FiftyOne dataset of a million samples: time and memory of `iterate`, `init` and `sync`.

    make install-fiftyone
    P=.venv-fiftyone/bin/python; $P tools/with_mongod.py nice $P benchmarks/fiftyone_million.py

The dataset is made by bulk inserts into a real MongoDB: vectors of 512 numbers, two boxes a sample,
the tutorial's splits, one batch behind it, 100 failure images; the images are tiny (16 × 16) but
there, since `init` opens them. Each step runs in a process of its own, whose peak memory is
measured (that of the server is not). Takes an hour, 4 GB of database and 4 GB of images below
TMPDIR. Writes fiftyone_million.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np

warnings.simplefilter("ignore")

PAGE = Path(__file__).resolve().parent / "fiftyone_million.md"
CLASSES, BOXES, FAILURES, CHUNK = 10, 2, 100, 5_000
SPLITS = ("golden", "val", "test", "val", "test")
"""Of twenty samples in a row the first five; the others are the pool."""
PICKED = 50
"""One in so many is picked where a size is asked for: a batch that a team could do."""


def dataset(name: str, folder: Path, n: int, width: int) -> Any:
    """The dataset of that name, or else a new one of n samples and their images."""
    import fiftyone as fo

    if fo.dataset_exists(name):
        made = fo.load_dataset(name)
        if made.count() != n or not made.has_saved_view("pool"):
            raise SystemExit(f"the dataset {name} is half made: delete it first")
        return made
    made = fo.Dataset(name, persistent=True)
    made.add_sample_field("embeddings", fo.VectorField)
    made.add_sample_field("zcore", fo.FloatField)
    made.add_sample_field("annotation_status", fo.StringField)
    for field in ("ground_truth", "human_labels"):
        made.add_sample_field(field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    started = time.perf_counter()
    for part in documents(made, folder, n, width):
        made._sample_collection.insert_many(part, ordered=False)
        if len(part) == CHUNK and part[-1]["place"] % 100_000 < CHUNK:
            print(f"{part[-1]['place']:,} in {time.perf_counter() - started:.0f} s", flush=True)
    made._sample_collection.update_many({}, {"$unset": {"place": 1}})
    failed = made.match_tags("split:val").limit(FAILURES).values("id")
    made.select(failed).tag_samples("failure:high_fn")
    views = {"pool": "split:pool", "golden_qa": "split:golden", "val_set": "split:val"}
    views |= {"test_set": "split:test", "batch_v0": "batch:v0"}
    for view, tag in {**views, "eval_v0_failures": "failure:high_fn"}.items():
        made.save_view(view, made.match_tags(tag))
    classes = [f"class {k}" for k in range(CLASSES)]
    made.info["annotation_schema"] = {"classes": classes, "field_name": "human_labels"}
    made.save()
    return made


def documents(made: Any, folder: Path, n: int, width: int) -> Iterator[list[dict[str, Any]]]:
    """The samples as FiftyOne stores them, in parts, and their images."""
    import fiftyone as fo

    rng = np.random.default_rng(n)
    middles = rng.normal(size=(200, width)).astype(np.float32)
    field = fo.VectorField()
    for start in range(0, n, CHUNK):
        size = min(CHUNK, n - start)
        near = middles[rng.integers(200, size=size)]
        vectors = near + rng.standard_normal((size, width), dtype=np.float32)
        pixels = rng.integers(0, 255, (size, 16, 16, 3), dtype=np.uint8)
        corners = rng.uniform(0.05, 0.6, (size, BOXES, 2))
        names = rng.integers(CLASSES, size=(size, BOXES))
        scores = rng.random(size)
        room = folder / f"{start // CHUNK:04}"
        room.mkdir(parents=True, exist_ok=True)
        part = []
        for i in range(size):
            file = write(room / f"{start + i:07}.png", pixels[i])
            boxes = detections(corners[i], names[i])
            part.append(
                {
                    **document(made, start + i, file, boxes),
                    "embeddings": field.to_mongo(vectors[i]),
                    "zcore": float(scores[i]),
                }
            )
        yield part


def write(file: Path, pixels: np.ndarray) -> str:
    import cv2

    cv2.imwrite(str(file), pixels)
    return str(file)


def detections(corners: np.ndarray, names: np.ndarray) -> dict[str, Any]:
    from bson import ObjectId

    return {
        "_cls": "Detections",
        "detections": [
            {
                "_id": ObjectId(),
                "_cls": "Detection",
                "attributes": {},
                "tags": [],
                "label": f"class {name}",
                "bounding_box": [float(x), float(y), 0.2, 0.2],
            }
            for (x, y), name in zip(corners, names, strict=True)
        ],
    }


def document(made: Any, i: int, file: str, boxes: dict[str, Any]) -> dict[str, Any]:
    """Split by place; a tenth of the pool is annotated batch v0."""
    from bson import ObjectId

    now = datetime.now(UTC)
    split = SPLITS[i % 20] if i % 20 < len(SPLITS) else "pool"
    one: dict[str, Any] = {
        "_id": ObjectId(),
        "_dataset_id": made._doc.id,
        "_media_type": "image",
        "_rand": (i * 0.6180339887498949) % 1.0,
        "filepath": file,
        "tags": [f"split:{split}"],
        "created_at": now,
        "last_modified_at": now,
        "ground_truth": boxes,
        "place": i,
    }
    if split == "golden":
        one["human_labels"] = boxes
    if split == "pool":
        done = i % 200 in range(6, 20)
        one["annotation_status"] = "annotated" if done else "unlabeled"
        if done:
            one["human_labels"] = boxes
            one["tags"] += ["batch:v0", "annotated:v0", "source:coverage"]
    return one


# --- what is measured, each in a process of its own -----------------------------------------------


def peak() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def child(step: str, name: str, folder: str) -> dict[str, Any]:
    """One step; what it did, in how many seconds, with what peak of memory (MiB)."""
    import annoloop.fiftyone as loop
    from annoloop.project import Project
    from annoloop.records import Source

    sdk = importlib.import_module("fiftyone")
    found = sdk.load_dataset(name)
    begun, base = time.perf_counter(), peak()
    project = Project(folder) if Path(folder, "annoloop.toml").exists() else None
    if step.startswith("iterate"):
        size = None if step == "iterate" else found.count() // PICKED
        picks = loop.iterate(found, size, dry_run=True, say=lambda _: None).size
        did = f"{picks:,} picks of {found.match_tags('split:pool').count():,} (dry run)"
    elif project is None:
        _, made = Project.init(folder, Source(dataset=name))
        did = f"{made.ingest.images_added:,} samples, {made.ingest.boxes:,} boxes"
    else:
        changed = project.fiftyone_sync().changed
        did = ", ".join(f"{n:,} {what}" for what, n in changed.items() if n) or "nothing"
    took = time.perf_counter() - begun
    load = os.getloadavg()[1]
    return {"did": did, "seconds": took, "peak": peak(), "base": base, "load": load}


STEPS = {
    "iterate": "`annoloop.fiftyone.iterate`, a fifth of what remains",
    "iterate-some": "`annoloop.fiftyone.iterate`, fewer",
    "init": "`annoloop init --fiftyone`",
    "sync": "`annoloop fiftyone sync`",
    "sync-again": "the same again",
}


def measured(step: str, name: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", step, name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(step, found, flush=True)
    return found


def page(n: int, width: int, rows: dict[str, dict[str, Any]]) -> str:
    lines = [
        f"# A FiftyOne dataset of {n:,} samples",
        "",
        f"Vectors of {width} numbers, {BOXES} boxes a sample, {FAILURES} failure images, a real "
        f"MongoDB on the same machine ({os.cpu_count()} cores). One run, measured on "
        f"{date.today().isoformat()} by the command at the head of `fiftyone_million.py`. Each "
        "step in a process of its own; imports are in its memory and not in its time; the server's "
        "memory is its own (a cache of 0.5 GiB). Load is how many processes wanted those cores.",
        "",
        "| step | did | seconds | load | peak MiB | bytes a sample above the imports |",
        "|" + " --- |" * 6,
    ]
    for step, row in rows.items():
        grown = (row["peak"] - row["base"]) * 1024 * 1024 / n
        lines.append(
            f"| {STEPS[step]} | {row['did']} | {row['seconds']:,.0f} | {row['load']:.0f} | "
            f"{row['peak']:,.0f} | {grown:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--folder", type=Path, help="Keep all there, and go on with it.")
    parser.add_argument("--steps", nargs="*", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--child", nargs=3)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(child(*given.child)))
        return
    if importlib.util.find_spec("fiftyone") is None:
        print("not run: FiftyOne is not installed here (the command is at the head of the file)")
        return
    folder = given.folder or Path(tempfile.mkdtemp(prefix="annoloop-million-"))
    name, kept = f"annoloop-million-{given.samples}", folder / "rows.json"
    try:
        made = dataset(name, folder / "images", given.samples, given.width)
        rows = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
        for step in given.steps:
            rows[step] = measured(step, name, folder / "project")
            kept.write_text(json.dumps(rows), encoding="utf-8")
        if given.folder is None:
            made.delete()
    finally:
        if given.folder is None:
            shutil.rmtree(folder)
    rows = {step: rows[step] for step in STEPS if step in rows}
    if given.samples == 1_000_000 and len(rows) == len(STEPS):
        PAGE.write_text(page(given.samples, given.width, rows), encoding="utf-8")
    else:
        print(page(given.samples, given.width, rows))


if __name__ == "__main__":
    main()
