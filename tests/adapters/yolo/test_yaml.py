"""The little YAML of data.yaml files."""

from __future__ import annotations

import pytest

from annoloop.adapters.yolo.yaml import read_keys
from annoloop.errors import InputError

KEYS = ("names", "path", "train", "nc")


def read(folder, text):
    file = folder / "data.yaml"
    file.write_text(text)
    return read_keys(file, KEYS)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [a, b c, 'd, e', \"f\"]", ["a", "b c", "d, e", "f"]),
        ("names: []", []),
        ("names: [a, b,]", ["a", "b"]),
        ("names: [a,\n  b,\n  c]  # three", ["a", "b", "c"]),
        ("names: [\n  'a',\n  'b'\n]", ["a", "b"]),
        ("names:\n- a\n- b", ["a", "b"]),
        ("names:\n  - a # first\n\n  - 'it''s'\n", ["a", "it's"]),
        ("names:\n  0: a\n  1: 'b: c'\n", {"0": "a", "1": "b: c"}),
        ("names:\n  '0': a\n  \"1\" : b#c\n", {"0": "a", "1": "b#c"}),
        ('names:\n  0: "caf\\u00e9 \\"x\\" # y"\n', {"0": 'café "x" # y'}),
        ("---\nnames:\n  0: driver's\n...\nrest: of the file", {"0": "driver's"}),
    ],
)
def test_lists_and_mappings(tmp_path, text, names):
    assert read(tmp_path, text) == {"names": names}


def test_scalars_and_lists_of_folders_are_read_and_other_keys_skipped(tmp_path):
    text = """\
# Ultralytics, AGPL
path: ../datasets/coco8 # root
train: [images/a, images/b]
val: images/val
test: # none
nc: 2

download: |
  from x import y

  z: [unclosed
roboflow:
  workspace: {odd: 1}
names:
  0: person
"""
    assert read(tmp_path, text) == {
        "path": "../datasets/coco8",
        "train": ["images/a", "images/b"],
        "nc": "2",
        "names": {"0": "person"},
    }


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("names: {0: a}", 1, "no plain or quoted text"),
        ("names: &anchor [a]", 1, "no plain or quoted text"),
        ("names: [a, [b]]", 1, "cannot be read"),
        ("names: [a, b", 1, "does not end"),
        ("names: [a,, b]", 1, "cannot be read"),
        ("names: a\n  b", 2, "over several lines"),
        ("nc: 1\nnames:\n  - a\n  b", 4, "neither"),
        ("names:\n  - a\n    - b", 3, "neither"),
        ("names:\n  0: a\n  0: b", 3, "key '0' again"),
        ("names:\n  0:", 2, "no plain or quoted text"),
        ("names:\n  0: a: b", 2, "no plain or quoted text"),
        ("names:\n  0: 'a", 2, "no plain or quoted text"),
        ('names:\n  0: "\\q"', 2, "escape"),
        ("names: [a]\nnames: [b]", 2, "key 'names' again"),
        ("  a: b", 1, "belongs to no key"),
        ("just text", 1, "no `key: value`"),
    ],
)
def test_what_cannot_be_read_is_refused_by_line(tmp_path, text, line, what):
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert f"data.yaml:{line}: " in caught.value.problem
    assert what in caught.value.problem


def test_a_file_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "data.yaml").write_bytes(b"names: [caf\xe9]")
    with pytest.raises(InputError, match=r"data\.yaml: cannot be read"):
        read_keys(tmp_path / "data.yaml", KEYS)
