"""A project of a FiftyOne dataset: what it takes over, to the row, and the loop from there on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import annoloop.fiftyone as loop
from annoloop.records import Answer, BatchKind, Half, Split, Status
from annoloop.store import batches, db, iterations, samples
from tests.fiftyone.shapes import CLASSES, DIM, HEIGHT, WIDTH, bare, init, notebook, stored

fo = pytest.importorskip(
    "fiftyone", reason="no FiftyOne with a database here: `make test-fiftyone`"
)


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Any]:
    made = notebook(fo, tmp_path / "data")
    yield made
    made.delete()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Any]:
    made = bare(fo, tmp_path / "data")
    yield made
    made.delete()


def test_what_the_notebooks_did_is_adopted_to_the_row(begun: Any, tmp_path: Path) -> None:
    project, made = init(tmp_path / "p", begun)
    assert made.split
    found = stored(project)
    ids, tags, statuses, files = begun.values(["id", "tags", "annotation_status", "filepath"])
    assert set(found) == set(ids)
    for key, tagged, status, file in zip(ids, tags, statuses, files, strict=True):
        one = found[key]
        assert one.uri == file
        assert f"split:{one.split}" in tagged
        assert (one.half is None) == (one.split is not Split.VAL)
        assert one.status == (status if one.split is Split.POOL else "unlabeled")
    halves = Counter(one.half for one in found.values() if one.half)
    assert abs(halves[Half.MINE] - halves[Half.GAUGE]) <= 2
    with project.store.read() as connection:
        every = batches.load_all(connection)
        assert [(b.name, b.kind, b.open) for b in every] == [
            ("v0", BatchKind.SELECT, False),
            ("v1", BatchKind.SELECT, True),
        ]
        by_id = {s.id: key for key, s in found.items()}
        for batch in every:
            picks = [pick for pick, _ in batches.load_picks(connection, batch.name)]
            tagged = begun.match_tags(f"batch:{batch.name}").values("id")
            assert sorted(by_id[p.sample_id] for p in picks) == sorted(tagged)
        sources = batches.pick_counts(connection)
        assert sources == {"v0": {"coverage": 12}, "v1": {"pending": 1, "targeted": 9}}
        v1 = batches.load_picks(connection, "v1")
        assert {p.reason for p, _ in v1} == {f"looks like failure {i}" for i in range(10)}
        done = iterations.load_iterations(connection)
        assert [(one.name, sorted(one.steps)) for one in done] == [
            ("v0", ["annotate", "select"]),
            ("v1", ["select"]),
        ]
        told = done[0].steps["annotate"].record
        drawn = begun.match_tags("annotated:v0").values("human_labels.detections.label")
        empty = sum(not one for one in drawn)
        assert (told["annotated"], told["empty"], told["skipped"]) == (10, empty, 1)
        assert told["golden_statistics"]["total_detections"] == 14
        line = next(row for row in db.history(connection) if row["what"] == "adopt")
    assert line["details"]["golden_qa_history"] == begun.info["golden_qa_history"]
    assert line["details"]["evaluations"]["eval_v0"]["mAP"] == 0.25


def test_status_counts_what_fiftyone_progress_counts(begun: Any, tmp_path: Path) -> None:
    project, _ = init(tmp_path / "p", begun)
    theirs, ours = loop.progress(begun).pool, project.status().pool
    for name in ("total", "annotated", "selected", "pending", "skipped", "unlabeled"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.selected == 6
    assert project.status().open_batch == "v1"


def test_boxes_are_the_datasets_to_a_millionth(begun: Any, tmp_path: Path) -> None:
    project, _ = init(tmp_path / "p", begun)
    found = stored(project)
    with project.store.read() as connection:
        references = samples.newest_references(connection)
        answers = batches.newest(batches.load_annotations(connection))
        classes = samples.schema(connection).classes
    assert list(classes) == CLASSES
    compared = 0
    for key, truth, human, status in zip(
        *begun.values(["id", "ground_truth", "human_labels", "annotation_status"]), strict=True
    ):
        sides = [(references[found[key].id].labels, truth)]
        if status == "annotated":
            sides.append((answers[found[key].id].labels, human))
        for ours, theirs in sides:
            given = theirs.detections if theirs else []
            assert [classes[b.class_id] for b in ours] == [d.label for d in given]
            for label, one in zip(ours, given, strict=True):
                x, y, w, h = one.bounding_box
                wanted = (x * WIDTH, y * HEIGHT, w * WIDTH, h * HEIGHT)
                assert label.box == pytest.approx(wanted, abs=1e-6)
                compared += 1
    assert compared > 100
    assert {one.origin for one in answers.values()} == {"fiftyone"}
    empty = [one for one in answers.values() if one.answer is Answer.EMPTY]
    assert len(empty) >= 2


def test_vectors_and_scores_are_the_datasets_until_the_next_score(
    begun: Any, tmp_path: Path
) -> None:
    project, _ = init(tmp_path / "p", begun)
    assert project.settings.embed.embedder == "fiftyone"
    found = stored(project)
    context = project._context()
    keys, rows, scores = begun.values(["id", "embeddings", "zcore"])
    ours = context.vectors.load_vectors("fiftyone:embeddings", [found[key].sha256 for key in keys])
    assert ours.shape == (120, DIM)
    np.testing.assert_array_equal(ours, np.array(rows, dtype=np.float32))
    ids, kept, about = context.vectors.load_scores()
    theirs = {found[key].id: score for key, score in zip(keys, scores, strict=True)}
    assert dict(zip(ids, kept.tolist(), strict=True)) == {key: theirs[key] for key in ids}
    pool = [s for s in found.values() if s.split is Split.POOL]
    assert set(ids) == {s.id for s in pool if s.status in (Status.UNLABELED, Status.PENDING)}
    assert about["closed"] == ["v0"]


def test_the_open_batch_is_closed_and_the_loop_goes_on(begun: Any, tmp_path: Path) -> None:
    project, _ = init(tmp_path / "p", begun)
    project.annotate_oracle("v1")
    closed = project.annotate_close("v1")
    assert (closed.annotated, closed.pending, closed.skipped) == (10, 0, 0)
    made = project.run(iterations=2, annotator="oracle")
    assert made.iterations == 2
    with project.store.read() as connection:
        names = [one.name for one in iterations.load_iterations(connection)]
    assert names == ["v0", "v1", "v2"]
    assert made.rows[-1].metric is not None
    assert "targeted" in made.rows[-1].batch


def test_the_whole_loop_on_a_bare_dataset(fresh: Any, tmp_path: Path) -> None:
    project, made = init(tmp_path / "p", fresh)
    assert not made.split
    assert (made.ingest.images_added, made.ingest.images_labeled) == (120, 120)
    assert project.settings.embed.embedder == "pixels"
    done = project.run(iterations=2, annotator="oracle")
    assert done.iterations == 2
    assert done.rows[-1].metric is not None
    assert {s.external_id for s in stored(project).values()} == set(fresh.values("id"))
