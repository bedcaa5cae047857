"""Images that are gone: named before anything starts, taken out by a verb, and brought back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from annoloop.errors import InputError, LockedSplitError
from annoloop.project import Project
from annoloop.records import Split, Status
from annoloop.store import samples

from .. import ledgers  # noqa: TID252


@pytest.fixture
def own(evaluated: Project, tmp_path: Path) -> Project:
    """A project with images of its own, which may be deleted."""
    root = evaluated._context().images_root
    images = shutil.copytree(root, tmp_path / "images")
    toml = evaluated.folder / "annoloop.toml"
    toml.write_text(toml.read_text().replace(json.dumps(str(root)), json.dumps(str(images))))
    return Project(evaluated.folder)


def lose(project: Project, split: Split, status: Status) -> str:
    with project.store.read() as connection:
        one = samples.load(connection, split=split, statuses=(status,))[0]
    Path(one.uri).unlink()
    return one.path


def state(project: Project, path: str) -> tuple[Status, str | None]:
    with project.store.read() as connection:
        found = next(s for s in samples.load(connection) if s.path == path)
    return found.status, found.why


def test_a_labelled_image_that_is_gone_is_named_and_can_be_left_out(own: Project) -> None:
    images = own.status().pool.annotated
    path = lose(own, Split.POOL, Status.ANNOTATED)
    with pytest.raises(InputError, match=f"1 of {images} images are gone, first {path}") as caught:
        own.train()
    assert "annotate skip --missing" in caught.value.fix
    assert own.decide().verdict  # which needs labels only
    made = own.annotate_skip(missing=True, why="deleted on request")
    assert made.paths == (path,)
    assert state(own, path) == (Status.SKIPPED, "deleted on request")
    assert own.train().images == images - 1
    assert own.annotate_skip(missing=True, why="again").paths == ()
    assert own.annotate_unskip([path]).notes == ("1 of them are annotated again",)
    assert state(own, path) == (Status.ANNOTATED, None)
    with own.store.read() as connection:
        lines = [row[3] for row in ledgers.rows(own.folder)["audit"]]
        assert samples.counts(connection)
    assert lines.count("annotate skip") == lines.count("annotate unskip") == 1
    assert ledgers.broken(own.folder) == []


def test_a_val_image_that_is_gone_leaves_the_measurement_not_the_split(own: Project) -> None:
    before = own.evaluate().val
    path = lose(own, Split.VAL, Status.UNLABELED)
    shutil.rmtree(own.folder / "predictions")
    with pytest.raises(InputError, match=f"first {path}"):
        own.evaluate()
    own.annotate_skip([path], why="gone")
    after = own.evaluate().val
    assert before is not None
    assert after is not None
    assert after["images"] == before["images"] - 1
    assert own.split().counts["val"] == 8
    own.annotate_unskip([path])
    assert state(own, path) == (Status.UNLABELED, None)


def test_a_golden_image_that_is_gone_is_not_hidden_in_batches(own: Project) -> None:
    with own.store.read() as connection:
        golden = [s.path for s in samples.load(connection, split=Split.GOLDEN)]
    own.annotate_skip(golden, why="gone")
    assert own.select(size=4).blind_golden == 0


def test_an_image_of_an_open_batch_is_answered_there(own: Project, tmp_path: Path) -> None:
    chosen = own.select(size=4)
    path = lose(own, Split.POOL, Status.SELECTED)
    with pytest.raises(InputError, match=f"1 of .* images are gone, first {path}"):
        own.batch_export(chosen.batch, tmp_path / "out")
    own.annotate_oracle(chosen.batch)
    made = own.annotate_skip([path], why="gone")
    assert made.notes == ("1 of them wait in an open batch: answered there as unusable",)
    exported = own.batch_export(chosen.batch, tmp_path / "out")
    assert exported.images == 4 + chosen.blind_golden - 1
    own.annotate_close(chosen.batch)
    assert state(own, path) == (Status.SKIPPED, "gone")
    assert ledgers.broken(own.folder) == []


def test_an_unlabelled_image_that_is_gone_stops_neither_embedding_nor_splits(own: Project) -> None:
    path = lose(own, Split.POOL, Status.UNLABELED)
    shutil.rmtree(own.folder / "vectors")
    shutil.rmtree(own.folder / "fingerprints")
    with pytest.raises(InputError, match=f"first {path}"):
        own.embed()
    own.annotate_skip(missing=True, why="gone")
    assert own.embed().embedded == 59
    assert own.split().leaks == ()


def test_what_would_leak_stays_skipped(own: Project) -> None:
    with own.store.read() as connection:
        test = samples.load(connection, split=Split.TEST)[0]
    folder = Path(test.uri).parent
    shutil.copy(test.uri, folder / "later.png")
    shutil.copy(test.uri, folder.parent / "copy.png")
    own.ingest()
    for path in (f"{folder.name}/later.png", "copy.png"):
        assert state(own, path)[0] is Status.SKIPPED
        with pytest.raises(LockedSplitError, match="would leak a locked image"):
            own.annotate_unskip([path])


def test_a_skip_names_its_images_and_its_reason(own: Project) -> None:
    before = ledgers.rows(own.folder)
    with pytest.raises(InputError, match="needs a reason"):
        own.annotate_skip(missing=True, why=" ")
    with pytest.raises(InputError, match=r"no sample has the path 'nowhere\.png'"):
        own.annotate_skip(["nowhere.png"], why="x")
    with pytest.raises(InputError, match="no image"):
        own.annotate_skip(why="x")
    assert ledgers.rows(own.folder) == before
