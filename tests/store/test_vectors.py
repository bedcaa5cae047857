"""Lance data sets: what is appended comes back in the order asked, broken rows are refused."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from annoloop.errors import BusyError, VectorError
from annoloop.records import Detection
from annoloop.store.vectors import VectorStore

ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)


def test_vectors_come_back_in_the_order_asked(tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    store.add_vectors("pixels-v1", ["b", "a"], ROWS)
    store.add_vectors("pixels-v1", ["c"], ROWS[:1] + 9)
    found = store.load_vectors("pixels-v1", ["c", "a", "b", "a"])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.vstack([ROWS[0] + 9, ROWS[1], ROWS[0], ROWS[1]]))
    assert store.width("pixels-v1") == 4
    assert store.vector_keys("pixels-v1") == {"a", "b", "c"}
    assert store.having("pixels-v1", ["c", "z", "c"]).tolist() == [True, False, True]
    assert store.having("other", ["c"]).tolist() == [False]


def test_a_few_of_many_vectors_are_picked_out_in_the_order_asked(tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    rows = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    for start in range(0, 100, 25):
        keys = [f"k{i}" for i in range(start, start + 25)]
        store.add_vectors("pixels-v1", keys, rows[start : start + 25])
    few = [99, 3, 3, 50, 0]
    found = store.load_vectors("pixels-v1", [f"k{i}" for i in few])
    np.testing.assert_array_equal(found, rows[few])
    assert store.load_vectors("pixels-v1", []).shape == (0, 4)


def test_missing_vectors_name_the_command(tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    with pytest.raises(VectorError, match="annoloop embed"):
        store.load_vectors("pixels-v1", ["a"])
    store.add_vectors("pixels-v1", ["a", "b"], ROWS)
    with pytest.raises(VectorError, match="1 of 2 images have no"):
        store.load_vectors("pixels-v1", ["a", "z"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_broken_rows_are_refused_and_named(tmp_path: Path, bad: float) -> None:
    rows = ROWS.copy()
    rows[1, 2] = bad
    store = VectorStore(tmp_path)
    with pytest.raises(VectorError, match="content hash second"):
        store.add_vectors("x", ["first", "second"], rows)
    assert store.vector_keys("x") == set()


def test_another_width_is_refused(tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    store.add_vectors("x", ["a", "b"], ROWS)
    with pytest.raises(VectorError, match="returns 3 values a row; stored are 4"):
        store.add_vectors("x", ["c", "d"], ROWS[:, :3])


def test_a_writer_killed_before_its_first_commit_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "vectors" / "x.lance" / "data").mkdir(parents=True)
    store = VectorStore(tmp_path)
    assert store.vector_keys("x") == set()
    store.add_vectors("x", ["a", "b"], ROWS)
    assert store.vector_keys("x") == {"a", "b"}


def test_scores_are_replaced_and_remember_what_they_are(tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    assert store.load_scores() is None
    store.write_scores(["a", "b"], np.array([0.25, 1.0]), {"at": "now"})
    store.write_scores(["b"], np.array([0.5]), {"at": "then", "closed": ["v0"]})
    ids, scores, about = store.load_scores()
    assert (ids, scores.tolist(), about) == (["b"], [0.5], {"at": "then", "closed": ["v0"]})


def test_predictions_hold_images_without_detections(tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    assert store.load_predictions("v0") is None
    found = (Detection(1, (1.0, 2.0, 3.0, 4.5), 0.75),)
    store.write_predictions("v0", [("a", ()), ("b", found)])
    assert store.load_predictions("v0") == {"a": (), "b": found}
    assert store.load_predictions("v0", ["b", "z"]) == {"b": found}


def test_fingerprints(tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    known, _ = store.load_hashes(["h"])
    assert known.tolist() == [False]
    store.add_fingerprints({"h": (2**64 - 1, b"\x00\x01")})
    store.add_fingerprints({"g": (7, b"\x02\x03")})
    known, hashes = store.load_hashes(["g", "no", "h"])
    assert (known.tolist(), hashes.tolist()) == ([True, False, True], [7, 0, 2**64 - 1])
    assert store.load_thumbs(["h", "g", "h"]).tolist() == [[0, 1], [2, 3], [0, 1]]


def test_a_write_that_meets_another_is_refused_by_name(tmp_path: Path) -> None:
    ends: list[str] = []

    def write() -> None:
        store = VectorStore(tmp_path)
        for number in range(6):
            try:
                store.write_predictions("v0", [(str(number), [])])
                ends.append("done")
            except BusyError:
                ends.append("busy")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(ends) == 24  # nothing else was raised
    assert ends.count("done") >= 6
    found = VectorStore(tmp_path).load_predictions("v0")
    assert found is not None
    assert len(found) == 1  # one of them, whole


def test_what_another_process_wrote_meanwhile_is_seen(tmp_path: Path) -> None:
    mine, other = VectorStore(tmp_path), VectorStore(tmp_path)
    other.add_vectors("pixels-v1", ["a", "b"], ROWS)
    assert mine.having("pixels-v1", ["a", "c"]).tolist() == [True, False]
    other.add_vectors("pixels-v1", ["c"], ROWS[:1])
    assert mine.having("pixels-v1", ["a", "c"]).tolist() == [True, True]
    shutil.rmtree(tmp_path / "vectors")  # made again, it counts its versions from 1 again
    other.add_vectors("pixels-v1", ["c", "b"], ROWS)
    other.add_vectors("pixels-v1", ["d"], ROWS[:1])
    np.testing.assert_array_equal(mine.load_vectors("pixels-v1", ["b", "c"]), ROWS[::-1])
    assert mine.having("pixels-v1", ["a", "c"]).tolist() == [False, True]


def test_places_on_the_map_are_replaced_whole_and_come_back_in_the_order_asked(
    tmp_path: Path,
) -> None:
    store = VectorStore(tmp_path)
    assert store.load_points("pixels-v1", ["a"]) is None
    store.write_points("pixels-v1", ["a", "b"], ROWS[:, :2], {"at": "first"})
    points, about = store.load_points("pixels-v1", ["b", "z", "a", "b"]) or (None, None)
    np.testing.assert_array_equal(points, [[4, 5], [np.nan, np.nan], [0, 1], [4, 5]])
    assert about == {"at": "first"}
    store.write_points("pixels-v1", ["c"], ROWS[:1, 2:], {"at": "second"})
    points, about = store.load_points("pixels-v1", ["a", "c"]) or (None, None)
    np.testing.assert_array_equal(points, [[np.nan, np.nan], [2, 3]])
    assert about == {"at": "second"}
    assert store.load_points("pixels-v1", []) is not None
    copied = store.copy_to(tmp_path / "copy", models=())
    assert copied == ["points/pixels-v1.lance"]
    assert (VectorStore(tmp_path / "copy").load_points("pixels-v1", ["c"]) or (0, 0))[1] == about
