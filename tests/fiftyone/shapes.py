"""Datasets of tiny images on disk: bare ones, and one as the notebooks leave it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from annoloop.project import Project
from annoloop.records import Source
from annoloop.store import samples
from tests.conftest import draw_shapes

WIDTH, HEIGHT, DIM = 80, 64, 16
BOX = [10.0, 10.0, 20.0, 20.0]
CLASSES = ["square", "disc"]


def relative(box: list[float]) -> list[float]:
    x, y, w, h = box
    return [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT]


def detections(fo: Any, boxes: list[tuple[str, list[float]]]) -> Any:
    return fo.Detections(
        detections=[fo.Detection(label=name, bounding_box=relative(b)) for name, b in boxes]
    )


def drawn(root: Path, *, scenes: int = 60) -> dict[str, list[tuple[str, list[float]]]]:
    """Images below `root`/images, two almost alike of each scene; (class, box) by path."""
    draw_shapes(root, scenes=scenes)
    document = json.loads((root / "labels.json").read_text())
    names = {one["id"]: one["name"] for one in document["categories"]}
    paths = {one["id"]: one["file_name"] for one in document["images"]}
    found: dict[str, list[tuple[str, list[float]]]] = {path: [] for path in paths.values()}
    for one in document["annotations"]:
        found[paths[one["image_id"]]].append((names[one["category_id"]], one["bbox"]))
    return found


def bare(fo: Any, root: Path, *, scenes: int = 60, vectors: bool = False) -> Any:
    """Images and `ground_truth`, and nothing else unless `embeddings` are asked for."""
    rng = np.random.default_rng(0)
    dataset = fo.Dataset()
    added = []
    for path, boxes in sorted(drawn(root, scenes=scenes).items()):
        one = fo.Sample(filepath=str(root / "images" / path))
        one["ground_truth"] = detections(fo, boxes)
        if vectors:
            one["embeddings"] = rng.normal(size=DIM).astype(np.float32)
        added.append(one)
    dataset.add_samples(added, progress=False)
    return dataset


def side_of(scene: int) -> str:
    """By scene, so that images that look alike are on one side."""
    return ("golden", "val", "test", "val", "pool", "pool", "pool", "pool")[scene % 8]


def notebook(fo: Any, root: Path) -> Any:
    """Splits, vectors, zcore; v0 is done (one skipped, one pending, two empty), v1 half done.

    56 images are in the pool: 12 of v0, 10 of v1, of which 4 are annotated; the pending one of v0
    is picked again in v1.
    """
    rng = np.random.default_rng(1)
    truth = drawn(root)
    dataset = fo.Dataset()
    added, pool = [], []
    for path, boxes in sorted(truth.items()):
        scene = int(path[6:9])
        one = fo.Sample(filepath=str(root / "images" / path), tags=[f"split:{side_of(scene)}"])
        one["ground_truth"] = detections(fo, boxes)
        one["embeddings"] = rng.normal(size=DIM).astype(np.float32)
        one["zcore"] = float(rng.random())
        one["annotation_status"] = "unlabeled" if side_of(scene) == "pool" else None
        if side_of(scene) == "golden":
            one["human_labels"] = detections(fo, boxes)
        if side_of(scene) == "pool":
            pool.append((one, boxes))
        added.append(one)
    for place, (one, boxes) in enumerate(pool[:12]):
        source = "coverage"
        status = "skipped" if place == 0 else "pending" if place == 1 else "annotated"
        one.tags += ["batch:v0", f"source:{source}"]
        one["annotation_status"] = status
        if status == "annotated":
            one.tags.append("annotated:v0")
            empty = place in (2, 3)
            if place != 2:  # one empty has no field, the other an empty list
                one["human_labels"] = detections(fo, [] if empty else boxes)
    again = [pool[1], *pool[12:21]]
    for place, (one, boxes) in enumerate(again):
        done = 1 <= place <= 4
        one.tags += ["batch:v1", "source:pending" if place == 0 else "source:targeted"]
        one["annoloop_reason"] = f"looks like failure {place}"
        one["annotation_status"] = "annotated" if done else "selected"
        one.tags.append("annotated:v1" if done else "to_annotate")
        if done:
            one["human_labels"] = detections(fo, boxes)
    dataset.add_samples(added, progress=False)
    val = dataset.match_tags("split:val").limit(5)
    val.tag_samples("failure:high_fn")
    for view, tag in (
        ("pool", "split:pool"),
        ("golden_qa", "split:golden"),
        ("val_set", "split:val"),
        ("test_set", "split:test"),
        ("batch_v0", "batch:v0"),
        ("batch_v1", "batch:v1"),
        ("eval_v0_failures", "failure:high_fn"),
    ):
        dataset.save_view(view, dataset.match_tags(tag))
    dataset.info["annotation_schema"] = {"classes": CLASSES, "field_name": "human_labels"}
    dataset.info["golden_qa_history"] = [
        {
            "iteration": 0,
            "samples_with_labels": 9,
            "total_detections": 14,
            "top_classes": {"square": 8, "disc": 6},
        }
    ]
    dataset.info["eval_v0"] = {"mAP": 0.25, "train_samples": 10, "val_samples": 30}
    dataset.save()
    return dataset


def init(folder: Path, dataset: Any, **more: Any) -> tuple[Project, Any]:
    overrides = more.pop("overrides", None)
    group = more.pop("group", "none")
    source = Source(dataset=dataset if isinstance(dataset, str) else dataset.name, **more)
    return Project.init(folder, source, overrides=overrides, group=group)


def stored(project: Project) -> dict[str, Any]:
    """Samples by FiftyOne's id."""
    with project.store.read() as connection:
        return {s.external_id: s for s in samples.load(connection)}


def raw(dataset: Any) -> list[Any]:
    """Everything in the database, but for when it was touched."""
    dataset.reload()
    docs = list(dataset._sample_collection.find().sort("_id"))
    for one in docs:
        one.pop("last_modified_at")
    views = {name: str(dataset.load_saved_view(name)) for name in dataset.list_saved_views()}
    return [docs, views, dict(dataset.info)]


def nothing(made: Any) -> bool:
    return not (any(made.changed.values()) or made.views or made.info or made.conflicts)
