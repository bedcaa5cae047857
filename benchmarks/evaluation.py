"""Evaluation beside hotcoco alone: 5,000 images, 100,000 detections, 80 classes.

    python benchmarks/evaluation.py [--images 5000] [--repeats 5]

Writes benchmarks/evaluation.md. Both sides work in this process on the same boxes, taking turns, so
that a busy machine meets both alike; the ratio of a row is that of the medians. hotcoco alone means
its own calls on what it reads: JSON documents already parsed, or the arrays of `from_arrays`.
Images come from seed 0: 7 labels and 20 detections each, a third of the labels are found.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import hotcoco
import numpy as np

from annoloop.core import evaluation
from annoloop.core import weighted_ap as ap
from annoloop.core.box_columns import Columns, columns
from annoloop.core.coco_columns import coco_columns
from annoloop.core.details import details
from annoloop.core.intervals import Resample
from annoloop.records import Detection, Label

PAGE = Path(__file__).resolve().parent / "evaluation.md"
CLASSES = [f"class {k}" for k in range(80)]
LABELS, DETECTIONS, DRAWS = 7, 20, 1_000


def world(images: int) -> tuple[dict, dict]:
    rng = np.random.default_rng(0)
    truth, found = {}, {}
    for k in range(images):
        corner = rng.uniform(0, 500, (DETECTIONS, 2))
        place = np.hstack([corner, rng.uniform(10, 140, (DETECTIONS, 2))])
        near = place + rng.normal(0, 3, place.shape)
        kinds, scores = rng.integers(0, 80, DETECTIONS).tolist(), rng.random(DETECTIONS).tolist()
        truth[f"{k:06d}"] = [
            Label(kind, tuple(box))
            for kind, box in zip(kinds[:LABELS], place.tolist(), strict=False)
        ]
        found[f"{k:06d}"] = [
            Detection(kind, tuple(box), score)
            for kind, box, score in zip(kinds, near.tolist(), scores, strict=True)
        ]
    return truth, found


def documents(truth: dict, found: dict) -> tuple[dict, list]:
    labels = [(k, one) for k, key in enumerate(sorted(truth)) for one in truth[key]]
    document = {
        "images": [{"id": k} for k in range(len(truth))],
        "categories": [{"id": k, "name": name} for k, name in enumerate(CLASSES)],
        "annotations": [
            {
                "id": n,
                "image_id": k,
                "category_id": one.class_id,
                "bbox": list(one.box),
                "area": one.box[2] * one.box[3],
                "iscrowd": 0,
            }
            for n, (k, one) in enumerate(labels, start=1)
        ],
    }
    results = [
        {"image_id": k, "category_id": d.class_id, "bbox": list(d.box), "score": d.score}
        for k, key in enumerate(sorted(found))
        for d in found[key]
    ]
    return document, results


def run_hotcoco(known: hotcoco.COCO, results: object) -> hotcoco.COCOeval:
    evaluator = hotcoco.COCOeval(known, known.load_res(results), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summary_lines()
    return evaluator


def explained_by_hotcoco(document: dict, results: list, slices: dict) -> None:
    evaluator = run_hotcoco(hotcoco.COCO(document), results)
    evaluator.results(per_class=True)
    evaluator.confusion_matrix(iou_thr=0.5, min_score=0.5)
    evaluator.calibration()
    evaluator.tide_errors()
    evaluator.image_diagnostics()
    evaluator.slice_by(slices)


def explained_by_us(document: dict, results: list, slices: dict) -> None:
    given = coco_columns(document, results)
    details(given, min_score=0.5, slices=slices)
    ap.counts_by_image(ap.tabulate(given), 0.5)


def clock(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the wall, and of all cores."""
    wall, cores = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cores


def measure(pairs: dict[str, tuple[Callable, Callable]], repeats: int) -> list[str]:
    rows = []
    for name, (theirs, ours) in pairs.items():
        clock(theirs), clock(ours)  # kernels are compiled, memory is there
        times = np.array([(clock(theirs), clock(ours)) for _ in range(repeats)])
        alone, mine = np.median(times, axis=0)  # each (wall, cores)
        cells = [f"{alone[k]:.2f} | {mine[k]:.2f} | {mine[k] / alone[k]:.2f}" for k in (0, 1)]
        rows.append(f"| {name} | {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    truth, found = world(asked.images)
    document, results = documents(truth, found)
    arrays = columns(truth, found, classes=CLASSES)
    half = asked.images // 2
    slices = {"first": list(range(half)), "rest": list(range(half, asked.images))}
    rows = measure(
        {
            "two documents: twelve numbers, per class": (
                lambda: run_hotcoco(hotcoco.COCO(document), results),
                lambda: evaluation.coco_metrics(document, results),
            ),
            "records of a project (hotcoco: ready arrays): twelve numbers, per class": (
                lambda: run_hotcoco(_known(arrays), _found(arrays)),
                lambda: evaluation.evaluate(truth, found, classes=CLASSES),
            ),
            "two documents: all details, per image, two slices": (
                lambda: explained_by_hotcoco(document, results, slices),
                lambda: explained_by_us(document, results, slices),
            ),
        },
        asked.repeats,
    )
    table = ap.tabulate(coco_columns(document, results))
    draws = Resample.draw(asked.images, np.random.default_rng(0), draws=DRAWS).weights
    ours = float(ap.average_precision(table).overall()[0])
    theirs = float(run_hotcoco(hotcoco.COCO(document), results).stats[0])
    for metric in ("AP50", "AP"):
        wall, cores = clock(lambda metric=metric: ap.bootstrap(table, draws, metric=metric))
        rows.append(
            f"| {DRAWS:,} image bootstraps of {metric} | | {wall:.2f} | | | {cores:.2f} | |"
        )
        print(rows[-1], flush=True)
    PAGE.write_text(
        f"# Evaluation beside hotcoco {hotcoco.__version__} alone\n\n"
        f"{asked.images:,} images, {len(document['annotations']):,} labels, {len(results):,} "
        f"detections, 80 classes, seed 0; medians of {asked.repeats} in one process, 2 cores, "
        f"taking turns; CPU seconds are those of all cores, and say the same on a busy machine. "
        f"Measured on {date.today()} by the command at the head of `evaluation.py`.\n\n"
        "| work | wall: hotcoco alone, s | annoloop, s | ratio | CPU: hotcoco alone, s | "
        "annoloop, s | ratio |\n| --- | --- | --- | --- | --- | --- | --- |\n"
        + "\n".join(rows)
        + f"\n\nAP at weight 1 differs from hotcoco's by {abs(ours - theirs):.0e}. A bootstrap by "
        "evaluating each sample anew would take the first row's time for each of its draws.\n"
    )


def _known(given: Columns) -> hotcoco.COCO:
    return hotcoco.COCO.from_arrays(
        [{"id": k} for k in range(len(given.images))],
        [{"id": k, "name": name} for k, name in enumerate(CLASSES)],
        given.truth[:, 0].astype(np.int64),
        given.truth[:, 1].astype(np.int64),
        given.truth[:, 2:],
        area=given.area,
        iscrowd=given.crowd,
    )


def _found(given: Columns) -> np.ndarray:
    return np.column_stack((given.found[:, 0], given.found[:, 2:], given.scores, given.found[:, 1]))


if __name__ == "__main__":
    main()
