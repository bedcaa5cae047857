"""One step on a FiftyOne dataset: the tutorial's way, ours on the same dataset, and a project's.

    make install-fiftyone
    P=.venv-fiftyone/bin/python; $P tools/with_mongod.py $P benchmarks/fiftyone_step.py

Golden statistics, the next batch with 30 % coverage and 70 % targeted, its tags, statuses and saved
view, the progress summary. The tutorial's way is written down here from what its cells do: loops
over whole samples, five neighbours of each failure image, their union in a set, cut to size.
Datasets are generated (no image is opened); each way has a copy. Writes fiftyone_step.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

warnings.simplefilter("ignore")

PAGE = Path(__file__).resolve().parent / "fiftyone_step.md"
WIDTH, FAILURES, GOLDEN, CLASSES, BOXES = 512, 100, 50, 10, 5


def dataset(name: str, n: int) -> Any:
    """As after the tutorial's first iteration: splits, vectors, scores, and failures of v0."""
    import fiftyone as fo

    rng = np.random.default_rng(n)
    middles = rng.normal(size=(200, WIDTH))
    made = fo.Dataset(name)
    for start in range(0, n, 5_000):
        made.add_samples(
            [one_sample(fo, i, rng, middles) for i in range(start, min(n, start + 5_000))],
            progress=False,
        )
    val = made.match_tags("split:val").limit(FAILURES).values("id")
    made.select(val).tag_samples("failure:high_fn")
    for view, tag in (
        ("pool", "split:pool"),
        ("golden_qa", "split:golden"),
        ("eval_v0_failures", "failure:high_fn"),
    ):
        made.save_view(view, made.match_tags(tag))
    made.info["annotation_schema"] = {
        "classes": [f"class {k}" for k in range(CLASSES)],
        "field_name": "human_labels",
    }
    made.save()
    return made


def one_sample(fo: Any, i: int, rng: np.random.Generator, middles: np.ndarray) -> Any:
    chance = rng.random()
    split = (
        "golden" if i < GOLDEN else "test" if chance < 0.15 else "val" if chance < 0.3 else "pool"
    )
    vector = middles[int(rng.integers(200))] + rng.normal(size=WIDTH)
    one = fo.Sample(
        filepath=f"/images/{i:07}.jpg",
        tags=[f"split:{split}"],
        embeddings=vector.astype(np.float32),
        zcore=float(rng.random()),
        annotation_status="annotated" if 0.3 <= chance < 0.37 else "unlabeled",
    )
    boxes = [
        fo.Detection(label=f"class {int(k)}", bounding_box=[0.1, 0.1, 0.2, 0.2])
        for k in rng.integers(CLASSES, size=BOXES)
    ]
    one["human_labels" if split == "golden" else "ground_truth"] = fo.Detections(detections=boxes)
    return one


def tutorial(found: Any) -> int:
    """The step as the tutorial describes it; returns the number of samples that it picked."""
    from fiftyone import ViewField as F
    from sklearn.metrics.pairwise import cosine_similarity

    golden = found.load_saved_view("golden_qa")
    labelled, boxes, classes = 0, 0, Counter()
    for sample in golden:
        drawn = sample["human_labels"]
        if drawn and drawn.detections:
            labelled += 1
            boxes += len(drawn.detections)
            classes.update(one.label for one in drawn.detections)
    history = found.info.setdefault("golden_qa_history", [])
    history.append(
        {
            "iteration": len(history),
            "samples_with_labels": labelled,
            "total_detections": boxes,
            "top_classes": dict(classes.most_common(5)),
        }
    )
    found.save()

    pool = found.load_saved_view("pool")
    remaining = pool.match(F("annotation_status") == "unlabeled")
    size = max(10, int(0.2 * len(remaining)))
    share = int(0.3 * size)
    scores = {one.id: one.zcore for one in remaining.match(F("zcore") != None)}  # noqa: E711
    cover = sorted(scores, key=lambda key: -scores[key])[:share]
    open_ = [one for one in remaining if one.embeddings is not None]
    failed = found.load_saved_view("eval_v0_failures")
    alike = cosine_similarity(
        np.array([one.embeddings for one in failed]), np.array([one.embeddings for one in open_])
    )
    near = {open_[place].id for row in alike for place in np.argsort(row)[-5:]}
    targeted = [key for key in near if key not in cover][: size - share]
    batch = found.match(F("id").is_in(list({*cover, *targeted})))
    batch.tag_samples("batch:v1")
    batch.tag_samples("to_annotate")
    batch.set_values("annotation_status", ["selected"] * len(batch))
    found.match(F("id").is_in(cover)).tag_samples("source:coverage")
    found.match(F("id").is_in(targeted)).tag_samples("source:targeted")
    found.save_view("batch_v1", found.match_tags("batch:v1"), overwrite=True)
    len(pool)
    len(found.match_tags("annotated:v0"))
    len(found.match_tags("batch:v1"))
    len(pool.match(F("annotation_status") == "unlabeled"))
    return len({*cover, *targeted})


def peak() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def child(way: str, name: str) -> None:
    """One way on one copy, in a process of its own that has imported everything before."""
    import fiftyone as fo
    import sklearn.neighbors  # noqa: F401

    import annoloop.fiftyone as loop

    found = fo.load_dataset(name)
    start = time.perf_counter()
    if way == "tutorial":
        picked = tutorial(found)
    else:
        picked = loop.iterate(found, say=lambda _: None).size
    print(json.dumps({"seconds": time.perf_counter() - start, "picked": picked, "peak": peak()}))


def run(way: str, of: str) -> dict[str, float]:
    import fiftyone as fo

    copy = fo.load_dataset(of).clone(f"{of}-{way}")
    copy.persistent = True
    try:
        command = [sys.executable, __file__, "--child", way, copy.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        print(of, way, found, file=sys.stderr, flush=True)
        return found
    finally:
        copy.delete()


def project(n: int, repeats: int) -> list[float]:
    """Seconds of golden statistics, select and commit in a project of n samples of its own, the
    second time in one process, as benchmarks/selection.py measures it (`again`)."""
    sys.path.insert(0, str(PAGE.parent))
    import selection

    with tempfile.TemporaryDirectory() as room:
        folder = Path(room) / "project"
        selection.generated(folder, n)
        seconds = [
            selection.measure(folder, "coverage=0.3,targeted=0.7")["again"] for _ in range(repeats)
        ]
        shutil.rmtree(folder)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2_000, 10_000, 100_000])
    parser.add_argument("--tutorial-up-to", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=2)
    given = parser.parse_args()
    if given.child:
        child(*given.child)
        return
    if importlib.util.find_spec("fiftyone") is None:
        print("not run: FiftyOne is not installed here (the command is at the head of the file)")
        return
    found: dict[tuple[int, str], list[dict[str, float]]] = {}
    for n in given.sizes:
        made = dataset(f"annoloop-benchmark-{n}", n)
        made.persistent = True
        try:
            for _ in range(given.repeats if n <= given.tutorial_up_to else 1):
                if n <= given.tutorial_up_to:
                    found.setdefault((n, "tutorial"), []).append(run("tutorial", made.name))
                found.setdefault((n, "iterate"), []).append(run("iterate", made.name))
        finally:
            made.delete()
        if n <= given.tutorial_up_to:
            seconds = project(n, given.repeats)
            found[n, "project"] = [{"seconds": s, "picked": 0, "peak": 0} for s in seconds]
    write(given, found)


WAYS = {
    "tutorial": "the tutorial's cells",
    "iterate": "`annoloop.fiftyone.iterate`, the same dataset",
    "project": "a project of as many samples (`annoloop select` in a running process)",
}


def write(given: argparse.Namespace, found: dict[tuple[int, str], list[dict[str, float]]]) -> None:
    lines = [
        "# One step on a FiftyOne dataset",
        "",
        f"Golden statistics, the next batch, its tags and the summary; vectors of {WIDTH} numbers,"
        f" {BOXES} boxes a sample, {FAILURES} failure images, a real MongoDB on the same machine "
        f"({os.cpu_count()} cores). Medians of {given.repeats} (least – greatest; one run where "
        f"the tutorial's way is left out), measured on {date.today().isoformat()} by the command "
        "at the head of `fiftyone_step.py`, imports not counted. Asked is a fifth of what remains.",
        "",
        "| samples | way | seconds | ratio | picked | peak MiB |",
        "|" + " --- |" * 6,
    ]
    for (n, way), rows in found.items():
        seconds = [row["seconds"] for row in rows]
        median = statistics.median(seconds)
        base = found.get((n, "tutorial"))
        ratio = "–"
        if base is not None and way != "tutorial":
            ratio = f"{statistics.median(r['seconds'] for r in base) / median:.0f} ×"
        last = rows[-1]
        lines.append(
            f"| {n:,} | {WAYS[way]} | {median:.2f} ({min(seconds):.2f} – {max(seconds):.2f}) | "
            f"{ratio} | {last['picked'] or '–'} | {last['peak']:,.0f} |"
            if last["peak"]
            else f"| {n:,} | {WAYS[way]} | {median:.2f} ({min(seconds):.2f} – {max(seconds):.2f}) "
            f"| {ratio} | – | – |"
        )
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
