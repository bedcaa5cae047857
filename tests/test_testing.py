from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from annoloop.errors import InputError
from annoloop.images import list_images, read_rgb
from annoloop.testing import CLASSES, make_digits


def digest(root: Path) -> str:
    whole = hashlib.sha256()
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        whole.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return whole.hexdigest()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data set of 200 images and its labels."""
    root = make_digits(tmp_path_factory.mktemp("digits") / "new", images=200, seed=3)
    return root, json.loads((root / "labels.json").read_text(encoding="utf-8"))


def test_same_seed_same_bytes(tmp_path):
    one = make_digits(tmp_path / "one", images=30, seed=5)
    two = make_digits(tmp_path / "two", images=30, seed=5)
    other = make_digits(tmp_path / "other", images=30, seed=6)
    assert digest(one) == digest(two)
    assert digest(one) != digest(other)


def test_files_are_what_the_labels_say(made):
    root, data = made
    assert [c["name"] for c in data["categories"]] == list(CLASSES)
    assert [c["id"] for c in data["categories"]] == list(range(1, 11))
    names = [row["file_name"] for row in data["images"]]
    assert sorted(names) == list_images(root / "images")
    assert len(names) == 200
    assert {Path(name).suffix for name in names} == {".png", ".jpg"}
    assert all(row["reviewed"] is True for row in data["images"])
    for row in data["images"][:20]:
        pixels = read_rgb(str(root / "images" / row["file_name"]))
        assert pixels.shape == (row["height"], row["width"], 3)


def test_boxes_lie_inside_and_do_not_overlap(made):
    _, data = made
    size = {row["id"]: (row["width"], row["height"]) for row in data["images"]}
    by_image: dict[int, list[list[float]]] = {}
    for row in data["annotations"]:
        x, y, w, h = row["bbox"]
        width, height = size[row["image_id"]]
        assert x >= 1
        assert y >= 1
        assert x + w <= width - 1
        assert y + h <= height - 1
        assert w * h == row["area"]
        assert 10 <= h <= 64
        by_image.setdefault(row["image_id"], []).append(row["bbox"])
    for boxes in by_image.values():
        for i, (x, y, w, h) in enumerate(boxes):
            for ox, oy, ow, oh in boxes[:i]:
                assert x >= ox + ow or ox >= x + w or y >= oy + oh or oy >= y + h


def test_boxes_hold_ink_that_stands_out(made):
    """The pixels of a readable digit differ from the paper around it."""
    root, data = made
    files = {row["id"]: row["file_name"] for row in data["images"]}
    plain = [row for row in data["annotations"] if "ambiguous" not in row]
    contrast = []
    for row in plain[::4]:
        grey = read_rgb(str(root / "images" / files[row["image_id"]])).mean(axis=2)
        x, y, w, h = (int(value) for value in row["bbox"])
        inside = grey[y : y + h, x : x + w]
        paper = np.median(
            np.concatenate([grey[y - 1, x : x + w], grey[min(y + h, len(grey) - 1), x : x + w]])
        )
        contrast.append(np.percentile(abs(inside - paper), 95))
    assert np.percentile(contrast, 5) > 25
    assert np.median(contrast) > 60


def test_long_tail_ambiguous_and_empty(made):
    _, data = made
    counts = Counter(row["category_id"] for row in data["annotations"])
    assert len(counts) == 10
    assert 6 <= max(counts.values()) / min(counts.values()) <= 20
    assert counts.most_common(1)[0][0] == 2  # the ones
    ambiguous = sum("ambiguous" in row for row in data["annotations"])
    assert 0.01 <= ambiguous / len(data["annotations"]) <= 0.08
    empty = {row["id"] for row in data["images"]} - {r["image_id"] for r in data["annotations"]}
    assert len(empty) == 10


def test_groups_are_near_identical_frames(made):
    root, data = made
    folders = Counter(row["file_name"].partition("/")[0] for row in data["images"])
    grouped = {name for name, frames in folders.items() if frames > 1}
    assert set(folders.values()) <= {1, 2, 3, 4}
    assert sum(folders[name] for name in grouped) in (29, 30)
    by_id = {row["id"]: row["file_name"] for row in data["images"]}
    digits: dict[str, list[int]] = {name: [] for name in by_id.values()}
    for row in data["annotations"]:
        digits[by_id[row["image_id"]]].append(row["category_id"])
    for folder in sorted(grouped)[:5]:
        names = sorted(name for name in digits if name.startswith(folder + "/"))
        first, second = (read_rgb(str(root / "images" / name)).astype(int) for name in names[:2])
        assert first.shape == second.shape
        assert (first != second).any()
        assert abs(first[4:-4, 4:-4] - second[4:-4, 4:-4]).mean() < 20
        assert digits[names[0]] == digits[names[1]]


def test_one_image_and_progress(tmp_path):
    heard: list[tuple[int, int]] = []
    root = make_digits(
        tmp_path / "d", images=1, progress=lambda done, total, what: heard.append((done, total))
    )
    assert list_images(root / "images") in (
        ["scene_0001/frame_00.jpg"],
        ["scene_0001/frame_00.png"],
    )
    assert heard == [(1, 1)]


def test_refusals_say_what_to_do(tmp_path):
    with pytest.raises(InputError, match="0 images"):
        make_digits(tmp_path / "a", images=0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "old.txt").write_text("mine")
    with pytest.raises(InputError, match="full is not an empty folder"):
        make_digits(tmp_path / "full", images=1)
