"""Coverage strategies through the whole loop: the mix from outside, labelled vectors inside."""

from __future__ import annotations

import numpy as np
import pytest

from annoloop.core import coverage
from annoloop.project import Project
from annoloop.records import Split, Status
from annoloop.steps.candidates import labelled_vectors
from annoloop.store import samples


@pytest.mark.parametrize(
    ("name", "said"),
    [("kcenter", "farthest from"), ("facility", "represents"), ("typiclust", "most typical")],
)
def test_a_mix_names_a_strategy_and_its_picks_say_what_they_stand_for(
    evaluated: Project, name: str, said: str
) -> None:
    chosen = evaluated.select(size=8, mix={name: 0.3, "targeted": 0.7})
    assert chosen.size == 8
    assert chosen.quotas == {name: 2, "targeted": 6}
    mine = [p for p in chosen.picks if p.source == name]
    assert mine
    assert all(said in p.reason or "same group" in p.reason for p in mine)


def test_labelled_vectors_are_read_where_a_source_asks_for_them(evaluated: Project) -> None:
    with evaluated._alone("select") as context:
        name = context.embedder().name
        with context.store.read() as connection:
            known = samples.load(connection, statuses=(Status.ANNOTATED, Status.SELECTED))
        found = labelled_vectors(context, name, mix={"kcenter": 0.5, "targeted": 0.5})
        assert found is not None
        assert found.tolist() == (
            context.vectors.load_vectors(name, [s.sha256 for s in known]).tolist()
        )
        assert labelled_vectors(context, name, mix={"coverage": 0.3, "targeted": 0.7}) is None


def test_stored_coverage_holds_back_what_lies_next_to_labelled_images(evaluated: Project) -> None:
    made = evaluated.score()
    assert made.occupied > 0
    with evaluated._alone("check") as context:
        with context.store.read() as connection:
            pool = samples.load(connection, split=Split.POOL)
        vectors = context.vectors.load_vectors(made.embedder, [s.sha256 for s in pool])
        ids, scores, _ = context.vectors.load_scores()
    known = np.array([s.status is Status.ANNOTATED for s in pool])
    draws = coverage.make_draws(vectors, made.draws, rng=np.random.default_rng(made.seed))
    raw = coverage.zcore(vectors, draws, occupied=known, conditional=True)
    plain = coverage.zcore(vectors, draws, occupied=known)
    assert ids == [s.id for s in pool if s.status is not Status.ANNOTATED]
    np.testing.assert_array_equal(scores, coverage.scale(raw[~known]))
    assert not np.array_equal(scores, coverage.scale(plain[~known]))
