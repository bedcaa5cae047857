"""The built-in adapters keep the contracts that third-party adapters are held to."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from annoloop.adapters.classical import ClassicalTrainer
from annoloop.adapters.coco import CocoReader, CocoWriter
from annoloop.adapters.pixels import PixelsEmbedder
from annoloop.adapters.voc import VocReader, VocWriter
from annoloop.adapters.yolo import YoloReader, YoloWriter
from annoloop.testing_crops import CropEmbedderContract
from annoloop.testing_kits import (
    ReaderCase,
    ReaderContract,
    TrainerContract,
    WriterCase,
    WriterContract,
)

LABELS = {
    "day/one.png": [("cat", (2.0, 4.0, 10.0, 20.0)), ("dog", (30.0, 8.0, 20.0, 24.0))],
    "day/none.png": [],
    "two.png": [("dog", (0.0, 0.0, 80.0, 40.0))],
}
"""Labels of three images of 80 × 40 pixels."""


class TestPixels(CropEmbedderContract):
    @pytest.fixture
    def embedder(self):
        return PixelsEmbedder()


class TestClassical(TrainerContract):
    @pytest.fixture
    def trainer(self):
        return ClassicalTrainer()


class TestCocoReader(ReaderContract):
    @pytest.fixture
    def case(self, tmp_path):
        paths = list(LABELS)
        rows = [
            {"image_id": paths.index(path), "category_id": 3 if name == "cat" else 7, "bbox": box}
            for path, named in LABELS.items()
            for name, box in named
        ]
        data = {
            "images": [
                {"id": i, "file_name": path, "width": 80, "height": 40}
                for i, path in enumerate(paths)
            ],
            "annotations": rows,
            "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
        }
        (tmp_path / "good.json").write_text(json.dumps(data))
        rows[0]["category_id"] = 4
        (tmp_path / "bad.json").write_text(json.dumps(data))
        return ReaderCase(
            CocoReader(), tmp_path / "good.json", LABELS, tmp_path / "bad.json", "bad.json"
        )


class TestYoloReader(ReaderContract):
    @pytest.fixture
    def case(self, tmp_path):
        for kind in ("good", "bad"):
            root = tmp_path / kind
            for path, named in LABELS.items():
                image, label = root / "images" / path, root / "labels" / path
                image.parent.mkdir(parents=True, exist_ok=True)
                label.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(image), np.zeros((40, 80, 3), np.uint8))
                rows = [
                    f"{('cat', 'dog').index(name)} {(x + w / 2) / 80} {(y + h / 2) / 40} "
                    f"{w / 80} {h / 40}\n"
                    for name, (x, y, w, h) in named
                ]
                label.with_suffix(".txt").write_text("".join(rows))
            (root / "data.yaml").write_text("train: images\nval: images\nnames: [cat, dog]\n")
        (tmp_path / "bad/labels/two.txt").write_text("5 0.5 0.5 1 1\n")
        return ReaderCase(
            YoloReader(), tmp_path / "good/data.yaml", LABELS, tmp_path / "bad/data.yaml", "two.txt"
        )


class TestVocReader(ReaderContract):
    @pytest.fixture
    def case(self, tmp_path):
        for kind in ("good", "bad"):
            for path, named in LABELS.items():
                objects = "".join(
                    f"<object><name>{name}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin>"
                    f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
                    for name, (x, y, w, h) in named
                )
                file = (tmp_path / kind / path).with_suffix(".xml")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(
                    f"<annotation><filename>{path.rpartition('/')[2]}</filename><size><width>80"
                    f"</width><height>40</height></size>{objects}</annotation>"
                )
        bad = tmp_path / "bad/two.xml"
        bad.write_text(bad.read_text().replace("<xmax>80.0", "<xmax>wide"))
        return ReaderCase(VocReader(), tmp_path / "good", LABELS, tmp_path / "bad", "two.xml")


class TestCocoWriter(WriterContract):
    @pytest.fixture
    def case(self):
        return WriterCase(CocoWriter(), CocoReader())


class TestYoloWriter(WriterContract):
    @pytest.fixture
    def case(self):
        return WriterCase(YoloWriter(), YoloReader())


class TestVocWriter(WriterContract):
    @pytest.fixture
    def case(self):
        return WriterCase(VocWriter(), VocReader())
