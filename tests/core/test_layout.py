"""The plane: what is near in the vectors is near on the map, for any number of them."""

from __future__ import annotations

import subprocess
import sys

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from annoloop.core.layout import FEW, layout
from annoloop.errors import VectorError


def crowds(n: int, width: int = 64, *, of: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    crowd = rng.integers(0, of, n)
    rows = rng.normal(size=(of, width))[crowd] + 0.25 * rng.normal(size=(n, width))
    return rows.astype(np.float32), crowd


def nearest(rows: np.ndarray, k: int) -> np.ndarray:
    apart = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    return np.argsort(apart, axis=1)[:, :k]


def test_crowds_stay_together() -> None:
    rows, crowd = crowds(800)
    points = layout(rows, seed=0)
    assert points.shape == (800, 2)
    assert points.dtype == np.float32
    assert (crowd[nearest(points, 10)] == crowd[:, None]).mean() > 0.99


def test_neighbours_along_a_ring_stay_neighbours() -> None:
    # Every image has its own place on a closed curve: there are no crowds that would do alone.
    angle = np.linspace(0, 2 * np.pi, 600, endpoint=False)
    waves = [f(k * angle) for k in (1, 2, 3) for f in (np.cos, np.sin)]
    rows = np.column_stack(waves).astype(np.float32)
    near = nearest(layout(rows, seed=0), 10)
    apart = np.abs(near - np.arange(600)[:, None])
    along = np.minimum(apart, 600 - apart)
    assert (along <= 15).mean() > 0.95


def test_the_seed_alone_decides() -> None:
    rows, _ = crowds(300)
    np.testing.assert_array_equal(layout(rows, seed=3), layout(rows.copy(), seed=3))
    assert not np.array_equal(layout(rows, seed=3), layout(rows, seed=4))


def test_length_does_not_count_and_rows_are_left_alone() -> None:
    rows, crowd = crowds(400)
    before = rows.copy()
    points = layout(rows * np.linspace(0.1, 50, 400, dtype=np.float32)[:, None], seed=0)
    np.testing.assert_array_equal(rows, before)
    assert (crowd[nearest(points, 5)] == crowd[:, None]).mean() > 0.99


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(0, FEW + 6), st.integers(1, 5)),
        elements=st.floats(-4, 4, width=32),
    )
)
def test_few_vectors_of_any_kind_have_a_place(rows: np.ndarray) -> None:
    points = layout(rows, seed=0)
    assert points.shape == (len(rows), 2)
    assert np.isfinite(points).all()


@pytest.mark.parametrize("n", [1, 2, FEW + 1, 200])
def test_images_that_are_all_alike_lie_together(n: int) -> None:
    assert not np.ptp(layout(np.full((n, 7), 0.5, np.float32), seed=0), axis=0).any()
    assert not np.ptp(layout(np.zeros((n, 7), np.float32), seed=0), axis=0).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_by_name(bad: float) -> None:
    rows, _ = crowds(40)
    rows[17, 3] = bad
    with pytest.raises(VectorError, match=r"1 of 40 vectors hold NaN or infinity, first .*row 17"):
        layout(rows, seed=0)
    names = [f"image_{k}.png" for k in range(40)]
    with pytest.raises(VectorError, match=r"image_17\.png"):
        layout(rows, seed=0, names=names)
    with pytest.raises(VectorError, match="no table"):
        layout(rows[0], seed=0)


def test_the_threads_of_others_are_left_as_they_were() -> None:
    before = faiss.omp_get_max_threads()
    layout(crowds(100)[0], seed=0)
    assert faiss.omp_get_max_threads() == before


@pytest.mark.parametrize("n", [5, 100])
def test_progress_ends_where_it_said(n: int) -> None:
    told: list[tuple[int, int, str]] = []
    layout(crowds(n)[0], seed=0, progress=lambda *one: told.append(one))
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1] == 3


def test_where_nothing_may_be_kept_the_fix_is_named() -> None:
    code = (
        "from numba.core import caching\n"
        "caching.CacheImpl._locator_classes = []\n"  # a user without a home, files of another's
        "import numpy as np\n"
        "from annoloop.core.layout import layout\n"
        "layout(np.random.default_rng(0).normal(size=(40, 3)).astype('f4'), seed=0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "DependencyError: PaCMAP cannot keep its compiled kernels" in done.stderr
    assert "NUMBA_CACHE_DIR" in done.stderr
