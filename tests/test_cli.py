"""The command line is a contract: verbs, exit codes, one JSON document on stdout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from annoloop import project as project_module
from annoloop import session
from annoloop.cli import app
from annoloop.project import Project
from annoloop.records import Source

VERBS = [
    "init",
    "ingest",
    "split",
    "embed",
    "map",
    "score",
    "select",
    "batch-list",
    "batch-show",
    "batch-make",
    "batch-export",
    "batch-predict",
    "annotate-import",
    "annotate-oracle",
    "annotate-close",
    "annotate-requeue",
    "annotate-skip",
    "annotate-unskip",
    "golden-stats",
    "golden-plan",
    "golden-baseline",
    "golden-check",
    "golden-power",
    "golden-prelabels",
    "train",
    "predict",
    "evaluate",
    "failures",
    "failures-review",
    "suspects",
    "suspects-relabel",
    "decide",
    "status",
    "run",
    "report",
    "backup",
    "restore",
    "app",
    "demo",
    "history",
    "sample",
    "doctor",
    "metrics",
    "replay",
    "fiftyone-iterate",
    "fiftyone-progress",
    "fiftyone-sync",
    "fiftyone-install-plugin",
]
NO_METHOD = {"golden-power", "app", "demo", "metrics", "replay"}


def annoloop(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from annoloop.cli import main; main()", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def known_verbs() -> set[str]:
    found = {c.name or c.callback.__name__ for c in app.registered_commands}
    for group in app.registered_groups:
        commands = group.typer_instance.registered_commands
        found |= {f"{group.name}-{c.name}" for c in commands}
        alone = group.typer_instance.registered_callback
        if alone is not None and alone.invoke_without_command is True:
            found.add(str(group.name))
    return found


def test_every_verb_of_the_design_exists() -> None:
    assert known_verbs() == set(VERBS)


def test_every_verb_is_a_method_of_project() -> None:
    for verb in set(VERBS) - NO_METHOD:
        if not verb.startswith("fiftyone"):
            assert hasattr(Project, verb.replace("-", "_")), verb


@pytest.fixture(scope="module")
def folder(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one decided iteration and batch v1 open."""
    where = tmp_path_factory.mktemp("cli") / "project"
    source = Source(str(shapes / "images"), str(shapes / "labels.json"))
    made, _ = Project.init(where, source, group="folder")
    made.run(iterations=1, annotator="oracle")
    made.select(6)
    return where


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("ingest",), "images_known"),
        (("split",), "digest"),
        (("embed",), "embedder"),
        (("score",), "candidates"),
        (("batch", "list"), "batches"),
        (("batch", "show", "v1"), "picks"),
        (("golden", "stats"), "history"),
        (("golden", "plan"), "with_reference"),
        (("predict",), "detections"),
        (("failures",), "by_type"),
        (("status",), "next_step"),
        (("history",), "events_in_all"),
        (("doctor",), "checks"),
        (("run",), "stopped_because"),
    ],
)
def test_json_is_one_document_and_nothing_else(
    folder: Path, words: tuple[str, ...], key: str
) -> None:
    done = annoloop(*words, "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    assert key in json.loads(done.stdout)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("status",), 1, "there is no annoloop project"),
        (("nonsense",), 2, "No such command"),
        (("status", "--nonsense"), 2, "No such option"),
        (("select", "--mix", "coverage"), 1, "is not a mix"),
        (("replay", "plan.toml"), 1, "there is no plan plan.toml"),
        (("golden", "power", "--images", "0"), 1, "cannot be simulated"),
        (("golden", "check", "--new", "N.json"), 2, "go together"),
        (("app",), 1, "there is no annoloop project"),
        (("fiftyone", "sync"), 1, "there is no annoloop project"),
        (("fiftyone", "iterate", "x"), 1, "FiftyOne is not installed"),
        (("fiftyone", "progress", "x"), 1, "FiftyOne is not installed"),
        (("fiftyone", "install-plugin"), 1, "FiftyOne is not installed"),
        (("init", "x"), 1, "a project needs images"),
        (("init", "x", "--fiftyone", "y"), 1, "FiftyOne is not installed"),
    ],
)
def test_exit_codes(tmp_path: Path, words: tuple[str, ...], code: int, text: str) -> None:
    done = annoloop(*words, folder=tmp_path)
    assert done.returncode == code
    assert done.stdout == ""
    assert text in done.stderr


def test_an_error_with_json_is_a_document_too(tmp_path: Path) -> None:
    done = annoloop("status", "--json", folder=tmp_path)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["type"] == "ProjectError"


def test_what_is_a_bug_of_ours_exits_with_3(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from annoloop.cli import main

    def breaks(self: Project) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(project_module.Project, "status", breaks)
    monkeypatch.setattr(sys, "argv", ["annoloop", "status", "--project", str(folder)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 3
    assert "bug in annoloop" in capsys.readouterr().err


def test_an_interrupt_exits_with_130(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from annoloop.cli import main

    def interrupted(self: Project) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(project_module.Project, "status", interrupted)
    monkeypatch.setattr(sys, "argv", ["annoloop", "status", "--project", str(folder)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130
    assert "run the same command" in capsys.readouterr().err


def test_from_images_without_labels_to_v0(shapes: Path, tmp_path: Path) -> None:
    """Nothing is labelled: val and golden go out first, then the loop starts."""
    shutil.copytree(shapes / "images", tmp_path / "images")
    names = "square,disc"
    done = annoloop("init", "p", "--images", "images", "--classes", names, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    where = tmp_path / "p"
    for kind in ("val", "golden"):
        made = annoloop("batch", "make", "--kind", kind, "--json", folder=where)
        assert json.loads(made.stdout)["batch"] == f"{kind}-1", made.stderr
        out = annoloop("batch", "export", f"{kind}-1", kind, folder=where)
        assert out.returncode == 0, out.stderr
        file = where / kind / "annotations.json"
        document = json.loads(file.read_text())
        for number, image in enumerate(document["images"]):
            if number % 3 == 0:
                image["reviewed"] = True
                continue
            box = {"id": number, "image_id": image["id"], "category_id": 1 + number % 2}
            document["annotations"].append({**box, "bbox": [5, 5, 15, 15]})
        file.write_text(json.dumps(document))
        words = ("annotate", "import", str(file), "--batch", f"{kind}-1", "--annotator", "ann")
        back = annoloop(*words, "--json", folder=where)
        assert json.loads(back.stdout)["missing"] == [], back.stderr
        closed = annoloop("annotate", "close", f"{kind}-1", folder=where)
        assert closed.returncode == 0, closed.stderr
    nothing_left = annoloop("batch", "make", "--kind", "val", folder=where)
    assert (nothing_left.returncode, nothing_left.stdout) == (1, "")
    taken = annoloop("select", "--json", folder=where)
    assert json.loads(taken.stdout)["batch"] == "v0", taken.stderr
    status = json.loads(annoloop("status", "--json", folder=where).stdout)
    assert status["open_batch"] == "v0"
    assert status["pool"]["selected"] == len(json.loads(taken.stdout)["picks"])


def test_metrics_of_two_files_with_everything_behind_them(tmp_path: Path) -> None:
    box = [0, 0, 40, 40]
    truth = {
        "images": [{"id": k, "file_name": f"day/{k}.jpg"} for k in range(4)],
        "categories": [{"id": 1, "name": "cup"}],
        "annotations": [
            {"id": k, "image_id": k, "category_id": 1, "bbox": box, "iscrowd": 0} for k in range(4)
        ],
    }
    found = [
        {"image_id": k, "category_id": 1, "bbox": box, "score": 0.9 - k / 10} for k in range(3)
    ]
    for name, content in (("truth", truth), ("found", found), ("all", [*found, found[0]])):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    words = ["metrics", "--ground-truth", "truth.json", "--detections", "found.json", "--json"]
    plain = json.loads(annoloop(*words, folder=tmp_path).stdout)
    assert plain["summary"]["AR100"] == pytest.approx(0.75)
    assert plain["details"] is None
    more = ["--details", "--by", "folder", "--against", "all.json"]
    told = json.loads(annoloop(*words, *more, folder=tmp_path).stdout)
    assert told["summary"] == plain["summary"]
    assert told["details"]["confusion"]["matrix"] == [[3, 1], [0, 0]]
    assert [one["fn"] for one in told["per_image"]] == [0, 0, 0, 1]
    assert told["slices"]["day"]["images"] == 4
    assert told["gains"]["AP50"]["value"] <= 0
    wrong = annoloop(*words, "--by", "column:nothing", folder=tmp_path)
    assert wrong.returncode == 1
    assert "says nothing about any image" in wrong.stderr


def test_whoever_reads_only_the_head_gets_no_traceback(folder: Path) -> None:
    words = ["-c", "from annoloop.cli import main; main()", "batch", "show", "v1", "--json"]
    process = subprocess.Popen(
        [sys.executable, *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), said) == (1, b"")


def test_people_without_a_name_are_known_by_number(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(session.getpass, "getuser", nameless)
    monkeypatch.delenv("ANNOLOOP_USER")
    assert Project(folder)._context().who == f"uid {os.getuid()}"
