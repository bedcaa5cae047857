"""Do neighbours mean the same? Nearest-neighbour class purity, and images a second, by embedder.

    python benchmarks/embedders.py --data FOLDER [--threads 2]

Writes benchmarks/embedders.md. FOLDER (or the environment variable BENCH_DATA) holds `road_signs/`
(COCO `train.json`, `images/`) and `fastestdet/FastestDet.onnx`; without it nothing is measured. An
image's class is that of its largest box; a row is pure if its nearest neighbour by cosine, itself
left out, has the same. The `onnx` rows need the extra `onnx` (`make install-models`). Each embedder
runs in a process of its own, on `--threads` threads; rates are the best of `--repeats` runs.

    python benchmarks/embedders.py --data FOLDER --detectors KEPT [--only detectors]

trains networks on half of the images first, on the processor (KEPT holds them for the next time),
and measures `detector` on the other half, beside `pixels` on the same: images that a model was
trained on would flatter it. Regions are the largest box of each image.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np

from annoloop.ports import silent
from annoloop.records import Label, LabeledImage, sample_id

HERE = Path(__file__).resolve().parent
PAGE = HERE / "embedders.md"
MARK = "## `detector`"
FASTESTDET = {"channels": "BGR", "divide": 255}
LAYERS = {
    "three stages": ("input.508", "mean"),
    "three stages, mean and max": ("input.508", "mean+max"),
    "last stage": ("input.504", "mean"),
    "before the heads": ("onnx::Conv_735", "mean"),
    "its output": ("758", "mean"),
}
"""Tensors of FastestDet.onnx, and how their places are pooled."""


SIDE = 160
TRAINED = {
    "ultralytics": {"model": "yolo11n.yaml", "epochs": 30, "side": SIDE, "holdout": 0},
    "classical": {},
}
"""From scratch: nothing is downloaded. TorchVision's learn too little in minutes to be shown."""


def labelled(data: Path) -> tuple[list[str], np.ndarray]:
    """Files of road_signs/train.json with a box, and the class of the largest."""
    root = data / "road_signs"
    document = json.loads((root / "train.json").read_text(encoding="utf-8"))
    largest: dict[int, tuple[float, int]] = {}
    for row in document["annotations"]:
        area = row["bbox"][2] * row["bbox"][3]
        largest[row["image_id"]] = max(
            largest.get(row["image_id"], (0.0, 0)), (area, row["category_id"])
        )
    images = [one for one in document["images"] if one["id"] in largest]
    files = [str(root / "images" / one["file_name"]) for one in images]
    return files, np.array([largest[one["id"]][1] for one in images])


def purity(rows: np.ndarray, classes: np.ndarray) -> float:
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    similar = rows @ rows.T
    np.fill_diagonal(similar, -np.inf)
    return float((classes[similar.argmax(axis=1)] == classes).mean())


def measure(data: Path, kind: str, options: dict, repeats: int) -> dict:
    """One embedder on all files: its width, purity, best rate."""
    from annoloop import plugins

    files, classes = labelled(data)
    embedder = plugins.make("embedders", kind, options)
    embedder.embed(files[:32])  # libraries and files are warm
    rate = 0.0
    for _ in range(repeats):
        started = time.perf_counter()
        rows = embedder.embed(files)
        rate = max(rate, len(files) / (time.perf_counter() - started))
    found = {"name": embedder.name, "width": rows.shape[1], "images": len(files)}
    return found | {"purity": purity(rows, classes), "rate": rate}


def signs(data: Path) -> tuple[list[LabeledImage], list[str]]:
    """All images of train.json with their boxes, and the classes."""
    root = data / "road_signs"
    document = json.loads((root / "train.json").read_text(encoding="utf-8"))
    names = sorted((one["id"], one["name"]) for one in document["categories"])
    number = {key: i for i, (key, _) in enumerate(names)}
    labels: dict[int, list[Label]] = {}
    for row in document["annotations"]:
        label = Label(number[row["category_id"]], tuple(row["bbox"]))
        labels.setdefault(row["image_id"], []).append(label)
    images = [
        LabeledImage(
            sample_id(one["file_name"]),
            one["file_name"],
            str(root / "images" / one["file_name"]),
            one["width"],
            one["height"],
            tuple(labels.get(one["id"], ())),
            True,
        )
        for one in document["images"]
    ]
    return images, [name for _, name in names]


def measure_detector(data: Path, kept: Path, kind: str, repeats: int) -> dict:
    """A model of half of the images, and what neighbours by its vectors share on the other half."""
    from annoloop import plugins
    from annoloop.core.evaluation import evaluate

    images, classes = signs(data)
    order = np.random.default_rng(0).permutation(len(images))
    half, other = (sorted(part) for part in np.split(order, [len(images) // 2]))
    fresh = [images[i] for i in other if images[i].labels]
    files = [image.file for image in fresh]
    largest = [max(image.labels, key=lambda one: one.box[2] * one.box[3]) for image in fresh]
    kinds = np.array([label.class_id for label in largest])
    found: dict = {"images": len(fresh)}
    if kind == "pixels":
        embedder = plugins.make("embedders", "pixels", {})
    else:
        trainer, folder = plugins.make("trainers", kind, TRAINED[kind]), kept / kind
        if not (folder / "manifest.json").exists():
            shown = [images[i] for i in half]
            how = {"classes": classes, "folder": folder, "seed": 0, "progress": silent}
            card = trainer.fit(shown, **how)
            (kept / f"{kind}.json").write_text(json.dumps(card.seconds), encoding="utf-8")
        found["minutes"] = json.loads((kept / f"{kind}.json").read_text(encoding="utf-8")) / 60
        said = dict(trainer.predict(folder, fresh, classes=classes, progress=silent))
        truth = {image.sample_id: image.labels for image in fresh}
        found["AP50"] = evaluate(truth, said, classes=classes).summary["AP50"]
        embedder = plugins.make("embedders", "detector", {}).of(trainer, folder, classes=classes)
    embedder.embed(files[:8])
    rate = 0.0
    for _ in range(repeats):
        started = time.perf_counter()
        rows = embedder.embed(files)
        rate = max(rate, len(files) / (time.perf_counter() - started))
    boxes = [[tuple(map(round, label.box))] for label in largest]
    regions = embedder.embed_crops(files, boxes)
    found |= {"width": rows.shape[1], "rate": rate, "purity": purity(rows, kinds)}
    return found | {"regions": purity(regions, kinds)}


def rivals(data: Path, room: Path, threads: int) -> list[tuple[str, str, dict]]:
    """What is called what, with which options: the built-in one, and layers of FastestDet."""
    found: list[tuple[str, str, dict]] = [("pixels", "pixels", {"threads": threads})]
    model = data / "fastestdet" / "FastestDet.onnx"
    if importlib.util.find_spec("onnxruntime") is None or not model.is_file():
        return found
    for layer, (tensor, pooling) in LAYERS.items():
        about = room / f"{layer}.json"
        manifest = FASTESTDET | {"output": tensor, "pooling": pooling}
        about.write_text(json.dumps(manifest), encoding="utf-8")
        options = {"model": str(model), "manifest": str(about), "threads": threads}
        found.append((f"onnx, FastestDet, {layer}", "onnx", options))
    return found


def detector_page(rows: list[tuple[str, dict]]) -> list[str]:
    lines = [
        f"{MARK}: on images that it was not trained on",
        "",
        f"`python benchmarks/embedders.py --data FOLDER --detectors KEPT --only detectors`, "
        f"{date.today()}, {rows[0][1]['images']} of the photographs; models were trained on the "
        f"others, from scratch, on the processor, networks at {SIDE} pixels. Regions: the largest "
        "box of each image, described alone.",
        "",
        "| vectors of | minutes of training | its AP50 | width | purity | of regions | images a "
        "second |",
        "|---|---|---|---|---|---|---|",
    ]
    for what, row in rows:
        trained = f"{row['minutes']:.0f} | {row['AP50']:.3f}" if "AP50" in row else "– | –"
        shares = f"{row['purity']:.1%} | {row['regions']:.1%}"
        lines.append(f"| {what} | {trained} | {row['width']} | {shares} | {row['rate']:.0f} |")
    lines += [
        "",
        "Minutes and rates are of two cores that others kept busy, and the network was trained at "
        "the lowest priority. That levels weigh by their scores was chosen on these photographs. "
        "What a model's vectors are worth follows what the model is worth: one that finds little "
        "takes the wrong things for alike.",
    ]
    return lines


def page(rows: list[tuple[str, dict]], chance: float, args: argparse.Namespace) -> str:
    lines = [
        "# Embedders: do neighbours mean the same?",
        "",
        f"`python benchmarks/embedders.py --data FOLDER --threads {args.threads}`, {date.today()}, "
        f"{rows[0][1]['images']} road-sign photographs of 416 × 416 pixels, 21 classes.",
        "Purity: share of images whose nearest neighbour (cosine, itself left out) shows the class "
        f"of their own largest box; the most frequent class alone is {chance:.0%}.",
        "",
        "| embedder | width | purity | images a second |",
        "|---|---|---|---|",
    ]
    for what, row in rows:
        purity, rate = f"{row['purity']:.1%}", f"{row['rate']:.0f}"
        lines.append(f"| {what} | {row['width']} | {purity} | {rate} |")
    lines += [
        "",
        "FastestDet is a detector of 80 everyday classes in 1 MB, trained without road signs; "
        "`pixels` was tuned on these very photographs. Rates include reading and decoding the JPEG "
        "files, on two cores that others use too: compare rows, not with other machines.",
    ]
    if len(rows) == 1:
        lines += ["", "onnxruntime or the model were not there: `pixels` alone."]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=os.environ.get("BENCH_DATA"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--one", help="measure this one (JSON) and print what was found")
    parser.add_argument("--detectors", type=Path, help="train models too, and keep them here")
    parser.add_argument("--only", choices=("embedders", "detectors"))
    args = parser.parse_args()
    if args.data is None or not (args.data / "road_signs" / "train.json").is_file():
        print("no data: name its folder with --data or BENCH_DATA; nothing was measured")
        return 0
    if args.one:
        kind, options = json.loads(args.one)
        if kind == "detector":
            found = measure_detector(args.data, args.detectors, options, args.repeats)
        else:
            found = measure(args.data, kind, options, args.repeats)
        print(json.dumps(found))
        return 0
    if args.only != "detectors":
        measure_embedders(args)
    if args.detectors is not None and args.only != "embedders":
        args.detectors.mkdir(parents=True, exist_ok=True)
        kinds = ["pixels", "classical"]
        kinds += ["ultralytics"] if importlib.util.find_spec("ultralytics") else []
        rows = [(kind, apart(args, "detector", kind)) for kind in kinds]
        before = PAGE.read_text(encoding="utf-8").partition(MARK)[0].rstrip()
        PAGE.write_text("\n".join([before, "", *detector_page(rows), ""]), encoding="utf-8")
    return 0


def measure_embedders(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as room:
        rows = [
            (what, apart(args, kind, options))
            for what, kind, options in rivals(args.data, Path(room), args.threads)
        ]
    counts = Counter(labelled(args.data)[1].tolist())
    if len(rows) > 1 or not PAGE.exists():  # do not replace the whole page by the half that ran
        rest = PAGE.read_text(encoding="utf-8").partition(MARK) if PAGE.exists() else ("", "", "")
        text = page(rows, max(counts.values()) / sum(counts.values()), args)
        PAGE.write_text(text + ("\n" + MARK + rest[2] if rest[1] else ""), encoding="utf-8")


def apart(args: argparse.Namespace, kind: str, options: object) -> dict:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--data", str(args.data)]
    command += ["--repeats", str(args.repeats), "--one", json.dumps([kind, options])]
    command += ["--detectors", str(args.detectors)] if args.detectors else []
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict = json.loads(run.stdout.splitlines()[-1])
    print(kind, options, found, flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
