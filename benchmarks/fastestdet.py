"""FastestDet, fine-tuned by examples/fastestdet, beside `classical`: AP by labelled images.

    .venv-models/bin/python benchmarks/fastestdet.py [--sizes 60,200,0] [--seeds 2]

Writes benchmarks/fastestdet.md. Both trainers get the same images, drawn by the seed (0: all), and
are measured on images that neither saw: road_signs/val.json, and a fixed third of bccd. Data is
read from ../shared/data (or the environment variable BENCH_DATA); without it nothing is measured.
Needs `make install-models`. Features are kept in --cache, so that a second run only trains; seconds
are given with the features there.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np

from annoloop.adapters.classical import ClassicalTrainer
from annoloop.adapters.coco import CocoReader
from annoloop.adapters.command import CommandTrainer
from annoloop.adapters.voc import VocReader
from annoloop.core.evaluation import evaluate
from annoloop.images import size
from annoloop.ports import Trainer, silent
from annoloop.records import LabeledImage

HERE = Path(__file__).resolve().parent
PAGE = HERE / "fastestdet.md"
DATA = Path(os.environ.get("BENCH_DATA", HERE.parent.parent / "shared" / "data"))
PROGRAM = HERE.parent / "examples" / "fastestdet" / "train.py"
Set = tuple[Sequence[str], list[LabeledImage], list[LabeledImage]]


def road_signs(*, tail: bool = False) -> Set:
    """Classes, training images (the long tail alone if asked), test images."""
    root = DATA / "road_signs"
    parts = [CocoReader().read(root / name) for name in ("train.json", "val.json")]
    train, test = (labelled(one.images, root / "images") for one in parts)
    if tail:
        listed = set(json.loads((root / "train_longtail.json").read_text(encoding="utf-8")))
        train = [one for one in train if one.path in listed]
    return parts[0].classes, train, test


def bccd() -> Set:
    root = DATA / "bccd" / "BCCD"
    found = VocReader().read(root / "Annotations")
    images = labelled(found.images, root / "JPEGImages")
    order = np.random.default_rng(0).permutation(len(images))
    third = len(images) // 3
    drawn = [[images[i] for i in part] for part in (order[third:], order[:third])]
    return found.classes, drawn[0], drawn[1]


def labelled(images: Sequence, folder: Path) -> list[LabeledImage]:
    made = []
    for one in images:
        file = folder / one.path
        sides = size(str(file))
        key = f"i{len(made):05d}"
        made.append(LabeledImage(key, one.path, str(file), *sides, one.labels, True))
    return made


def measured(trainer: Trainer, data: Set, train: list[LabeledImage], seed: int) -> dict:
    classes, _, test = data
    with tempfile.TemporaryDirectory() as room:
        seconds, marks = [], [cpu()]
        began = time.perf_counter()
        trainer.fit(train, classes=classes, folder=Path(room), seed=seed, progress=silent)
        seconds.append(time.perf_counter() - began)
        marks.append(cpu())
        asked = trainer.predict(Path(room), test, classes=classes, progress=silent)
        found = dict(asked)
        marks.append(cpu())
    summary = evaluate({one.sample_id: one.labels for one in test}, found, classes=classes).summary
    return {
        "AP": summary["AP"],
        "AP50": summary["AP50"],
        "train": marks[1] - marks[0],
        "predict": marks[2] - marks[1],
    }


def cpu() -> float:
    """Seconds of CPU time of this process and of those that it started and that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def page(rows: dict, seeds: int, command: str) -> str:
    lines = [
        "# FastestDet fine-tuned on a CPU, and `classical`",
        "",
        f"`{command}`, {date.today()}. Means of {seeds} seeds, which draw the images and train "
        "(± standard deviation). Seconds are CPU time, with the features of FastestDet's frozen "
        "layers in the cache; computing them first is another 10 ms an image and view.",
        "",
        "| data | images | trainer | AP50 | AP | train | predict all test images |",
        "|---|---|---|---|---|---|---|",
    ]
    for (data, count, name), found in rows.items():
        said = []
        for key in ("AP50", "AP"):
            values = [one[key] for one in found]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            said.append(f"{statistics.mean(values):.3f}{spread}")
        took = [f"{statistics.mean(one[k] for one in found):.1f} s" for k in ("train", "predict")]
        lines.append(f"| {data} | {count} | {name} | {' | '.join([*said, *took])} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="60,200,0")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--network", type=Path, default=DATA / "fastestdet" / "FastestDet.onnx")
    parser.add_argument("--cache", type=Path, default=HERE.parent / "build" / "features")
    parser.add_argument("--sets", default="road signs,long tail,bccd")
    parser.add_argument("--extra", nargs="*", default=[], help="more words for train.py")
    parser.add_argument("--no-page", action="store_true")
    args = parser.parse_args()
    if not args.network.is_file() or not (DATA / "road_signs").is_dir():
        print("no data: name its folder with BENCH_DATA; nothing was measured")
        return 0
    command = [sys.executable, str(PROGRAM), "--network", str(args.network)]
    command += ["--cache", str(args.cache), *args.extra]
    known = {
        "road signs": road_signs,
        "long tail": lambda: road_signs(tail=True),
        "bccd": bccd,
    }
    rows: dict[tuple[str, int, str], list[dict]] = {}
    for name in args.sets.split(","):
        data = known[name]()
        for count in map(int, args.sizes.split(",")):
            if count > len(data[1]):
                continue
            for seed in range(args.seeds):
                rng = np.random.default_rng(seed)
                drawn = rng.permutation(len(data[1]))[: count or None]
                train = [data[1][i] for i in sorted(drawn)]
                for said, trainer in (
                    ("classical", ClassicalTrainer()),
                    ("FastestDet", CommandTrainer(command)),
                ):
                    found = measured(trainer, data, train, seed)
                    rows.setdefault((name, len(train), said), []).append(found)
                    print(name, len(train), said, seed, found, flush=True)
    if not args.no_page:
        PAGE.write_text(page(rows, args.seeds, " ".join(["python", *sys.argv])), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
