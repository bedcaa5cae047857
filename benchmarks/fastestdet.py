"""FastestDet, fine-tuned by examples/fastestdet, beside `classical`: AP by labelled images.

    .venv-models/bin/python benchmarks/fastestdet.py [--sizes 60,200,0] [--seeds 2]

Writes benchmarks/fastestdet.md. Both trainers get the same images, drawn by the seed (0: all), and
are measured on images that neither saw: road_signs/val.json, and a fixed third of bccd. Data is
read from ../shared/data (or the environment variable BENCH_DATA); without it nothing is measured.
Needs `make install-models`. Seconds are CPU time with the features of the frozen layers in --cache;
they are computed before anything is measured. A run that was killed goes on: what was measured lies
in --kept.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
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
        marks = [cpu()]
        trainer.fit(train, classes=classes, folder=Path(room), seed=seed, progress=silent)
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


def read(file: Path) -> dict[str, dict]:
    """What an earlier run measured."""
    if not file.is_file():
        return {}
    return dict(json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())


def page(kept: dict[str, dict], seeds: int) -> str:
    lines = [
        "# FastestDet fine-tuned on a CPU, and `classical`",
        "",
        f"`python benchmarks/fastestdet.py --seeds {seeds}`, {date.today()}. Means of the seeds, "
        "which draw the images and train (± standard deviation; none with one seed). Seconds are "
        "CPU time of one core, "
        "start of the program included, with the features of FastestDet's frozen layers in the "
        "cache.",
        "",
        "| data | images | trainer | AP50 | AP | train | predict the test images |",
        "|---|---|---|---|---|---|---|",
    ]
    rows: dict[tuple[str, int, str], list[dict]] = {}
    for key, found in kept.items():
        data, count, name, seed = key.split("|")
        if int(seed) < seeds:
            rows.setdefault((data, int(count), name), []).append(found)
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
    parser.add_argument("--kept", type=Path, default=HERE.parent / "build" / "fastestdet.jsonl")
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
    kept = read(args.kept)
    for name in args.sets.split(","):
        data = known[name]()
        warmed = False
        for count in map(int, args.sizes.split(",")):
            if count > len(data[1]):
                continue
            for seed in range(args.seeds):
                drawn = np.random.default_rng(seed).permutation(len(data[1]))[: count or None]
                train = [data[1][i] for i in sorted(drawn)]
                for said in ("classical", "FastestDet"):
                    key = f"{name}|{len(train)}|{said}|{seed}"
                    if key in kept:
                        continue
                    if not warmed:
                        measured(CommandTrainer([*command, "--images", "1"]), data, data[1], 0)
                        warmed = True
                    trainer = ClassicalTrainer() if said == "classical" else CommandTrainer(command)
                    kept[key] = measured(trainer, data, train, seed)
                    args.kept.parent.mkdir(parents=True, exist_ok=True)
                    with args.kept.open("a", encoding="utf-8") as stream:
                        stream.write(json.dumps([key, kept[key]]) + "\n")
                    print(key, kept[key], flush=True)
    PAGE.write_text(page(kept, args.seeds), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
