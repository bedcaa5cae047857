"""The importers as functions of bytes: whatever comes in, only errors with a name come out.

A data set of several files travels as one input: its files are separated by a line `---`.
"""

from __future__ import annotations

import functools
import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from annoloop.adapters.coco import CocoReader
from annoloop.adapters.voc import VocReader
from annoloop.adapters.yolo import YoloReader
from annoloop.errors import AnnoloopError
from annoloop.project import Project
from annoloop.records import ForeignDataset, Source
from annoloop.store import batches

SIDE = 48


def png(path: Path, value: int = 0) -> None:
    """An image without any library, so that a fuzzer need not load one."""
    rows = b"".join(b"\0" + bytes([value, (7 * row) % 256, 90]) * SIDE for row in range(SIDE))
    chunks = (
        b"IHDR" + struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0),
        b"IDAT" + zlib.compress(rows),
        b"IEND",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks
        )
    )


def coco(data: bytes, folder: Path) -> None:
    (folder / "a.json").write_bytes(data)
    _checked(CocoReader().read, folder / "a.json")


def yolo(data: bytes, folder: Path) -> None:
    """data.yaml (left out if empty), classes.txt, labels/a.txt, labels/b.txt."""
    parts = data.split(b"\n---\n")
    shutil.rmtree(folder / "set", ignore_errors=True)
    png(folder / "set" / "images" / "a.png")
    png(folder / "set" / "images" / "b.png", 9)
    for name, text in zip(
        ("data.yaml", "classes.txt", "labels/a.txt", "labels/b.txt"), parts, strict=False
    ):
        file = folder / "set" / name
        file.parent.mkdir(exist_ok=True)
        if text:
            file.write_bytes(text)
    _checked(YoloReader().read, folder / "set")


def voc(data: bytes, folder: Path) -> None:
    """Annotations/a.xml and ImageSets/Main/train.txt."""
    xml, _, names = data.partition(b"\n---\n")
    for name, text in (("Annotations/a.xml", xml), ("ImageSets/Main/train.txt", names)):
        file = folder / "voc" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text)
    _checked(VocReader().read, folder / "voc")


def answers(data: bytes, folder: Path) -> None:
    """A COCO file of answers, imported into the open batch of a real project."""
    project = _project(folder)
    file = folder / "answers.json"
    file.write_bytes(data)
    try:
        project.annotate_import(file, batch="v0", annotator="fuzz")
    except AnnoloopError:
        return
    with project.store.read() as connection:
        for one in batches.load_annotations(connection, batch="v0"):
            assert all(label.box[2] > 0 and label.box[3] > 0 for label in one.labels)


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    "coco": coco,
    "yolo": yolo,
    "voc": voc,
    "answers": answers,
}


def _checked(read: Callable[[Path], ForeignDataset], source: Path) -> None:
    """What a reader lets through has finite boxes with an area, of classes that exist."""
    try:
        found = read(source)
    except AnnoloopError:
        return
    for image in found.images:
        assert not image.path.startswith("/")
        assert ".." not in image.path.split("/")
        for label in image.labels:
            assert 0 <= label.class_id < len(found.classes)
            assert all(abs(value) < float("inf") for value in label.box)
            assert label.box[2] > 0
            assert label.box[3] > 0


@functools.cache
def _project(folder: Path) -> Project:
    """Opened once a folder: a fuzzer asks for it thousands of times."""
    home = folder / "project"
    if not home.exists():
        _open_batch(home)
    return Project(home)


def _open_batch(home: Path) -> None:
    images = home.with_name("images")
    for number in range(24):
        png(images / f"{number:02d}.png", 10 * number)
    labels = {
        "images": [{"id": n, "file_name": f"{n:02d}.png"} for n in range(24)],
        "annotations": [],
        "categories": [{"id": 1, "name": "disc"}, {"id": 2, "name": "square"}],
    }
    home.with_name("labels.json").write_text(json.dumps(labels))
    source = Source(str(images), str(home.with_name("labels.json")))
    project, _ = Project.init(home, source, overrides={"split": {"near_duplicates": False}})
    project.select(size=4)


def seeds(folder: Path) -> dict[str, list[bytes]]:
    """Good inputs of each target, for a fuzzer to start from; answers fit `folder`'s project."""
    image = {"id": 1, "file_name": "00.png", "width": SIDE, "height": SIDE}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0}
    whole = {
        "images": [image, {**image, "id": 2, "file_name": "b/01.png", "reviewed": True}],
        "annotations": [box, {**box, "id": 2, "difficult": True}],
        "categories": [{"id": 1, "name": "disc"}, {"id": 2, "name": "square"}],
    }
    said = {**image, "annoloop_id": "0f", "answer": "unsure", "why": "dark", "video": "x"}
    text = json.dumps(whole).encode()
    if not (folder / "project").exists():
        _open_batch(folder / "project")
    picked = [
        {**image, "id": n, "file_name": p.path, "annoloop_id": p.sample_id}
        for n, p in enumerate(Project(folder / "project").batch_show("v0").picks, start=1)
    ]
    fitting = {**whole, "images": picked}
    unsure = {**fitting, "images": [{**picked[0], "answer": "unusable", "why": "lens cap"}]}
    return {
        "coco": [text, json.dumps({**whole, "images": [said]}).encode()],
        "yolo": [
            b"path: .\ntrain: images\nval: images\nnc: 2\nnames: [disc, 'square']\n---\n"
            b"\n---\n0 0.5 0.5 0.1 0.1\n1 0.2 0.2 0.3 0.3\n\n---\n",
            b'train: images\nnames:\n  0: disc\n  1: "a b"\n---\n\n---\n0 .5 .5 1 1',
            b"\n---\ndisc\nsquare\n---\n1 0.1 0.1 1e-3 0.1\n\n---\n0 1 1 1 1",
        ],
        "voc": [
            b"<annotation><folder>x</folder><filename>a.png</filename><path>/x/a.png</path>"
            b"<size><width>48</width><height>48</height></size><object><name>disc</name>"
            b"<difficult>1</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9.5</xmax>"
            b"<ymax>8</ymax></bndbox></object></annotation>\n---\na 1\n",
        ],
        "answers": [json.dumps(fitting).encode(), json.dumps(unsure).encode()],
    }
