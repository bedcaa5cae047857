"""What embed, select and doctor say about the vectors."""

from __future__ import annotations

import numpy as np
import pytest

from annoloop.core import signal as core_signal
from annoloop.project import Project
from annoloop.records import Half, Split
from annoloop.steps import signal
from annoloop.store import samples


def test_nothing_is_said_before_anything_is_labelled(project: Project) -> None:
    assert project.embed().notes == ()


def test_embed_select_and_doctor_say_what_neighbours_share(
    evaluated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_signal, "FEWEST", 3)
    said = evaluated.embed().notes
    assert said
    assert said[0].startswith("pixels-v1 vectors ")
    assert "classes: neighbours share them in " in said[0]
    assert evaluated.select(size=8, dry_run=True).notes[-len(said) :] == said
    checks = [c for c in evaluated.doctor().checks if c.name == "vectors"]
    assert tuple(c.found for c in checks) == said
    assert all(c.ok for c in checks)


def test_only_what_may_steer_is_looked_at(evaluated: Project) -> None:
    with evaluated._alone("look") as context:
        shown = [sample for sample, _ in signal._labeled(context)]
        mined = [sample for sample, _ in signal._mined(context)]
    with evaluated.store.read() as connection:
        val = samples.load(connection, split=Split.VAL)
    assert {s.split for s in shown} == {Split.POOL, Split.GOLDEN, Split.VAL}
    assert {s.half for s in shown if s.split is Split.VAL} == {Half.MINE}
    assert {s.id for s in mined} == {s.id for s in val if s.half is Half.MINE}


def test_vectors_that_are_noise_are_called_near_random(
    evaluated: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_signal, "FEWEST", 3)
    with evaluated._alone("look") as context:
        rows = [s.sha256 for s, _ in signal._labeled(context)]
        noise = np.random.default_rng(0).normal(size=(len(rows), 64)).astype(np.float32)
        context.vectors.add_vectors("noise", rows, noise)
        notes = signal.signal_notes(context, "noise")
    assert notes
    assert "close to random: try another embedder" in notes[0]
