"""The plugin in FiftyOne's own hands: installed, listed, and executed as the App would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import annoloop.fiftyone as loop
from annoloop.fiftyone_project import PROJECT
from annoloop.render import to_text
from annoloop.render_fiftyone import standing
from tests.fiftyone.shapes import bare, init

fo = pytest.importorskip(
    "fiftyone", reason="no FiftyOne with a database here: `make test-fiftyone`"
)

URI = "@annoloop/annoloop"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fo.config, "plugins_dir", str(tmp_path))
    return Path(loop.install_plugin().folder)


def run(operator: str, dataset: Any, **params: Any) -> Any:
    import fiftyone.operators as foo

    context = {"dataset": dataset, "params": params}
    done = foo.execute_operator(f"{URI}/{operator}", context)
    return done.result


def test_fiftyone_lists_what_was_installed(installed: Path) -> None:
    import fiftyone.operators as foo
    import fiftyone.plugins as fop

    assert URI in {one.name for one in fop.list_plugins()}
    assert loop.install_plugin().folder == str(installed)  # again, over itself
    names = {one.uri for one in foo.list_operators()}
    ours = ("select_next_batch", "golden_check", "decide", "progress_summary")
    assert {f"{URI}/{name}" for name in ours} <= names
    assert f"{URI}/annoloop_progress" in {one.uri for one in foo.list_operators(type="panel")}


def test_the_operator_makes_the_batch_of_the_call(installed: Path, tutorial: Any) -> None:
    expected = loop.iterate(tutorial, 20, seed=4, dry_run=True, say=lambda _: None)
    shown = run("select_next_batch", tutorial, size=20, seed=4, dry_run=True)
    assert "batch v1 would be 20 samples (6 coverage, 14 targeted)" in shown["summary"]
    assert run("select_next_batch", tutorial, size=20, seed=4)["batch"] == "v1"
    tutorial.reload()
    assert set(tutorial.load_saved_view("batch_v1").values("id")) == {p.id for p in expected.picks}
    refused = run("select_next_batch", tutorial)
    assert "20 samples of batch v1 still carry" in refused["summary"]
    assert refused["batch"] is None


def test_the_summary_says_where_the_loop_stands(installed: Path, tutorial: Any) -> None:
    loop.iterate(tutorial, 20, say=lambda _: None)
    shown = run("progress_summary", tutorial)["summary"].split("\n\n")
    assert shown == standing(loop.progress(tutorial))
    assert shown[0].startswith("pool: 140 samples: 28 annotated (20 %), 20 selected")
    assert shown[1:3] == [
        "batch v0: 28 samples, 0 still to annotate",
        "batch v1: 20 samples, 20 still to annotate",
    ]
    assert shown[3].startswith("golden 0: ")


def test_golden_check_and_verdict_are_those_of_the_project(
    installed: Path, tmp_path: Path, tutorial: Any
) -> None:
    dataset = bare(fo, tmp_path / "data", scenes=30)
    other = fo.Dataset()
    try:
        assert "A test needs blind answers" in run("golden_check", tutorial)["summary"]
        assert "Split it first" in run("golden_check", dataset)["summary"]
        assert "a verdict needs a project" in run("decide", dataset)["summary"]
        project, _ = init(tmp_path / "p", dataset)
        project.run(iterations=1, annotator="oracle")
        folder = str(project.folder)
        checked = run("golden_check", dataset, project=folder)["summary"]
        assert checked.split("\n\n")[0] == to_text(project.golden_check()).splitlines()[0]
        dataset.reload()
        assert dataset.info[PROJECT] == folder  # and so it need not be given again
        shown = run("decide", dataset)["summary"]
        assert project.status().iterations[0].reason in shown
        dataset.reload()
        assert dataset.info["eval_v0"]["mAP_gauge"] is not None
        refused = run("decide", other, project=folder)["summary"]
        assert f"was not made of dataset '{other.name}'" in refused
        nothing = run("golden_check", dataset, accept="why")["summary"]
        assert "not fail" in nothing
    finally:
        dataset.delete()
        other.delete()
