"""The report of a real project: what was asked of it, and one file written whole."""

from __future__ import annotations

from html import escape
from pathlib import Path

import pytest

from annoloop.project import Project
from annoloop.records import Failure, FailureType, Source
from annoloop.report.collect import spread
from annoloop.results_failures import FailureView


@pytest.fixture(scope="module")
def project(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("report") / "project"
    source = Source(str(shapes / "images"), str(shapes / "labels.json"))
    made, _ = Project.init(folder, source, group="folder")
    return made


def test_a_project_at_its_start_has_a_page_too(project: Project, tmp_path: Path) -> None:
    made = project.report(tmp_path / "deep" / "page.html")
    text = (tmp_path / "deep" / "page.html").read_text()
    assert len(text.encode()) == made.bytes
    assert "make the splits" in text


def test_the_page_shows_batches_failures_and_what_is_next(project: Project, tmp_path: Path) -> None:
    project.run(iterations=1, annotator="oracle")
    chosen = project.select(size=6)
    project.report(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "v0: continue" in text
    assert "annotate batch v1" in text
    assert "answered by oracle" in text
    assert "not answered yet" in text
    assert project.batch_show("v0").annotators == ("oracle",)
    assert project.batch_show(chosen.batch).annotators == ()
    told = project.status().golden_reason
    assert told
    assert escape(told.partition("; accepted")[0]) in text.replace("&#39;", "&#x27;")
    for pick in chosen.picks:
        assert pick.path in text
    assert "coverage score" in text
    assert text.count("data:image/jpeg;base64,") >= len(chosen.picks)
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "<script" not in text


def test_failures_are_spread_over_types_and_classes() -> None:
    def view(kind: FailureType, class_id: int, number: int) -> FailureView:
        failure = Failure(f"s{number}", kind, class_id, (0, 0, 1, 1))
        return FailureView(f"{number}.png", "", failure)

    crowd = [view(FailureType.MISSED, 0, n) for n in range(10)]
    rare = [view(FailureType.CLASS, 1, 10), view(FailureType.MISSED, 2, 11)]
    chosen = spread([*crowd, *rare], 4)
    assert [v.path for v in chosen] == ["0.png", "10.png", "11.png", "1.png"]
