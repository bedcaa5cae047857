"""Does the embedding carry signal: shares by hand, strength by construction, honest intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core import signal
from annoloop.core.signal import Signal, Strength, class_signal, failure_signal, in_words
from annoloop.errors import VectorError


def rng(seed=0):
    return np.random.default_rng(seed)


def pool(n=200, *, spread, seed=0, kinds=4, d=8):
    """Images of one class each; vectors of a class lie round its axis, `spread` wide."""
    draw = rng(seed)
    held = draw.integers(0, kinds, n)
    vectors = np.eye(d)[held] + draw.normal(scale=spread, size=(n, d))
    return vectors.astype(np.float32), [frozenset([int(k)]) for k in held]


def test_rate_and_base_written_out(monkeypatch):
    monkeypatch.setattr(signal, "FEWEST", 3)
    monkeypatch.setattr(signal, "NEIGHBOURS", 2)
    angle = np.deg2rad([0, 10, 25, 90, 115])
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    held = [frozenset({0, 1}), frozenset({0}), frozenset(), frozenset({1}), frozenset({0})]
    found = class_signal(vectors, held, rng=rng())
    # Nearest two: 0 → 1, 2; 1 → 0, 2; 3 → 4, 2; 4 → 3, 2. Image 2 has nothing to share.
    assert found.images == 4
    assert found.rate == pytest.approx(((0.5 + 0) / 2 + 0.5 + 0 + 0) / 4)
    assert found.base == pytest.approx(((2 / 4 + 1 / 4) / 2 + 2 / 4 + 1 / 4 + 2 / 4) / 4)


def test_neighbours_of_the_same_group_do_not_count(monkeypatch):
    monkeypatch.setattr(signal, "FEWEST", 3)
    angle = np.deg2rad([0, 1, 90, 91])
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    held = [frozenset({0}), frozenset({0}), frozenset({1}), frozenset({1})]
    alone = class_signal(vectors, held, rng=rng())
    scenes = class_signal(vectors, held, groups=["a", "a", "b", "b"], rng=rng())
    assert alone.rate == pytest.approx(1 / 3)  # all three others are its neighbours
    assert (scenes.rate, scenes.base) == (0.0, 0.0)
    assert class_signal(vectors, held, groups=["a"] * 4, rng=rng()) is None


@pytest.mark.parametrize(
    ("spread", "expected"), [(0.1, Strength.CARRIES), (1.6, Strength.WEAK), (1e3, Strength.RANDOM)]
)
def test_strength_of_classes(spread, expected):
    found = class_signal(*pool(600, spread=spread), rng=rng())
    assert found.strength is expected, found
    assert found.low <= found.rate - found.base <= found.high


@pytest.mark.parametrize(("spread", "expected"), [(0.1, Strength.CARRIES), (1e3, Strength.RANDOM)])
def test_strength_of_failures(spread, expected):
    vectors, held = pool(spread=spread)
    wrong = [frozenset([("missed", k) for k in kinds if k < 2]) for kinds in held]
    found = failure_signal(vectors, wrong, rng=rng())
    assert found.images == sum(map(bool, wrong))
    assert found.strength is expected, found


def test_vectors_without_signal_are_seldom_said_to_carry_it():
    said = []
    for seed in range(60):
        vectors, held = pool(80, spread=1e3, seed=seed)
        wrong = [frozenset([("missed", k) for k in kinds if k < 2]) for kinds in held]
        said += [
            class_signal(vectors, held, rng=rng(seed)).strength,
            failure_signal(vectors, wrong, rng=rng(seed)).strength,
        ]
    assert np.mean([s is not Strength.RANDOM for s in said]) <= 0.06  # 2.5 % and four deviations


def test_where_it_cannot_be_told():
    vectors, held = pool(40, spread=0.1)
    assert class_signal(vectors[:19], held[:19], rng=rng()) is None
    assert class_signal(vectors, [frozenset({1})] * 40, rng=rng()) is None
    assert class_signal(vectors, [frozenset()] * 40, rng=rng()) is None
    assert class_signal(vectors[:0], [], rng=rng()) is None
    with pytest.raises(VectorError, match="embed"):
        class_signal(vectors, held[:-1], rng=rng())
    vectors[3, 3] = np.inf
    with pytest.raises(VectorError, match="not finite"):
        class_signal(vectors, held, rng=rng())


def test_of_many_images_a_random_choice_is_looked_at(monkeypatch):
    monkeypatch.setattr(signal, "MOST", 50)
    vectors, held = pool(300, spread=0.3)
    found = class_signal(vectors, held, rng=rng(1))
    assert found.images == 50
    assert found == class_signal(vectors, held, rng=rng(1))
    assert found != class_signal(vectors, held, rng=rng(2))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(20, 60), st.integers(1, 4))
def test_bounds_and_names_of_classes_do_not_matter(seed, n, kinds):
    draw = rng(seed)
    vectors = draw.integers(-2, 3, (n, 3)).astype(np.float32)
    held = [frozenset(draw.integers(0, kinds, draw.integers(0, 3)).tolist()) for _ in range(n)]
    groups = draw.integers(0, n, n).tolist()
    found = class_signal(vectors, held, groups=groups, rng=rng(1))
    renamed = [frozenset(k + 7 for k in one) for one in held]
    again = class_signal(vectors, renamed, groups=[f"g{g}" for g in groups], rng=rng(1))
    assert again == found
    if found is not None:
        assert 0 <= found.rate <= 1
        assert 0 <= found.base <= 1
        assert found.low <= found.rate - found.base + 1e-9
        assert found.rate - found.base <= found.high + 1e-9


def test_in_words():
    strong = Signal(images=340, rate=0.61, base=0.22, low=0.35, high=0.43)
    assert in_words(strong, vectors="pixels-v1", shared="classes") == (
        "pixels-v1 vectors carry classes: neighbours share them in 61%, any images in 22% "
        "(difference 35 to 43 points, 340 images)"
    )
    weak = Signal(images=340, rate=0.25, base=0.22, low=0.01, high=0.05)
    assert "carry classes weakly" in in_words(weak, vectors="v", shared="classes")
    none = Signal(images=34, rate=0.25, base=0.22, low=-0.02, high=0.08)
    assert in_words(none, vectors="v", shared="classes").endswith(
        "targeted picks will be close to random: try another embedder"
    )
