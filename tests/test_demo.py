"""The first run, in small: data, iterations, an open batch, a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from annoloop.demo import run_demo
from annoloop.errors import InputError
from annoloop.ports import silent
from annoloop.project import Project


def test_a_small_demo_leaves_an_open_batch_and_a_page(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    said: list[str] = []
    made = run_demo(folder, iterations=1, images=120, seed=1, say=said.append, progress=silent)
    assert [row.name for row in made.rows] == ["v0", "v1"]
    assert made.rows[0].metric is not None
    assert made.open_batch == "v1"
    assert Project(folder).status().pool.selected > 0
    assert "<html" in (folder / "report.html").read_text()
    with pytest.raises(InputError, match="not empty"):
        run_demo(folder, iterations=1, images=120, seed=1, say=said.append, progress=silent)
