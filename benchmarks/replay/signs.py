"""Road signs with a long tail, for a replay: links to the images and one file of labels.

    python benchmarks/replay/signs.py OUT [--data FOLDER] [--all]

FOLDER (by default ../shared/data beside the project) holds `road_signs/`. OUT gets images/ and
labels.json of the images that `train_longtail.json` lists and of `val.json`: 791 images of 21
classes, from 141 boxes of a class down to 19; with --all all 1,777 images, long tail or not. A
replay draws its own splits of them.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from annoloop.images import place

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def write(out: Path, root: Path, *, every: bool) -> dict:
    listed = set(json.loads((root / "train_longtail.json").read_text(encoding="utf-8")))
    rows, boxes = [], []
    for name in ("train.json", "val.json"):
        document = json.loads((root / name).read_text(encoding="utf-8"))
        numbers = {}
        for image in document["images"]:
            if every or name == "val.json" or image["file_name"] in listed:
                numbers[image["id"]] = len(rows) + 1
                rows.append(image | {"id": len(rows) + 1, "reviewed": True})
                place(
                    str(root / "images" / image["file_name"]),
                    out / "images" / rows[-1]["file_name"],
                )
        for one in document["annotations"]:
            if one["image_id"] in numbers:
                boxes.append(one | {"id": len(boxes) + 1, "image_id": numbers[one["image_id"]]})
    made = {"images": rows, "annotations": boxes, "categories": document["categories"]}
    (out / "labels.json").write_text(json.dumps(made), encoding="utf-8")
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--all", action="store_true", help="the long tail and all others")
    given = parser.parse_args()
    made = write(given.out, given.data / "road_signs", every=given.all)
    counts = sorted(Counter(one["category_id"] for one in made["annotations"]).values())
    print(f"{len(made['images'])} images, {counts[-1]} boxes of a class down to {counts[0]}")


if __name__ == "__main__":
    main()
