"""Does mining failures on val flatter val? The gain on `mine` beside the gain on `gauge`.

    python benchmarks/leak.py [--seeds 40] [--torn 12] [--folder FOLDER] [--page-only]

Experiment 16 of the method notes in small, with the trainer `classical` on generated digits. Writes
benchmarks/leak.json after every seed, goes on where it stopped, and makes benchmarks/leak.md of it.

A seed deals 1,500 images anew: 150 to mine, 150 to gauge, 30 to start with, the rest is the pool.
Three times 25 images are added, either the nearest neighbours of the failures on mine or at random,
and AP50 is read on both halves. Random picks know neither half, so their difference is the noise
and nothing else: the same seeds, the same halves, the same start. In the world `whole` scenes are
dealt whole, as annoloop does; in `torn` frames of one scene lie on both sides, which is the leak
that the split rule keeps out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from annoloop.adapters.classical import ClassicalTrainer
from annoloop.adapters.pixels import PixelsEmbedder
from annoloop.core.evaluation import operating_point
from annoloop.core.failures import describe, find_failures, tide_prices
from annoloop.core.targeting import Query, rank_neighbours
from annoloop.core.weighted_ap import average_precision, prepare
from annoloop.ports import silent
from annoloop.records import Detection, LabeledImage
from annoloop.testing import CLASSES, labeled_digits, make_digits

HERE = Path(__file__).resolve().parent
STORE, PAGE = HERE / "leak.json", HERE / "leak.md"
IMAGES, HALF, START, ROUNDS, BATCH = 1_500, 150, 30, 3, 25
WORLDS, ARMS = ("whole", "torn"), ("mined", "random")


@dataclass(frozen=True)
class World:
    """The images, their vectors (n, d), the trainer, which remembers them, and a folder."""

    images: Sequence[LabeledImage]
    vectors: NDArray[np.float32]
    trainer: ClassicalTrainer
    folder: Path

    def fit_and_find(self, train: list[int], look: list[int]) -> dict[int, tuple[Detection, ...]]:
        images = [self.images[i] for i in sorted(train)]
        self.trainer.fit(images, classes=CLASSES, folder=self.folder, seed=0, progress=silent)
        asked = [self.images[i] for i in look]
        found = self.trainer.predict(self.folder, asked, classes=CLASSES, progress=silent)
        return {i: one for i, (_, one) in zip(look, found, strict=True)}


def deal(world: World, seed: int, *, whole: bool) -> dict[str, list[int]]:
    """Mine, gauge, start and pool by position; scenes whole, or frames each for themselves."""
    rng = np.random.default_rng(seed)
    units: dict[str, list[int]] = {}
    for place, image in enumerate(world.images):
        units.setdefault(str(Path(image.path).parent) if whole else image.path, []).append(place)
    names = sorted(units)
    order = [place for k in rng.permutation(len(names)) for place in units[names[k]]]
    dealt: dict[str, list[int]] = {"mine": [], "gauge": [], "start": [], "pool": []}
    sizes = {"mine": HALF, "gauge": HALF, "start": START, "pool": IMAGES}
    sides = iter(dealt)
    side, scene = next(sides), None
    for place in order:
        here = Path(world.images[place].path).parent if whole else place
        if len(dealt[side]) >= sizes[side] and here != scene:
            side = next(sides)
        dealt[side].append(place)
        scene = here
    return dealt


def ap50(world: World, side: list[int], found: dict[int, tuple[Detection, ...]]) -> float:
    truth = {f"{i:05d}": world.images[i].labels for i in side}
    table = prepare(truth, {f"{i:05d}": found[i] for i in side}, classes=CLASSES)
    return float(average_precision(table, metric="AP50").overall("AP50")[0])


def near_failures(
    world: World, mine: list[int], found: dict[int, tuple[Detection, ...]], pool: list[int]
) -> list[int]:
    truth = {f"{i:05d}": world.images[i].labels for i in mine}
    seen = {f"{i:05d}": found[i] for i in mine}
    least = operating_point(truth, seen)
    counted = {key: [d for d in rows if d.score >= least] for key, rows in seen.items()}
    prices = tide_prices(truth, counted, classes=CLASSES)
    queries = [
        Query(one, describe(one, CLASSES), one.sample_id, world.vectors[int(one.sample_id)])
        for one in find_failures(truth, seen, min_score=least, prices=prices)
    ]
    near = rank_neighbours(queries, world.vectors[pool], want=BATCH)
    return [pool[k] for k in near.positions.tolist()]


def run(world: World, seed: int, *, whole: bool) -> dict[str, dict[str, float]]:
    """AP50 on both halves at the start and after each arm."""
    dealt = deal(world, seed, whole=whole)
    look = dealt["mine"] + dealt["gauge"]
    first = world.fit_and_find(dealt["start"], look)
    halves = ("mine", "gauge")
    made = {"start": {half: ap50(world, dealt[half], first) for half in halves}}
    for arm in ARMS:
        rng = np.random.default_rng([seed, 1])
        train, pool, found = list(dealt["start"]), list(dealt["pool"]), first
        for _ in range(ROUNDS):
            if arm == "mined":
                picks = near_failures(world, dealt["mine"], found, pool)
            else:
                picks = rng.choice(pool, BATCH, replace=False).tolist()
            train += picks
            pool = sorted(set(pool) - set(picks))
            found = world.fit_and_find(train, look)
        made[arm] = {half: ap50(world, dealt[half], found) for half in halves}
    return made


def page(rows: dict[str, dict[str, dict[str, float]]]) -> str:
    lines = [
        "# Does mining failures on val flatter val?",
        "",
        f"Generated digits, trainer `classical`, {IMAGES:,} images, mine and gauge of {HALF}, "
        f"{ROUNDS} × {BATCH} images on top of {START}. Gains in AP50 points, mean over the seeds; "
        "made by the command at the head of `leak.py`.",
        "",
        "| scenes | picks | seeds | gain on mine | gain on gauge | flattery: mine − gauge "
        "(95 %) | against random, paired (95 %) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in WORLDS:
        found = [row for key, row in sorted(rows.items()) if key.startswith(name)]
        if len(found) < 2:
            continue
        gains = {
            arm: np.array([
                [100 * (row[arm][half] - row["start"][half]) for half in ("mine", "gauge")]
                for row in found
            ])
            for arm in ARMS
        }  # fmt: skip
        flattery = {arm: gains[arm][:, 0] - gains[arm][:, 1] for arm in ARMS}
        for arm in ARMS:
            on_mine, on_gauge = gains[arm].mean(axis=0)
            paired = interval(flattery[arm] - flattery["random"]) if arm != "random" else ""
            lines.append(
                f"| {name} | {arm} | {len(found)} | {on_mine:.1f} | {on_gauge:.1f} | "
                f"{interval(flattery[arm])} | {paired} |"
            )
    return "\n".join(lines) + "\n"


def interval(values: NDArray[np.float64]) -> str:
    """Mean and Student's 95 % interval over the seeds."""
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    mean = values.mean()
    return f"{mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f})"


def write(file: Path, text: str) -> None:
    part = file.with_name(file.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--torn", type=int, default=12)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "digits-leak")
    parser.add_argument("--page-only", action="store_true")
    asked = parser.parse_args()
    rows = json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}
    wanted = {"torn": asked.torn, "whole": asked.seeds}
    todo = [(s, w) for w, n in wanted.items() for s in range(n) if f"{w} {s:03d}" not in rows]
    todo.sort(key=lambda one: one[0])
    if todo and not asked.page_only:
        images = asked.folder / "images"
        if not (images / "labels.json").exists():
            make_digits(images, images=IMAGES, seed=0)
        shown = labeled_digits(images)
        model = asked.folder / "model"
        model.mkdir(exist_ok=True)
        vectors = PixelsEmbedder().embed([one.file for one in shown])
        world = World(shown, vectors, ClassicalTrainer(cache_mib=3_000), model)
        for seed, name in todo:
            rows[f"{name} {seed:03d}"] = run(world, seed, whole=name == "whole")
            write(STORE, json.dumps(rows, indent=1, sort_keys=True) + "\n")
            print(f"{name} {seed}: {rows[f'{name} {seed:03d}']}", flush=True)
    known = page(rows)
    tail = (
        PAGE.read_text(encoding="utf-8").partition("\n\nWhat it says")[2] if PAGE.exists() else ""
    )
    write(PAGE, known + (f"\nWhat it says{tail}" if tail else ""))
    print(known)


if __name__ == "__main__":
    main()
