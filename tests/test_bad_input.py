"""Bad input gets an error that names file, row and fix, and changes nothing: the whole table."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from annoloop.errors import (
    AnnoloopError,
    AnswersError,
    BatchClosedError,
    InputError,
    LockedSplitError,
    ProjectError,
    SettingsError,
    VectorError,
)
from annoloop.project import Project
from annoloop.records import Source
from annoloop.store.vectors import VectorStore

from . import ledgers
from .conftest import draw_shapes

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="session")
def _base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with batch v0 open and exported, beside its data."""
    base = draw_shapes(tmp_path_factory.mktemp("base"), scenes=12, seed=5)
    source = Source(str(base / "images"), str(base / "labels.json"))
    project, _ = Project.init(base / "p", source, group="folder")
    project = Project(base / "p", overrides={"golden": {"share": 0.0}})
    project.select(size=4)
    project.batch_export("v0", base / "out")
    return base


@pytest.fixture
def base(_base: Path, tmp_path: Path) -> Path:
    copy = shutil.copytree(_base, tmp_path / "base")
    toml = copy / "p" / "annoloop.toml"
    toml.write_text(toml.read_text().replace(str(_base), str(copy)))
    return copy


def refuses(
    folder: Path,
    call: Callable[[], object],
    *words: str,
    kind: type[AnnoloopError] = InputError,
) -> AnnoloopError:
    """`call` raises an error that says all of `words` and how to mend it; nothing has changed."""
    before, there = ledgers.rows(folder), ledgers.files(folder)
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert caught.value.fix
    for word in words:
        assert word in text, text
    assert ledgers.rows(folder) == before
    assert ledgers.files(folder) == there
    return caught.value


# --- images ---------------------------------------------------------------------------------------


def _jpeg(side: int = 40) -> bytes:
    rng = np.random.default_rng(0)
    return bytes(cv2.imencode(".jpg", rng.integers(0, 255, (side, side, 3), np.uint8))[1])


def _png_header(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = b"IDAT" + zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (head, rows, b"IEND")
    )


def _sparse(file: Path, size: int) -> None:
    with file.open("wb") as stream:
        stream.write(b"\xff\xd8\xff")
        stream.truncate(size)


IMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "truncated JPEG": ("a.jpg", lambda f: f.write_bytes(_jpeg()[:900]), "truncated"),
    "zero bytes": ("a.png", lambda f: f.write_bytes(b""), "empty (0 bytes)"),
    "30,000 pixels": ("a.png", lambda f: f.write_bytes(_png_header(30_000, 10)), "30000 × 10"),
    "bomb": ("a.png", lambda f: f.write_bytes(_png_header(19_999, 19_999)), "200,000,000 in all"),
    "lying bomb": ("a.png", lambda f: f.write_bytes(_png_header(9_000, 9_000)), "not a whole"),
    "no image": ("a.jpg", lambda f: f.write_text("hello"), "not an image that can be read"),
    "a pipe": ("a.png", os.mkfifo, "a pipe, not a file"),
    "a dead link": ("a.png", lambda f: f.symlink_to(f.parent / "gone.png"), "no such file"),
    "3 GB": ("a.jpg", lambda f: _sparse(f, 3 << 30), "above the limit of 2,147,483,648"),
    "a backslash": ("a\\b.jpg", lambda f: f.write_bytes(_jpeg()), "cannot hold this name"),
    "a line break": ("a\nb.jpg", lambda f: f.write_bytes(_jpeg()), "no file name"),
}


@pytest.mark.parametrize("case", IMAGES)
def test_a_bad_image_is_named_and_nothing_is_added(base: Path, case: str) -> None:
    name, make, what = IMAGES[case]
    make(base / "images" / "scene_003" / name)
    project = Project(base / "p")
    error = refuses(base / "p", project.ingest, "1 files cannot be used", "scene_003/a", what)
    assert "--skip-bad" in error.fix
    lenient = Project(base / "p", overrides={"images": {"skip_bad": True}}).ingest()
    assert (lenient.images_added, len(lenient.refused)) == (0, 1)


def test_a_link_out_of_the_folder_is_refused_unless_it_is_meant(base: Path) -> None:
    draw_shapes(base / "elsewhere", scenes=2, seed=9)
    (base / "images" / "more").symlink_to(base / "elsewhere" / "images")
    (base / "elsewhere" / "images" / "loop").symlink_to(base / "images")
    project = Project(base / "p")
    refuses(base / "p", project.ingest, "more: the link leaves the image folder", "follow_links")
    following = Project(base / "p", overrides={"images": {"follow_links": True}})
    assert following.ingest().images_added == 4


def test_an_image_that_is_gone_is_named_where_it_is_needed(base: Path) -> None:
    path = Project(base / "p").batch_show("v0").picks[0].path
    (base / "images" / path).unlink()
    project = Project(base / "p")
    shutil.rmtree(base / "out")
    refuses(
        base / "p", lambda: project.batch_export("v0", base / "out"), path, "1 of 4 images are gone"
    )
    assert not (base / "out").exists()
    assert "1 images of this project are no longer in the folder" in project.ingest().notes[0]


# --- labels ---------------------------------------------------------------------------------------


def _box(**change: object) -> Change:
    return lambda d: d["annotations"][1].update(change)


LABELS: dict[str, tuple[Change, tuple[str, ...]]] = {
    "unknown image id": (_box(image_id=999), ("annotations[1]", "image id 999")),
    "unknown category": (_box(category_id=77), ("annotations[1]", "category id 77")),
    "duplicate image id": (lambda d: d["images"][1].update(id=1), ("images[1]", "id 1 of another")),
    "duplicate box id": (_box(id=1), ("annotations[1]", "has the id 1")),
    "duplicate category": (lambda d: d["categories"][1].update(id=1), ("categories[1]", "id 1")),
    "NaN box": (_box(bbox=[1, 2, float("nan"), 4]), ("annotations[1]", "not finite")),
    "infinite box": (_box(bbox=[1, 2, float("inf"), 4]), ("annotations[1]", "not finite")),
    "a number of 400 digits": (_box(bbox=[10**400, 0, 1, 1]), ("annotations[1]", "too large")),
    "three numbers": (_box(bbox=[1, 2, 3]), ("annotations[1]", "not four numbers")),
    "10 kB class name": (
        lambda d: d["categories"][0].update(name="x" * 10_000),
        ("categories[0]",),
    ),
    "control characters": (
        lambda d: d["categories"][0].update(name="a\x1b[2J"),
        ("categories[0]",),
    ),
    "path that leaves": (lambda d: d["images"][2].update(file_name="../../x.png"), ("images[2]",)),
    "absolute path": (lambda d: d["images"][2].update(file_name="/etc/x.png"), ("images[2]",)),
    "no image of it": (lambda d: d["images"][2].update(file_name="ghost.png"), ("ghost.png",)),
    "a remark of 1 MB": (lambda d: d["images"][0].update(why="x" * 10**6), ("images[0]", "remark")),
    "half a character": (lambda d: d["images"][0].update(why="\ud800"), ("images[0]", "control")),
}


@pytest.mark.parametrize("case", LABELS)
def test_bad_labels_are_named_and_nothing_is_added(base: Path, case: str) -> None:
    change, words = LABELS[case]
    document = json.loads((base / "labels.json").read_text())
    change(document)
    (base / "bad.json").write_text(json.dumps(document))
    project = Project(base / "p")
    words = words if "ghost" in words[0] else (str(base / "bad.json"), *words)
    refuses(base / "p", lambda: project.ingest(Source(None, str(base / "bad.json"))), *words)


@pytest.mark.parametrize(
    ("bbox", "what"),
    [
        ([500, 2, 5, 5], "outside"),
        ([1, 2, -5, 5], "no area"),
        ([1, 2, 0, 5], "no area"),
        ([1, 2, 1e-200, 1e-200], "no area"),
    ],
)
def test_boxes_that_are_none_are_dropped_aloud_in_references(
    base: Path, bbox: list[float], what: str
) -> None:
    document = json.loads((base / "labels.json").read_text())
    for image in document["images"]:
        del image["width"], image["height"]  # so that only the image file itself can tell
    boxes = document["annotations"]
    boxes.append({"id": 999, "image_id": 1, "category_id": 1, "bbox": bbox})
    (base / "odd.json").write_text(json.dumps(document))
    before = ledgers.rows(base / "p")["reference_labels"]
    made = Project(base / "p").ingest(Source(None, str(base / "odd.json")))
    assert [what in p.what for p in made.problems] == [True]
    assert ledgers.rows(base / "p")["reference_labels"] == before


def test_huge_and_strange_label_files_are_refused_unread(base: Path) -> None:
    project = Project(base / "p")
    _sparse(base / "huge.json", 2 << 30)
    ingest = lambda path: lambda: project.ingest(Source(None, str(path)))  # noqa: E731
    refuses(base / "p", ingest(base / "huge.json"), "2,048 MiB", "limit of 1,024 MiB", "max_mib")
    strict = Project(base / "p", overrides={"labels": {"max_mib": 1}})
    (base / "big.json").write_text(" " * (2 << 20))
    call = lambda: strict.annotate_import(base / "big.json", batch="v0", annotator="a")  # noqa: E731
    refuses(base / "p", call, "big.json", "2 MiB is above the limit of 1 MiB")
    os.mkfifo(base / "pipe.json")
    refuses(base / "p", ingest(base / "pipe.json"), "pipe.json", "a device or a pipe")
    refuses(base / "p", ingest(base / "none.json"), "none.json", "no such file")
    (base / "deep.json").write_text("[" * 200_000)
    refuses(base / "p", ingest(base / "deep.json"), "deep.json", "not valid JSON")
    (base / "digits.json").write_text('{"images": ' + "9" * 10_000 + "}")
    refuses(base / "p", ingest(base / "digits.json"), "digits.json", "not valid JSON")


def test_archives_are_never_unpacked(base: Path) -> None:
    with zipfile.ZipFile(base / "evil.zip", "w") as archive:
        archive.writestr("/etc/evil.json", "{}")
        archive.writestr("../../evil.json", "{}")
    project = Project(base / "p")
    words = ("evil.zip", "reads no archives", "Unpack it yourself")
    refuses(base / "p", lambda: project.ingest(Source(None, str(base / "evil.zip"))), *words)
    call = lambda: project.annotate_import(base / "evil.zip", batch="v0", annotator="a")  # noqa: E731
    refuses(base / "p", call, *words)
    refuses(base / "p", lambda: Project.init(base / "q", Source(str(base / "evil.zip"))), *words)


VOC = {
    "entities": (
        '<!DOCTYPE a [<!ENTITY x "y">]><annotation><filename>frame_0.png</filename>'
        "<object><name>&x;</name></object></annotation>",
        "declares entities",
    ),
    "external entity": (
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        "<annotation><filename>&x;</filename></annotation>",
        "declares entities",
    ),
    "cut off": ("<annotation><filename>frame_0.png</file", "not valid XML"),
    "NaN": (
        "<annotation><filename>frame_0.png</filename><object><name>disc</name><bndbox>"
        "<xmin>nan</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></object></annotation>",
        "object[0]",
    ),
    "underscores": (
        "<annotation><filename>frame_0.png</filename><object><name>disc</name><bndbox>"
        "<xmin>1_0</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></object></annotation>",
        "xmin is '1_0', not a number",
    ),
}


@pytest.mark.parametrize("case", VOC)
def test_bad_xml_is_named(base: Path, case: str) -> None:
    text, what = VOC[case]
    (base / "voc" / "scene_000").mkdir(parents=True)
    (base / "voc" / "scene_000" / "frame_0.xml").write_text(text)
    project = Project(base / "p")
    ingest = lambda: project.ingest(Source(None, str(base / "voc")))  # noqa: E731
    refuses(base / "p", ingest, "scene_000/frame_0.xml", what)


def test_a_list_of_splits_that_is_no_text_is_named(base: Path) -> None:
    (base / "voc" / "Annotations").mkdir(parents=True)
    xml = "<annotation><filename>frame_0.png</filename></annotation>"
    (base / "voc" / "Annotations" / "frame_0.xml").write_text(xml)
    (base / "voc" / "ImageSets" / "Main").mkdir(parents=True)
    (base / "voc" / "ImageSets" / "Main" / "val.txt").write_bytes(b"frame_0\xff\n")
    project = Project(base / "p")
    ingest = lambda: project.ingest(Source(None, str(base / "voc")))  # noqa: E731
    refuses(base / "p", ingest, "ImageSets/Main/val.txt", "UTF-8")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("0 0.5 0.5 nan 0.1", "not finite"),
        ("0 0.5 0.5 inf 0.1", "not finite"),
        ("0 0.5 0.5 -0.1 0.1", "negative"),
        ("0 1_0 0.5 0.1 0.1", "not four numbers"),
        ("7 0.5 0.5 0.1 0.1", "none of 0 to 1"),
        ("9" * 5000 + " 0.5 0.5 0.1 0.1", "class"),
        ("0 0.5 0.5 0.1", "4 values"),
    ],
)
def test_bad_yolo_rows_are_named(base: Path, line: str, what: str) -> None:
    labels = base / "yolo" / "labels" / "scene_000"
    labels.mkdir(parents=True)
    (base / "yolo" / "labels" / "classes.txt").write_text("square\ndisc\n")
    (labels / "frame_0.txt").write_text("0 0.5 0.5 0.1 0.1\n" + line + "\n")
    project = Project(base / "p")
    ingest = lambda: project.ingest(Source(None, str(base / "yolo")))  # noqa: E731
    refuses(base / "p", ingest, "scene_000/frame_0.txt:2", what)


def test_label_files_and_images_without_each_other_are_named(base: Path) -> None:
    labels = base / "yolo" / "labels"
    labels.mkdir(parents=True)
    (labels / "classes.txt").write_text("square\n")
    (labels / "ghost.txt").write_text("")
    project = Project(base / "p")
    ingest = lambda: project.ingest(Source(None, str(base / "yolo")))  # noqa: E731
    refuses(base / "p", ingest, "ghost.txt", "its image is not at")
    draw_shapes(base / "fresh", scenes=1, frames=1, seed=31)
    shutil.copy(base / "fresh/images/scene_000/frame_0.png", base / "images" / "unlabelled.png")
    assert "1 images have no reference labels" in project.ingest().notes


# --- answers --------------------------------------------------------------------------------------


def _answers(base: Path) -> dict[str, Any]:
    document = json.loads((base / "out" / "annotations.json").read_text())
    document["annotations"] = [
        {"id": n, "image_id": image["id"], "category_id": 1, "bbox": [1, 2, 10, 10]}
        for n, image in enumerate(document["images"], start=1)
    ]
    return document


def _import(base: Path, document: object, **how: str) -> Callable[[], object]:
    file = base / "answers.json"
    file.write_text(json.dumps(document))
    given = {"batch": "v0", "annotator": "ann", **how}
    return lambda: Project(base / "p").annotate_import(file, **given)  # type: ignore[arg-type]


ANSWERS: dict[str, tuple[Change, tuple[str, ...]]] = {
    "unknown class": (lambda d: d["categories"][0].update(name="sqare"), ("'sqare'", "'square'?")),
    "wrong batch": (
        lambda d: d["images"][0].update(annoloop_id="beef", file_name="x.png"),
        ("1 images are not in batch v0", "'x.png'", "--ignore-unknown"),
    ),
    "box outside": (_box(bbox=[70, 2, 900, 5]), ("box 1", "outside the 80 × 64 image")),
    "box far outside": (_box(bbox=[500, 2, 5, 5]), ("annotations[1]", "outside its image")),
    "negative size": (_box(bbox=[1, 2, -5, 5]), ("annotations[1]", "no area")),
    "no size at all": (_box(bbox=[1, 2, 1e-200, 1e-200]), ("annotations[1]", "no area")),
    "another size": (
        lambda d: d["images"][0].update(width=160, height=128),
        ("drawn on 160 × 128", "80 × 64"),
    ),
    "one image twice": (
        lambda d: d["images"].append({"id": 99, "file_name": "z/" + d["images"][0]["file_name"]}),
        ("are both", "one answer for each image"),
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_bad_answers_are_refused_whole(base: Path, case: str) -> None:
    change, words = ANSWERS[case]
    document = _answers(base)
    change(document)
    refuses(base / "p", _import(base, document), *words, kind=AnswersError)
    assert ledgers.rows(base / "p")["annotations"] == []


def test_the_same_answers_twice_and_answers_to_a_closed_batch(base: Path) -> None:
    call = _import(base, _answers(base))
    call()
    before = ledgers.rows(base / "p")
    call()
    assert ledgers.rows(base / "p") == before
    Project(base / "p").annotate_close("v0")
    refuses(base / "p", call, "v0 was closed", "--kind relabel", kind=BatchClosedError)


@pytest.mark.parametrize("name", ["", "  ", "a\x1b[31m", "x" * 5000, "\udcff"])
def test_an_annotator_has_a_name_that_can_be_written(base: Path, name: str) -> None:
    refuses(base / "p", _import(base, _answers(base), annotator=name), "annotator")


# --- the project itself ---------------------------------------------------------------------------


class Broken:
    """An embedder that returns what no vector store may take."""

    name = "broken"

    def __init__(self, rows: Callable[[int], np.ndarray]) -> None:
        self._rows = rows

    def embed(self, files: list[str]) -> np.ndarray:
        return self._rows(len(files))


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (lambda n: np.full((n, 4), np.nan, np.float32), "NaN or infinity"),
        (lambda n: np.full((n, 4), np.inf, np.float32), "NaN or infinity"),
        (lambda n: np.zeros((n + 1, 4), np.float32), "shape"),
        (lambda n: np.zeros((n, 5), np.float32), "5 values a row; stored are 4"),
    ],
)
def test_vectors_that_are_none_are_refused(
    base: Path, monkeypatch: pytest.MonkeyPatch, value: Any, what: str
) -> None:
    store = VectorStore(base / "p")
    store.add_vectors("broken", ["known"], np.zeros((1, 4), np.float32))
    project = Project(base / "p")
    monkeypatch.setattr(project, "_once", lambda *_: lambda: Broken(value))
    refuses(base / "p", project.embed, "'broken'", what, kind=VectorError)
    assert store.vector_keys("broken") == {"known"}


def test_damaged_vectors_are_named_and_can_be_made_again(base: Path) -> None:
    folder = next((base / "p" / "vectors").glob("pixels*.lance"))
    for file in (folder / "data").iterdir():
        file.unlink()
    project = Project(base / "p")
    error = refuses(base / "p", project.embed, folder.name, "rm -r", kind=VectorError)
    assert "derived" in error.fix
    shutil.rmtree(folder)
    assert Project(base / "p").embed().embedded == 24


def test_a_project_of_a_newer_version_is_left_alone(base: Path) -> None:
    project = Project(base / "p")
    with project.store.write() as connection:
        connection.exec_driver_sql("INSERT INTO migrations VALUES ('9999_future', 'x')")
    words = ("made by a newer annoloop", "9999_future", "--upgrade")
    refuses(base / "p", lambda: Project(base / "p"), *words, kind=ProjectError)


def test_a_hand_edited_manifest_stops_every_verb_that_relies_on_it(base: Path) -> None:
    file = base / "p" / "splits.lock.json"
    manifest = json.loads(file.read_text())
    manifest["splits"]["test"].pop()
    file.write_text(json.dumps(manifest))
    project = Project(base / "p")
    for verb in (project.split, project.score, project.select, project.train, project.evaluate):
        refuses(base / "p", verb, "splits.lock.json was edited", kind=LockedSplitError)


def test_a_database_that_is_gone_or_emptied_is_never_made_anew(base: Path) -> None:
    for damage in (Path.unlink, lambda f: f.write_bytes(b"")):
        damage(base / "p" / "annoloop.db")
        with pytest.raises(ProjectError, match="gone or empty") as caught:
            Project(base / "p")
        assert "annoloop restore" in caught.value.fix


def test_a_setting_in_the_environment_that_is_none_is_not_passed_over(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNOLOOP_TRAIN_TRAINER", "x")
    words = ("ANNOLOOP_TRAIN_TRAINER is no setting", "ANNOLOOP_TRAIN__TRAINER?")
    refuses(base / "p", lambda: Project(base / "p"), *words, kind=SettingsError)


def test_exports_never_become_images(base: Path) -> None:
    project = Project(base / "p")
    call = lambda: project.batch_export("v0", base / "images" / "out")  # noqa: E731
    refuses(base / "p", call, "lies in the image folder")
    assert not (base / "images" / "out").exists()
