"""Random sequences of verbs on a tiny project: what is locked stays locked, and nothing leaks.

After every verb the whole database is looked at: no test, val or golden sample was selected or
trained on or has moved, no group is torn, every count adds up, history only grew, and the same
seed would pick the same batch again.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from annoloop.errors import AnnoloopError
from annoloop.project import Project
from annoloop.records import Source

from . import ledgers
from .conftest import draw_shapes

SCENES, FRAMES = 14, 2
ANSWERS = ("complete", "empty", "unsure", "unusable", None)


class Loop(RuleBasedStateMachine):
    """Verbs in any order; those that are out of order have to be refused by name."""

    _template: Path | None = None

    @classmethod
    def template(cls) -> Path:
        """A project with its splits made, copied for each example: images are read once."""
        if cls._template is None:
            data = draw_shapes(Path(tempfile.mkdtemp()), scenes=SCENES, frames=FRAMES, seed=8)
            source = Source(str(data / "images"), str(data / "labels.json"))
            made, _ = Project.init(data / "p", source, group="folder")
            made.score()
            cls._template = data
        return cls._template

    @initialize()
    def begin(self) -> None:
        self.home = Path(tempfile.mkdtemp())
        self.folder = shutil.copytree(self.template() / "p", self.home / "p")
        self.images = self.template() / "images"
        self.before = ledgers.rows(self.folder)
        self.locked = self._locked(self.before)
        self.exports = 0

    def teardown(self) -> None:
        if hasattr(self, "home"):
            shutil.rmtree(self.home)

    # --- verbs ------------------------------------------------------------------------------------

    @rule(size=st.integers(1, 12), seed=st.integers(0, 2))
    def select(self, size: int, seed: int) -> None:
        project = Project(self.folder)
        dry = self._try(lambda: project.select(size, seed=seed, dry_run=True))
        made = self._try(lambda: project.select(size, seed=seed))
        assert (dry is None) == (made is None)
        if made is not None:
            assert dry.picks == made.picks
            assert 0 < made.size <= size

    @rule(data=st.data(), who=st.sampled_from(["ann", "bob"]))
    def answer(self, data: st.DataObject, who: str) -> None:
        """Some of an open batch's images, each with any answer."""
        name = self._open_batch(data)
        if name is None:
            return
        self.exports += 1
        out = self.home / f"out {self.exports}"
        Project(self.folder).batch_export(name, out)
        document = json.loads((out / "annotations.json").read_text())
        said = data.draw(
            st.lists(
                st.sampled_from(ANSWERS),
                min_size=len(document["images"]),
                max_size=len(document["images"]),
            )
        )
        boxes = []
        for image, answer in zip(document["images"], said, strict=True):
            if answer is not None:
                image["answer"] = answer
            if answer == "complete":
                boxes.append({"image_id": image["id"], "category_id": 1, "bbox": [3, 3, 14, 14]})
        document["annotations"] = boxes
        (out / "annotations.json").write_text(json.dumps(document))
        made = Project(self.folder).annotate_import(
            out / "annotations.json", batch=name, annotator=who
        )
        assert made.images == sum(one is not None for one in said)

    @rule(data=st.data())
    def oracle(self, data: st.DataObject) -> None:
        name = self._open_batch(data)
        if name is not None:
            self._try(lambda: Project(self.folder).annotate_oracle(name))

    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        names = [row[0] for row in ledgers.rows(self.folder)["batches"]]
        name = data.draw(st.sampled_from([*names, "v99"]))
        self._try(lambda: Project(self.folder).annotate_close(name))

    @rule(kind=st.sampled_from(["val", "golden", "test", "review", "relabel"]), data=st.data())
    def make(self, kind: str, data: st.DataObject) -> None:
        batches = [row[0] for row in ledgers.rows(self.folder)["batches"]]
        of = data.draw(st.sampled_from(batches)) if kind == "relabel" and batches else None
        self._try(lambda: Project(self.folder).batch_make(kind, size=3, of=of))

    @rule()
    def baseline(self) -> None:
        self._try(lambda: Project(self.folder).golden_baseline())

    @rule()
    def requeue(self) -> None:
        self._try(lambda: Project(self.folder).annotate_requeue())

    @rule(data=st.data(), verb=st.sampled_from(["skip", "unskip"]))
    def take_out_and_bring_back(self, data: st.DataObject, verb: str) -> None:
        paths = [row[1] for row in ledgers.rows(self.folder)["samples"]]
        some = data.draw(st.lists(st.sampled_from(paths), min_size=1, max_size=3))
        project = Project(self.folder)
        if verb == "skip":
            self._try(lambda: project.annotate_skip(some, why="drawn"))
        else:
            self._try(lambda: project.annotate_unskip(some))

    @rule(why=st.none() | st.just("relabelled"))
    def check(self, why: str | None) -> None:
        self._try(lambda: Project(self.folder).golden_check(accept=why))

    @rule()
    def train(self) -> None:
        made = self._try(lambda: Project(self.folder).train())
        if made is None:
            return
        manifest = json.loads((Path(made.folder) / "annoloop-model.json").read_text())
        samples = {row[0]: row for row in ledgers.rows(self.folder)["samples"]}
        assert {samples[key][8] for key in manifest["samples"]} == {"pool"}
        assert made.images == Project(self.folder).status().pool.annotated

    @rule(split=st.sampled_from(["val", "test"]))
    def evaluate(self, split: str) -> None:
        self._try(lambda: Project(self.folder).evaluate(split))

    @rule()
    def decide(self) -> None:
        self._try(lambda: Project(self.folder).decide())

    @rule()
    def walk(self) -> None:
        self._try(lambda: Project(self.folder).run(iterations=1, annotator="oracle"))

    @precondition(lambda self: not (self.home / "more").exists())
    @rule(scene=st.integers(0, SCENES - 1))
    def more_images(self, scene: int) -> None:
        """A copy of an image, in a folder of its own: a leak, if it is of a locked scene."""
        mine = self.home / "more"
        shutil.copytree(self.images, mine)
        source = mine / f"scene_{scene:03d}" / "frame_0.png"
        (mine / "copies").mkdir()
        shutil.copy(source, mine / "copies" / "copy.png")
        toml = self.folder / "annoloop.toml"
        toml.write_text(toml.read_text().replace(str(self.images), str(mine)))
        made = Project(self.folder).ingest()
        assert made.images_added == 1

    # --- what must hold ---------------------------------------------------------------------------

    @invariant()
    def nothing_broken(self) -> None:
        if not hasattr(self, "folder"):
            return
        rows = ledgers.rows(self.folder)
        assert ledgers.broken(self.folder) == []
        for table in ledgers.GROWING:
            assert rows[table][: len(self.before[table])] == self.before[table], table
        self.before = rows
        self._nothing_locked_moved(rows)
        self._groups_are_whole(rows)
        self._counts_add_up(rows)

    def _nothing_locked_moved(self, rows: dict[str, list[Any]]) -> None:
        assert self._locked(rows) == self.locked
        samples = {row[0]: row for row in rows["samples"]}
        kinds = {row[0]: row[1] for row in rows["batches"]}
        for batch, sample, _, blind, *_ in rows["picks"]:
            if kinds[batch] == "select":
                assert samples[sample][8] == ("golden" if blind else "pool")
        for row in rows["samples"]:
            assert row[8] == "pool" or row[10] in {"unlabeled", "skipped"}

    def _groups_are_whole(self, rows: dict[str, list[Any]]) -> None:
        sides: dict[str, set[tuple[Any, ...]]] = {}
        picked: dict[tuple[str, str], set[str]] = {}
        members: dict[str, set[str]] = {}
        samples = {row[0]: row for row in rows["samples"]}
        for row in rows["samples"]:
            if row[7] is not None:
                sides.setdefault(row[7], set()).add((row[8], row[9]))
                members.setdefault(row[7], set()).add(row[0])
        assert all(len(found) == 1 for found in sides.values())
        kinds = {row[0]: row[1] for row in rows["batches"]}
        for batch, sample, _, blind, source, *_ in rows["picks"]:
            group = samples[sample][7]
            if kinds[batch] == "select" and not blind and source != "pending" and group:
                picked.setdefault((batch, group), set()).add(sample)
        open_ones = {row[0] for row in rows["samples"] if row[10] in {"unlabeled", "pending"}}
        for (_, group), taken in picked.items():
            # What of a group was left out was out already: answered before, or skipped.
            assert not (members[group] - taken) & open_ones or self._was_torn_by_people(group, rows)

    def _was_torn_by_people(self, group: str, rows: dict[str, list[Any]]) -> bool:
        """An answer of `unsure` puts one image of a group back; nothing else may."""
        ids = {row[0] for row in rows["samples"] if row[7] == group}
        picks = {row[1] for row in rows["picks"]}
        return ids <= picks

    def _counts_add_up(self, rows: dict[str, list[Any]]) -> None:
        now = Project(self.folder).status()
        assert now.samples == len(rows["samples"]) == sum(now.splits.values())
        pool = now.pool
        assert pool.total == now.splits["pool"]
        parts = (pool.annotated, pool.selected, pool.unlabeled, pool.pending, pool.skipped)
        assert sum(parts) == pool.total
        assert Counter(row[10] for row in rows["samples"] if row[8] == "pool") == Counter(
            dict(
                zip(
                    ("annotated", "selected", "unlabeled", "pending", "skipped"), parts, strict=True
                )
            )
        )
        for batch in now.batches:
            tasks = sum(batch.by_source.values())
            assert tasks == sum(row[0] == batch.name for row in rows["picks"])
            assert batch.answered <= tasks

    # --- the rest ---------------------------------------------------------------------------------

    def _try(self, call: Any) -> Any:
        """The answer, or None where the verb is refused; then nothing may have changed but
        what a machine step before it wrote."""
        try:
            return call()
        except AnnoloopError:
            return None

    def _open_batch(self, data: st.DataObject) -> str | None:
        names = [row[0] for row in ledgers.rows(self.folder)["batches"] if row[6] is None]
        return data.draw(st.sampled_from(names)) if names else None

    def _locked(self, rows: dict[str, list[Any]]) -> set[tuple[Any, ...]]:
        return {(row[0], row[8], row[9]) for row in rows["samples"] if row[8] != "pool"}


def test_a_few_random_loops() -> None:
    run_state_machine_as_test(Loop, settings=settings(max_examples=3, stateful_step_count=12))


@pytest.mark.long
def test_many_random_loops() -> None:
    run_state_machine_as_test(Loop, settings=settings(max_examples=25, stateful_step_count=40))
