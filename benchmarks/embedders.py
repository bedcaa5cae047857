"""Do neighbours mean the same? Nearest-neighbour class purity, and images a second, by embedder.

    python benchmarks/embedders.py --data FOLDER [--threads 2]

Writes benchmarks/embedders.md. FOLDER (or the environment variable BENCH_DATA) holds `road_signs/`
(COCO `train.json`, `images/`) and `fastestdet/FastestDet.onnx`; without it nothing is measured. An
image's class is that of its largest box; a row is pure if its nearest neighbour by cosine, itself
left out, has the same. The `onnx` rows need the extra `onnx` (`make install-models`). Each embedder
runs in a process of its own, on `--threads` threads; rates are the best of `--repeats` runs.
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

HERE = Path(__file__).resolve().parent
PAGE = HERE / "embedders.md"
FASTESTDET = {"channels": "BGR", "divide": 255}
LAYERS = {
    "three stages": ("input.508", "mean"),
    "three stages, mean and max": ("input.508", "mean+max"),
    "last stage": ("input.504", "mean"),
    "before the heads": ("onnx::Conv_735", "mean"),
    "its output": ("758", "mean"),
}
"""Tensors of FastestDet.onnx, and how their places are pooled."""


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
    args = parser.parse_args()
    if args.data is None or not (args.data / "road_signs" / "train.json").is_file():
        print("no data: name its folder with --data or BENCH_DATA; nothing was measured")
        return 0
    if args.one:
        kind, options = json.loads(args.one)
        print(json.dumps(measure(args.data, kind, options, args.repeats)))
        return 0
    rows = []
    with tempfile.TemporaryDirectory() as room:
        for what, kind, options in rivals(args.data, Path(room), args.threads):
            command = [sys.executable, __file__, "--data", str(args.data)]
            command += ["--repeats", str(args.repeats), "--one", json.dumps([kind, options])]
            run = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append((what, json.loads(run.stdout)))
            print(what, rows[-1][1], flush=True)
    counts = Counter(labelled(args.data)[1].tolist())
    if len(rows) > 1 or not PAGE.exists():  # do not replace the whole page by the half that ran
        PAGE.write_text(page(rows, max(counts.values()) / sum(counts.values()), args), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
