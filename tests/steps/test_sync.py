"""What a project shows in another tool: the whole loop, once, over nobody's own changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annoloop.errors import NotReadyError
from annoloop.project import Project
from annoloop.records import Half, Split
from annoloop.records_loop import LoopSample
from annoloop.steps.ingest_loop import ingest_loop
from annoloop.steps.sync import sync
from annoloop.store import samples
from tests.memory_mirror import Memory
from tests.steps.test_ingest_loop import kept, make


@pytest.fixture
def bare(shapes: Path) -> Memory:
    """Sixty images with reference labels, and no loop."""
    reader = kept(shapes)
    plain = tuple(LoopSample(one.external_id, one.file) for one in reader.loop.samples)
    loop = kept(shapes, samples=plain, human=None).loop
    return Memory(loop, reader.drawn, {})


@pytest.fixture
def project(bare: Memory, tmp_path: Path) -> Project:
    """One qualification pass, and v0 with blind golden images, all answered by an oracle."""
    made = make(tmp_path / "p", bare)  # type: ignore[arg-type]
    context = made._context()
    ingest_loop(context, bare)
    with pytest.raises(NotReadyError, match="no splits to show"):
        sync(context, bare)
    made.split()
    first = made.golden_baseline().batch
    made.annotate_oracle(first)
    made.annotate_close(first)
    made.run(iterations=1, annotator="oracle")
    return made


@pytest.fixture
def push(project: Project, bare: Memory) -> Callable[..., Any]:
    return lambda **options: sync(project._context(), bare, **options)


def by_key(project: Project) -> dict[str, Any]:
    with project.store.read() as connection:
        return {str(s.external_id): s for s in samples.load(connection)}


def nothing(made: Any) -> bool:
    return not (any(made.changed.values()) or made.views or made.info or made.conflicts)


def test_the_whole_loop_is_shown_once(
    project: Project, bare: Memory, push: Callable[..., Any]
) -> None:
    assert push().conflicts == ()
    for key, one in by_key(project).items():
        tags = bare.shown[key].tags
        assert f"split:{one.split}" in tags
        assert (f"val:{one.half}" in tags) == (one.half is not None)
        if one.split is Split.POOL:
            assert bare.shown[key].status == one.status
    assert {"val_mine", "val_gauge", "batch_v0", "batch_golden-1", "pool"} <= bare.views.keys()
    assert bare.detected.keys() == {"predictions", "golden_v0", "golden_pass_1"}
    told = bare.info["golden_passes"]
    for field, said in told.items():
        assert said["images"] == len(bare.detected[field]) > 0
        assert said["boxes"] == sum(map(len, bare.detected[field].values()))
    assert bare.info["golden_qa_history"][0]["iteration"] == 0
    before = bare.look()
    assert nothing(push())
    assert bare.look() == before


def test_an_open_batch_does_not_give_its_blind_images_away(
    project: Project, bare: Memory, push: Callable[..., Any]
) -> None:
    chosen = project.select(size=5)
    assert chosen.blind_golden > 0
    project.annotate_oracle(chosen.batch)
    push()
    assert "golden_v1" not in bare.detected
    golden = [key for key, s in by_key(project).items() if s.split is Split.GOLDEN]
    assert not any("batch:v1" in bare.shown[key].tags for key in golden)
    project.annotate_close(chosen.batch)
    push()
    assert len(bare.detected["golden_v1"]) == chosen.blind_golden


def test_what_others_changed_is_named_and_stays(
    project: Project, bare: Memory, push: Callable[..., Any]
) -> None:
    push()
    one = next(key for key, s in by_key(project).items() if s.half is Half.MINE)
    bare.push_tags({"val:gauge": [one]}, {"val:mine": [one]})
    bare.detected["golden_v1"] = {one: ()}
    project.select(size=5)
    project.annotate_oracle("v1")
    project.annotate_close("v1")
    made = push()
    assert {p.file for p in made.conflicts} == {by_key(project)[one].path, "golden_v1"}
    assert "val:gauge" in bare.shown[one].tags
    assert bare.detected["golden_v1"] == {one: ()}
    assert push(force=True).conflicts == ()
    assert "val:mine" in bare.shown[one].tags
    assert len(bare.detected["golden_v1"]) > 1


@pytest.mark.parametrize("name", ["predictions", "golden_v0", "human", "status"])
def test_a_push_that_was_killed_is_finished_by_the_next(
    project: Project,
    bare: Memory,
    push: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    real = Memory.push_values

    def dying(self: Memory, pushed: str, values: Any) -> None:
        if pushed == name:
            real(self, pushed, dict(list(values.items())[:1]))
            raise KeyboardInterrupt
        real(self, pushed, values)

    with monkeypatch.context() as patch:
        patch.setattr(Memory, "push_values", dying)
        with pytest.raises(KeyboardInterrupt):
            push()
    assert push().conflicts == ()
    assert len(bare.detected["predictions"]) == bare.info["annoloop"]["predicted"]
    assert len(bare.detected["golden_v0"]) == bare.info["golden_passes"]["golden_v0"]["images"]
    assert nothing(push())
