"""Neighbours against the plain definition, and the promises about ties, blocks and threads."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.neighbours import nearest
from annoloop.errors import SettingsError, VectorError


def plain(queries, pool, k):
    """Cosine of every pair by its definition, sorted by falling cosine and rising position."""
    cosines = np.zeros((len(queries), len(pool)))
    for i, q in enumerate(queries.astype(float)):
        for j, p in enumerate(pool.astype(float)):
            length = np.sqrt((q * q).sum()) * np.sqrt((p * p).sum())
            cosines[i, j] = (q * p).sum() / length if length else 0.0
    cosines = np.clip(cosines, -1, 1).astype(np.float32)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(cosines, order, axis=1), order


@st.composite
def problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    width = draw(st.integers(1, 9))
    stock = rng.normal(size=(draw(st.integers(1, 6)), width))
    if draw(st.booleans()):
        stock = np.round(stock)  # many ties, and vectors of length zero
    pool = stock[rng.integers(0, len(stock), draw(st.integers(1, 40)))]
    if draw(st.booleans()):
        pool = pool + rng.normal(size=pool.shape) * 1e-6  # nearly ties
    queries = np.concatenate([stock[:2], rng.normal(size=(draw(st.integers(0, 4)), width))])
    kind = draw(st.sampled_from([np.float16, np.float32]))
    return queries.astype(kind), pool.astype(kind), draw(st.integers(1, 45))


@settings(max_examples=80, deadline=None)
@given(problems(), st.sampled_from([1, 3, 7, 65_536]))
def test_equal_to_the_definition_in_any_block(problem, block):
    queries, pool, k = problem
    cosines, positions = nearest(queries, pool, k=k, block=block)
    expected_cosines, expected_positions = plain(queries, pool, min(k, len(pool)))
    assert cosines.dtype == np.float32
    assert positions.dtype == np.int64
    np.testing.assert_array_equal(positions, expected_positions)
    np.testing.assert_array_equal(cosines, expected_cosines)


def test_a_crowd_of_equal_vectors_gives_the_lowest_positions():
    pool = np.tile(np.array([[0.3, 0.1, 0.7]], dtype=np.float32), (3000, 1))
    pool[2500] = [0.6, 0.2, 1.4]  # same direction
    cosines, positions = nearest(pool[:1], pool, k=5, block=1024)
    assert positions.tolist() == [[0, 1, 2, 3, 4]]
    assert cosines.tolist() == [[1.0] * 5]


def test_same_answer_on_one_thread_and_two():
    rng = np.random.default_rng(5)
    pool = rng.normal(size=(3000, 33)).astype(np.float32)
    queries = rng.normal(size=(50, 33)).astype(np.float32)
    threads = faiss.omp_get_max_threads()
    try:
        answers = []
        for count in (1, 2):
            faiss.omp_set_num_threads(count)
            answers.append(nearest(queries, pool, k=9, block=1000))
    finally:
        faiss.omp_set_num_threads(threads)
    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    np.testing.assert_array_equal(answers[0][1], answers[1][1])


def test_length_zero_is_at_cosine_zero():
    pool = np.array([[0, 0], [-1, 0], [1, 0]], dtype=np.float32)
    cosines, positions = nearest(np.array([[2.0, 0.0], [0.0, 0.0]]), pool, k=9)
    assert positions.tolist() == [[2, 0, 1], [0, 1, 2]]
    assert cosines.tolist() == [[1, 0, -1], [0, 0, 0]]


def test_very_long_and_very_short_vectors_keep_their_direction():
    pool = np.array([[3e38, 3e38], [1e-40, 0], [0, 5]], dtype=np.float32)
    cosines, positions = nearest(np.array([[1e-30, 1e-30]], dtype=np.float32), pool, k=3)
    assert positions.tolist() == [[0, 1, 2]]
    assert cosines[0].tolist() == pytest.approx([1.0, 0.5**0.5, 0.5**0.5])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named(bad):
    pool = np.ones((10, 3), dtype=np.float32)
    pool[[4, 7], 1] = bad
    with pytest.raises(VectorError, match="row 4, row 7"):
        nearest(np.ones((1, 3)), pool, k=2)
    with pytest.raises(VectorError, match="sample-e, sample-h"):
        nearest(np.ones((1, 3)), pool, k=2, names=[f"sample-{c}" for c in "abcdefghij"])
    with pytest.raises(VectorError, match="query 4"):
        nearest(pool, np.ones((1, 3)), k=2)


def test_shapes_and_counts_that_cannot_be():
    with pytest.raises(VectorError, match="annoloop embed"):
        nearest(np.ones((1, 3)), np.ones((2, 4)), k=1)
    with pytest.raises(SettingsError):
        nearest(np.ones((1, 3)), np.ones((2, 3)), k=0)
    cosines, positions = nearest(np.ones((2, 3)), np.ones((0, 3)), k=4)
    assert cosines.shape == positions.shape == (2, 0)
