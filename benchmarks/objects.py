"""Do targeted picks show what failed? Whole images against objects, by the labels of the picks.

    python benchmarks/objects.py [--seeds 5]

Writes benchmarks/objects.md. One iteration of the loop by the oracle; then the next batch is chosen
dry, all of it targeted, once by whole images and once by objects, and the reference labels tell how
many picks show the class of the failure that they stand for. A seed draws splits, batches and model
anew. Real data is read from ../shared/data where it is there; digits are generated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from annoloop.project import Project
from annoloop.records import Source
from annoloop.store import samples
from annoloop.testing import make_digits

HERE = Path(__file__).resolve().parent
PAGE = HERE / "objects.md"
DATA = HERE.parent.parent / "shared" / "data"
SIZE = 60


def sources(room: Path) -> Iterator[tuple[str, Source, int]]:
    """Name, data, and the size of the first batch."""
    if DATA.is_dir():
        yield "road signs", road_signs(room), 200
        blood = DATA / "bccd" / "BCCD"
        yield "bccd", Source(str(blood / "JPEGImages"), str(blood / "Annotations"), "voc"), 40
    root = make_digits(room / "digits", images=600, seed=1)
    yield "digits", Source(str(root / "images"), str(root / "labels.json")), 60


def road_signs(room: Path) -> Source:
    """Both files of labels as one."""
    merged: dict[str, list] = {"images": [], "annotations": []}
    for number, name in enumerate(("train.json", "val.json")):
        document = json.loads((DATA / "road_signs" / name).read_text(encoding="utf-8"))
        shift = number * 10_000_000
        for image in document["images"]:
            merged["images"].append(image | {"id": image["id"] + shift})
        for one in document["annotations"]:
            ids = {"id": one["id"] + shift, "image_id": one["image_id"] + shift}
            merged["annotations"].append(one | ids)
        merged["categories"] = document["categories"]
    file = room / "signs.json"
    file.write_text(json.dumps(merged), encoding="utf-8")
    return Source(str(DATA / "road_signs" / "images"), str(file))


def hits(folder: Path, look_at: str, source: str) -> tuple[float, float]:
    """Share of picks that show the failure's class, and seconds."""
    project = Project(folder, overrides={"select": {"look_at": look_at}})
    start = time.perf_counter()
    chosen = project.select(SIZE, mix={source: 1.0}, dry_run=True)
    took = time.perf_counter() - start
    with project.store.read() as connection:
        known = samples.newest_references(connection)
    shown = [
        any(label.class_id == pick.details["class_id"] for label in known[pick.sample_id].labels)
        for pick in chosen.picks
        if "class_id" in pick.details
    ]
    return statistics.mean(shown), took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    rows: dict[tuple[str, str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as place:
        room = Path(place)
        for name, source, first in sources(room):
            for seed in range(given.seeds):
                folder = room / f"{name}-{seed}"
                Project.init(folder, source)
                file = folder / "annoloop.toml"
                text = file.read_text(encoding="utf-8")
                text = text.replace("[split]", f"[split]\nseed = {seed}")
                text = text.replace("[train]", f"[train]\nseed = {seed}")
                first_batch = f"first_size = {first}\nfirst_share = 1.0\nseed = {seed}"
                file.write_text(text.replace("[select]", f"[select]\n{first_batch}"), "utf-8")
                project = Project(folder)
                project.run(iterations=1, annotator="oracle")
                project.predict()  # so that the seconds below are those of selection
                for source_name in ("targeted", "neighbours"):
                    for look_at in ("images", "objects"):
                        share, took = hits(folder, look_at, source_name)
                        rows.setdefault((name, source_name, look_at), []).append(share)
                        print(name, seed, source_name, look_at, share, took, file=sys.stderr)
    write(rows, given.seeds)


def write(rows: dict[tuple[str, str, str], list[float]], seeds: int) -> None:
    lines = [
        "# Whole images or objects",
        "",
        f"Share of {SIZE} targeted picks whose image shows the class of the failure that the pick "
        f"stands for; mean of {seeds} seeds ± standard deviation, `pixels` vectors, `classical` "
        f"model of the first batch. Measured on {date.today().isoformat()} by the command at the "
        "head of `objects.py`.",
        "",
        "| data | source | images | objects | objects − images, mean (least – greatest) |",
        "|---|---|---|---|---|",
    ]
    for name, source, look_at in rows:
        if look_at == "objects":
            continue
        plain, cut = rows[name, source, "images"], rows[name, source, "objects"]
        gains = [100 * (b - a) for a, b in zip(plain, cut, strict=True)]
        said = [f"{statistics.mean(x):.0%} ± {statistics.stdev(x):.0%}" for x in (plain, cut)]
        lines.append(
            f"| {name} | {source} | {said[0]} | {said[1]} | {statistics.mean(gains):+.0f} points "
            f"({min(gains):+.0f} – {max(gains):+.0f}) |"
        )
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
