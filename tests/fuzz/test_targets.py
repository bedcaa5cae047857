"""Every input that a fuzzer ever broke an importer with, and the good ones it starts from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annoloop.adapters.coco import CocoReader

from . import targets

FOUND = sorted((Path(__file__).parent / "found").glob("*"))


@pytest.mark.parametrize("file", FOUND, ids=lambda file: file.name)
def test_what_was_found_gets_an_error_with_a_name(file: Path, tmp_path: Path) -> None:
    targets.TARGETS[file.name.partition("-")[0]](file.read_bytes(), tmp_path)


def test_the_seeds_are_read(tmp_path: Path) -> None:
    for name, inputs in targets.seeds(tmp_path).items():
        for data in inputs:
            targets.TARGETS[name](data, tmp_path)
    (tmp_path / "b.json").write_bytes(targets.seeds(tmp_path)["coco"][0])
    assert len(CocoReader().read(tmp_path / "b.json").images) == 2


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_changed_value_anywhere_gets_an_error_with_a_name(tmp_path: Path, data: st.DataObject):
    """Without a fuzzer: the same documents with one value replaced by any JSON."""
    name = data.draw(st.sampled_from(["coco", "answers"]))
    document = json.loads(data.draw(st.sampled_from(targets.seeds(tmp_path)[name])))
    table = data.draw(st.sampled_from(["images", "annotations", "categories"]))
    row = data.draw(st.sampled_from(document[table]))
    row[data.draw(st.sampled_from(sorted(row)))] = data.draw(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.lists(st.floats() | st.text(), max_size=5)
        | st.dictionaries(st.text(), st.integers(), max_size=2)
    )
    targets.TARGETS[name](json.dumps(document).encode(), tmp_path)
