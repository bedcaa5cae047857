"""A backup taken while others write is one state; restored it is equal to the row, and goes on."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from annoloop.errors import AnnoloopError, InputError, ProjectError, VectorError
from annoloop.project import Project

from .. import ledgers  # noqa: TID252


def test_a_restored_project_is_equal_to_the_row_and_goes_on(
    evaluated: Project, tmp_path: Path
) -> None:
    made = evaluated.backup(tmp_path / "backup")
    assert made.derived == ()
    assert {f.name for f in (tmp_path / "backup").iterdir()} == {
        *("annoloop.db", "annoloop.toml", "splits.lock.json", "backup.json")
    }
    restored, back = Project.restore(tmp_path / "backup", tmp_path / "again")
    assert ledgers.rows(tmp_path / "again") == ledgers.rows(evaluated.folder)
    assert back.rows == made.rows
    assert back.rows["samples"] == 60
    assert "trained again" in back.notes[-1]
    assert restored.status().next_step == evaluated.status().next_step
    twin = evaluated.select(size=6)
    chosen = restored.select(size=6)  # embeds and scores first: these are derived
    assert [p.sample_id for p in chosen.picks] == [p.sample_id for p in twin.picks]


def test_derived_data_is_copied_on_demand(evaluated: Project, tmp_path: Path) -> None:
    made = evaluated.backup(tmp_path / "backup", derived=True)
    assert "models/v0" in made.derived
    assert "predictions/v0.lance" in made.derived
    restored, back = Project.restore(tmp_path / "backup", tmp_path / "again")
    assert (back.derived, back.notes) == (made.derived, ())
    said: list[str] = []
    talking = Project(restored.folder, say=said.append)
    assert talking.evaluate().model == "v0"
    assert talking.embed().embedded == 0
    talking.select(size=4)
    assert not any("embedding" in text or "no coverage scores" in text for text in said)


def test_predictions_of_a_model_that_the_database_does_not_know_are_left_out(
    evaluated: Project, tmp_path: Path
) -> None:
    evaluated.vectors = evaluated._context().vectors  # type: ignore[attr-defined]
    evaluated.vectors.write_predictions("v7", [("x", [])])  # type: ignore[attr-defined]
    made = evaluated.backup(tmp_path / "backup", derived=True)
    assert not any("v7" in name for name in made.derived)


def test_a_backup_while_others_write_is_one_state(evaluated: Project, tmp_path: Path) -> None:
    stop = threading.Event()

    def work() -> None:
        busy = Project(evaluated.folder)
        while not stop.is_set():
            chosen = busy.batch_make("review", size=3)
            busy.annotate_oracle(chosen.batch)
            busy.annotate_close(chosen.batch)

    writer = threading.Thread(target=work)
    writer.start()
    try:
        for number in range(6):
            Project(evaluated.folder).backup(tmp_path / str(number))
    finally:
        stop.set()
        writer.join()
    final, sizes = ledgers.rows(evaluated.folder), []
    for number in range(6):
        folder = tmp_path / f"again {number}"
        Project.restore(tmp_path / str(number), folder)
        rows = ledgers.rows(folder)
        for table in ledgers.GROWING:
            assert final[table][: len(rows[table])] == rows[table]
        assert ledgers.broken(folder) == []
        sizes.append(len(rows["audit"]))
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]  # it was indeed being written


def _corrupt(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "kind", "what"),
    [
        (lambda b: shutil.rmtree(b), InputError, "is no backup"),
        (lambda b: (b / "backup.json").write_text("{}"), InputError, "not what"),
        (lambda b: (b / "backup.json").write_text("[]"), InputError, "is no backup"),
        (lambda b: (b / "backup.json").write_bytes(b"\xff\xfe"), InputError, "is no backup"),
        (lambda b: (b / "annoloop.db").unlink(), ProjectError, "annoloop.db is not what"),
        (lambda b: _corrupt(b / "annoloop.db"), ProjectError, "annoloop.db is not what"),
        (lambda b: _corrupt(b / "splits.lock.json"), ProjectError, "splits.lock.json is not"),
    ],
)
def test_a_damaged_backup_is_refused_and_makes_nothing(
    evaluated: Project, tmp_path: Path, damage, kind: type[AnnoloopError], what: str
) -> None:
    evaluated.backup(tmp_path / "backup")
    damage(tmp_path / "backup")
    with pytest.raises(kind, match=what):
        Project.restore(tmp_path / "backup", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_backup_of_a_newer_annoloop_is_refused(evaluated: Project, tmp_path: Path) -> None:
    with evaluated.store.write() as connection:
        connection.exec_driver_sql("INSERT INTO migrations VALUES ('9999_future', 'x')")
    evaluated.backup(tmp_path / "backup")
    with pytest.raises(ProjectError, match="newer annoloop"):
        Project.restore(tmp_path / "backup", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_neither_writes_over_what_is_there(evaluated: Project, tmp_path: Path) -> None:
    evaluated.backup(tmp_path / "backup")
    for target in (tmp_path / "backup", evaluated.folder):
        with pytest.raises(InputError, match="is not empty"):
            evaluated.backup(target)
        with pytest.raises(InputError, match="is not empty"):
            Project.restore(tmp_path / "backup", target)
    inside = Project(evaluated.folder)._context().images_root / "backup"
    with pytest.raises(InputError, match="lies in the image folder"):
        evaluated.backup(inside)


def test_a_database_elsewhere_comes_back_beside_its_settings(
    evaluated: Project, tmp_path: Path
) -> None:
    toml = evaluated.folder / "annoloop.toml"
    (evaluated.folder / "annoloop.db").rename(tmp_path / "elsewhere.db")
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    toml.write_text(toml.read_text() + f"\n[store]\nurl = {json.dumps(url)}\n")
    moved = Project(evaluated.folder)
    moved.backup(tmp_path / "backup")
    restored, _ = Project.restore(tmp_path / "backup", tmp_path / "again")
    assert restored.store.file == tmp_path / "again" / "annoloop.db"
    assert restored.status().samples == 60


def test_missing_images_are_told(evaluated: Project, tmp_path: Path) -> None:
    toml = evaluated.folder / "annoloop.toml"
    root = Project(evaluated.folder)._context().images_root
    (evaluated.folder / "images").symlink_to(root)
    toml.write_text(toml.read_text().replace(json.dumps(str(root)), '"images"'))
    Project(evaluated.folder).backup(tmp_path / "backup")
    _, back = Project.restore(tmp_path / "backup", tmp_path / "again")
    assert "bring them there" in back.notes[0]


def test_vectors_that_cannot_be_read_stop_only_a_derived_backup(
    evaluated: Project, tmp_path: Path
) -> None:
    for file in evaluated.folder.glob("vectors/*.lance/data/*"):
        file.unlink()
    evaluated.backup(tmp_path / "backup")
    with pytest.raises(VectorError, match="cannot be read"):
        evaluated.backup(tmp_path / "more", derived=True)
    assert not (tmp_path / "more").exists()
