"""A project of a FiftyOne dataset: time and memory of `init --fiftyone`, time of `fiftyone sync`.

    make install-fiftyone
    P=.venv-fiftyone/bin/python; $P tools/with_mongod.py $P benchmarks/fiftyone_init.py 2000 20000

For each number of samples a dataset of tiny images (32 × 32), with splits, statuses, two batches,
five boxes a sample and vectors of 512 numbers. Each runs in a process of its own; the batch that is
closed and synced is 2 % of the samples.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

warnings.simplefilter("ignore")
WIDTH, BOXES = 512, 5

INIT = """
import json, resource, sys, time
from annoloop.project import Project
from annoloop.records import Source
start = time.perf_counter()
_, made = Project.init(sys.argv[1], Source(dataset=sys.argv[2]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
took = [time.perf_counter() - start, peak, made.ingest.images_added]
project = Project(sys.argv[1])
project.annotate_oracle("v1")
project.annotate_close("v1")
for _ in range(2):
    start = time.perf_counter()
    project.fiftyone_sync()
    took.append(time.perf_counter() - start)
print(json.dumps(took))
"""


def sample(fo: Any, file: Path, i: int, rng: np.random.Generator) -> Any:
    split = ("golden", "val", "test")[i % 10] if i % 10 < 3 else "pool"
    one = fo.Sample(filepath=str(file), tags=[f"split:{split}"])
    one["embeddings"] = rng.normal(size=WIDTH).astype(np.float32)
    one["zcore"] = float(rng.random())
    boxes = fo.Detections(
        detections=[
            fo.Detection(label=f"class {k}", bounding_box=[0.1, 0.1, 0.2, 0.2])
            for k in rng.integers(10, size=BOXES)
        ]
    )
    one["ground_truth"] = boxes
    if split == "pool":
        done = i % 50 in (3, 4, 5, 6, 7)
        waits = i % 50 == 8
        one["annotation_status"] = "annotated" if done else "selected" if waits else "unlabeled"
        if done or waits:
            one.tags += ["batch:v0" if done else "batch:v1", "source:coverage"]
        one["human_labels"] = boxes.copy() if done else None
    return one


def dataset(folder: Path, n: int) -> Any:
    import cv2
    import fiftyone as fo

    rng = np.random.default_rng(n)
    made = fo.Dataset()
    (folder / "images").mkdir()
    for start in range(0, n, 2_000):
        part = []
        for i in range(start, min(n, start + 2_000)):
            file = folder / "images" / f"{i:07}.png"
            cv2.imwrite(str(file), rng.integers(0, 255, (32, 32, 3), dtype=np.uint8))
            part.append(sample(fo, file, i, rng))
        made.add_samples(part, progress=False)
    return made


def main(sizes: list[int]) -> None:
    if importlib.util.find_spec("fiftyone") is None:
        print("not run: FiftyOne is not installed here (the command is at the head of the file)")
        return
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            made = dataset(Path(folder), n)
            print(f"{n:,} samples made in {time.perf_counter() - started:.0f} s", flush=True)
            done = subprocess.run(
                [sys.executable, "-c", INIT, f"{folder}/project", made.name],
                capture_output=True,
                text=True,
                check=True,
            )
            took, peak, added, first, second = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{added:,} samples: init {took:.1f} s, peak {peak:.0f} MiB; sync of a batch "
                f"{first:.1f} s, of nothing {second:.1f} s",
                flush=True,
            )
            made.delete()


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or [2_000])
