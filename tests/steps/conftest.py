"""Projects at each state of the loop, on the shapes data set."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from annoloop.project import Project
from annoloop.records import Source


@pytest.fixture
def project(shapes: Path, tmp_path: Path) -> Project:
    """Ingested with reference labels, scenes as groups, nothing else done."""
    source = Source(str(shapes / "images"), str(shapes / "labels.json"))
    made, _ = Project.init(tmp_path / "project", source, group="folder")
    return made


@pytest.fixture(scope="session")
def _evaluated(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated") / "project"
    source = Source(str(shapes / "images"), str(shapes / "labels.json"))
    made, _ = Project.init(folder, source, group="folder")
    made.run(iterations=1, annotator="oracle")
    return folder


@pytest.fixture
def evaluated(_evaluated: Path, tmp_path: Path) -> Project:
    """One iteration decided; a copy of its own for each test."""
    return Project(shutil.copytree(_evaluated, tmp_path / "project"))
