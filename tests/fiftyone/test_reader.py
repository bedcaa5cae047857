"""The reader of FiftyOne datasets as a reader of labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annoloop.adapters.fiftyone.reader import FiftyoneReader
from annoloop.project import Project
from annoloop.records import Source
from annoloop.testing_kits import ReaderCase, ReaderContract
from tests.fiftyone.shapes import bare, detections, drawn

fo = pytest.importorskip(
    "fiftyone", reason="no FiftyOne with a database here: `make test-fiftyone`"
)


class TestContract(ReaderContract):
    PIXELS_CLOSE = 1e-6

    @pytest.fixture
    def case(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReaderCase]:
        monkeypatch.chdir(tmp_path)  # a dataset's name is no file, and its parent is this folder
        root = tmp_path / "data"
        made = bare(fo, root, scenes=4)
        broken = made.clone()
        one = broken.first()
        one["ground_truth"] = detections(fo, [("disc", [1.0, 2.0, float("nan"), 4.0])])
        one.save()
        labels = {
            f"{root}/images/{path}".lstrip("/"): [(name, tuple(map(float, b))) for name, b in rows]
            for path, rows in drawn(root, scenes=4).items()
        }
        yield ReaderCase(
            FiftyoneReader(),
            Path(made.name),
            labels,
            Path(broken.name),
            Path(one.filepath).name,
        )
        made.delete()
        broken.delete()


def test_labels_of_a_dataset_for_a_project_of_a_folder(tmp_path: Path) -> None:
    made: Any = bare(fo, tmp_path / "data", scenes=5)
    try:
        source = Source(str(tmp_path / "data" / "images"), made.name, "fiftyone")
        _, done = Project.init(tmp_path / "p", source)
        assert (done.ingest.images_added, done.ingest.images_labeled) == (10, 10)
        assert done.ingest.boxes == len(made.distinct("ground_truth.detections.id"))
    finally:
        made.delete()
