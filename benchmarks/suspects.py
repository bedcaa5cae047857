"""Planted label errors: how many of the likeliest suspects are errors, against blind picks.

    python benchmarks/suspects.py [BCCD]

Writes benchmarks/suspects.md. Generated digits have 4 % of their labels dropped, 4 % swapped, 4 %
moved, and 6 % of the images one label too many; with the folder of the BCCD data set (Annotations,
JPEGImages) half of its red cells lose their label. Trainer `classical`, five folds.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from annoloop import plugins
from annoloop.adapters.classical import ClassicalTrainer
from annoloop.core.folds import assign_folds
from annoloop.core.matching import iou_matrix
from annoloop.core.suspects import Suspect, by_image, suspects
from annoloop.ports import silent
from annoloop.records import Box, Detection, Label, LabeledImage, sample_id
from annoloop.testing import CLASSES, labeled_digits, make_digits

PAGE = Path(__file__).resolve().with_suffix(".md")
FOLDS, SEEDS, IMAGES = 5, (1, 2, 3), 480
TOPS = (20, 50, 100)

Planted = list[tuple[str, Box]]


@dataclass(frozen=True)
class Outcome:
    name: str
    labels: int
    planted: int
    blind: float
    precision: dict[int, float]
    blind_image: float
    image: float
    seconds: float


def spoil_digits(
    images: Sequence[LabeledImage], rng: np.random.Generator
) -> tuple[list[LabeledImage], Planted]:
    planted: Planted = []
    spoiled = []
    for image in images:
        kept = []
        for label in image.labels:
            draw, (x, y, w, h) = rng.random(), label.box
            if draw < 0.04:
                planted.append((image.sample_id, label.box))
                continue
            if draw < 0.08:
                label = Label((label.class_id + int(rng.integers(1, 10))) % 10, label.box)
            elif draw < 0.12:
                label = Label(label.class_id, (x + 0.5 * w, y + 0.4 * h, w, h))
            if draw < 0.12:
                planted.append((image.sample_id, label.box))
            kept.append(label)
        if rng.random() < 0.06:
            left, top = rng.integers(0, image.width - 30), rng.integers(0, image.height - 40)
            box = (float(left), float(top), 24.0, 34.0)
            if not touches(box, [one.box for one in image.labels], 0.1):
                kept.append(Label(int(rng.integers(10)), box))
                planted.append((image.sample_id, box))
        spoiled.append(replace(image, labels=tuple(kept)))
    return spoiled, planted


def half_of_the_red_cells(
    folder: Path, rng: np.random.Generator
) -> tuple[list[LabeledImage], Planted, tuple[str, ...]]:
    found = plugins.make("readers", "voc", {}).read(folder / "Annotations")
    red = found.classes.index("RBC")
    planted: Planted = []
    images = []
    for one in found.images:
        key = sample_id(one.path)
        gone = [label.class_id == red and rng.random() < 0.5 for label in one.labels]
        pairs = list(zip(one.labels, gone, strict=True))
        planted += [(key, label.box) for label, dropped in pairs if dropped]
        file = folder / "JPEGImages" / PurePosixPath(one.path).name
        labels = tuple(label for label, dropped in pairs if not dropped)
        image = LabeledImage(key, one.path, str(file), one.width or 0, one.height or 0, labels)
        images.append(replace(image, reviewed=True))
    return images, planted, found.classes


def touches(box: Box, boxes: Sequence[Box], least: float) -> bool:
    return bool(boxes) and float(iou_matrix([box], boxes).max()) >= least


def out_of_fold(
    images: Sequence[LabeledImage], classes: Sequence[str]
) -> dict[str, tuple[Detection, ...]]:
    groups = [image.group or image.sample_id for image in images]
    counts = [np.bincount([o.class_id for o in i.labels], minlength=len(classes)) for i in images]
    fold = assign_folds(
        [image.sample_id for image in images],
        units=np.unique(groups, return_inverse=True)[1].astype(np.int64),
        boxes=np.array(counts),
        folds=FOLDS,
        rng=np.random.default_rng(0),
    )
    trainer = ClassicalTrainer()
    found: dict[str, tuple[Detection, ...]] = {}
    for number in range(FOLDS):
        seen = [one for one, f in zip(images, fold, strict=True) if f != number]
        mine = [replace(o, labels=()) for o, f in zip(images, fold, strict=True) if f == number]
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            trainer.fit(seen, classes=classes, folder=folder, seed=0, progress=silent)
            found |= dict(trainer.predict(folder, mine, classes=classes, progress=silent))
    return found


def judge(
    name: str, images: Sequence[LabeledImage], planted: Planted, classes: Sequence[str]
) -> Outcome:
    started = time.perf_counter()
    said = out_of_fold(images, classes)
    ranked = suspects({image.sample_id: image.labels for image in images}, said)
    by_key: dict[str, list[Box]] = {}
    for key, box in planted:
        by_key.setdefault(key, []).append(box)

    def hit(one: Suspect) -> bool:
        return touches(one.box, by_key.get(one.sample_id, []), 0.5)

    hits = [hit(one) for one in ranked]
    tops = [top for top in TOPS if top <= len(planted)] + [len(planted)]
    worst = list(by_image(one for one in ranked if one.suspicion >= 0.05))[:30]
    labels = sum(len(image.labels) for image in images)
    return Outcome(
        name,
        labels,
        len(planted),
        sum(hits) / len(hits),
        {top: sum(hits[:top]) / top for top in tops},
        len(by_key) / len(images),
        sum(key in by_key for key in worst) / len(worst),
        time.perf_counter() - started,
    )


def digits(seed: int) -> Outcome:
    with tempfile.TemporaryDirectory() as made:
        root = make_digits(Path(made) / "digits", images=IMAGES, seed=seed)
        images = [
            replace(one, group=str(PurePosixPath(one.path).parent)) for one in labeled_digits(root)
        ]
        spoiled, planted = spoil_digits(images, np.random.default_rng(seed))
        return judge(f"digits, seed {seed}", spoiled, planted, CLASSES)


def page(found: Sequence[Outcome]) -> str:
    lines = [
        "# Planted label errors, and how many of the likeliest suspects are one",
        "",
        "`python benchmarks/suspects.py BCCD` (the folder of the BCCD data set). Trainer "
        f"`classical`, {FOLDS} folds, whole scenes in one fold. A suspect is right if it lies on a "
        "planted error (IoU 0.5). Blind: any suspect of the whole list, or any image.",
        "",
        "| data | labels | planted | blind | top 20 | top 50 | top 100 | as many as planted "
        "| images, blind | the 30 worst images | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        cells = [f"{one.precision[top]:.0%}" if top in one.precision else "–" for top in TOPS]
        cells += [f"{one.precision[one.planted]:.0%}", f"{one.blind_image:.0%}", f"{one.image:.0%}"]
        start = f"| {one.name} | {one.labels} | {one.planted} | {one.blind:.0%} | "
        lines.append(start + " | ".join(cells) + f" | {one.seconds:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    found = [digits(seed) for seed in SEEDS]
    if len(sys.argv) > 1:
        images, planted, classes = half_of_the_red_cells(
            Path(sys.argv[1]), np.random.default_rng(0)
        )
        found.append(judge("BCCD, half of the red cells unlabelled", images, planted, classes))
    text = page(found)
    print(text)
    if len(sys.argv) > 1:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
