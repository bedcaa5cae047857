"""The map page and /api/map on a real socket: what they say, and what they keep to themselves."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from contextlib import closing
from typing import Any

import cv2
import numpy as np
import pytest

from annoloop.app.server import PARTS, STATIC
from annoloop.atlas import Atlas
from annoloop.project import Project
from tests.app.conftest import CLASSES, HOSTILE
from tests.app.test_server import KEYS, client, serving  # noqa: F401 (a fixture)


def unpacked(body: bytes) -> dict[str, Any]:
    """The columns of an answer of /api/map: what read.js does, in Python."""
    length = int.from_bytes(body[:4], "little")
    head = json.loads(body[4 : 4 + length])
    n, at = head["n"], 4 + length
    x, y = np.frombuffer(body, "<f4", 2 * n, at).reshape(2, n)
    at += 8 * n
    facets = {}
    for facet in head["facets"]:
        codes = np.frombuffer(body, "<u2", n, at)
        facets[facet["name"]] = [facet["values"][code] for code in codes]
        at += 2 * n
    assert length % 4 == 0
    return {"x": x, "y": y, **facets, **json.loads(body[at:])}


def test_without_a_map_the_page_says_what_to_run(client: Any) -> None:  # noqa: F811
    page = client.get("/map").text
    assert "<code>annoloop map</code> lays out the 40 images" in page
    assert "<canvas" not in page
    assert '<a href="/map" aria-current="page">Map</a>' in page
    assert unpacked(client.get("/api/map").content)["ids"] == []


def test_columns_arrive_as_the_project_has_them(client: Any, project: Project) -> None:  # noqa: F811
    project.map()
    answer = client.get("/api/map")
    assert answer.headers["content-type"] == "application/octet-stream"
    found, wanted = unpacked(answer.content), Atlas(project).samples()
    assert found["ids"] == list(wanted.ids)
    assert found["paths"] == list(wanted.paths)
    assert HOSTILE in found["paths"]
    np.testing.assert_array_equal(np.column_stack([found["x"], found["y"]]), wanted.points)
    for facet in wanted.facets:
        assert found[facet.name] == [facet.values[code] for code in facet.codes]
    assert CLASSES[1].encode() in answer.content  # as JSON, in a body that no browser renders
    page = client.get("/map").text
    assert "40 images" in page
    assert "came later" not in page
    assert "style=" not in page


def test_images_that_came_later_are_counted(client: Any, project: Project) -> None:  # noqa: F811
    project.map()
    root = project.folder / project.settings.images.root
    made = []
    for number in range(2):
        picture = np.random.default_rng(number).integers(0, 255, (120, 160, 3), np.uint8)
        made.append(root / f"later_{number}.png")
        cv2.imwrite(str(made[-1]), picture)
    try:
        project.ingest()
    finally:
        for file in made:
            file.unlink()
    page = client.get("/map").text
    assert "2 images came later and are not on the map: <code>annoloop map</code>" in page
    assert len(unpacked(client.get("/api/map").content)["ids"]) == 40


def test_nothing_tells_which_golden_images_are_in_a_batch(
    client: Any,  # noqa: F811
    project: Project,
) -> None:
    project.annotate_oracle("v0")  # the blind golden images are answered too
    project.map()
    with closing(sqlite3.connect(project.folder / "annoloop.db")) as connection:
        rows = connection.execute("SELECT sample_id FROM picks WHERE blind").fetchall()
    blind = {key for (key,) in rows}
    body = client.get("/api/map").content
    found = unpacked(body)
    golden = [row for row, split in enumerate(found["split"]) if split == "golden"]
    assert blind
    assert blind < {found["ids"][row] for row in golden}  # some are in the batch, some are not
    for facet in ("status", "source", "class", "failure", "batch"):
        assert len({found[facet][row] for row in golden}) == 1
    assert b"blind" not in body
    assert "coverage" in found["source"]


def test_beyond_loopback_the_map_needs_the_key(project: Project) -> None:
    project.map()
    with serving(project, KEYS) as far:
        far.headers["host"] = "10.0.0.7:8420"
        assert far.get("/map").status_code == 303
        assert far.get("/api/map").status_code == 401


def test_a_map_that_cannot_be_read_is_named(client: Any, project: Project) -> None:  # noqa: F811
    project.map()
    shutil.rmtree(project.folder / "points" / "pixels-v1.lance" / "data")
    answer = client.get("/api/map")
    assert answer.status_code == 409
    assert "pixels-v1.lance cannot be read" in answer.json()["error"]["problem"]
    assert "rm -r" in answer.json()["error"]["fix"]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_the_head_is_padded_for_any_number_of_images(project: Project, n: int) -> None:
    from dataclasses import replace

    from annoloop.app.map import packed

    project.map()
    whole = Atlas(project).samples()
    facets = tuple(replace(one, codes=one.codes[:n]) for one in whole.facets)
    few = replace(
        whole, ids=whole.ids[:n], paths=whole.paths[:n], points=whole.points[:n], facets=facets
    )
    assert unpacked(packed(few))["paths"] == list(whole.paths[:n])


# Machado, Oliveira, Fernandes (2009), on linear RGB: as it is, without red, green, blue.
SIGHTS = np.array(
    [
        np.eye(3),
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
    ]
)
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    shares = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    share = XYZ @ np.clip(rgb, 0, 1) / (0.9505, 1, 1.089)
    f = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize(("scheme", "ground"), [("light", "#ffffff"), ("dark", "#1b2225")])
def test_colours_are_told_apart_by_everybody_and_from_the_ground(scheme: str, ground: str) -> None:
    text = (STATIC / "map" / "facets.js").read_text()
    assert ground in PARTS.read_text()  # the sheet that the map lies on
    colours = re.findall(rf'{scheme}: "(#[0-9a-f]{{6}})"', text)
    assert len(colours) == len(set(colours)) == 9
    light = [float((XYZ @ linear(one))[1]) + 0.05 for one in (*colours, ground)]
    assert min(max(one / light[-1], light[-1] / one) for one in light[:-1]) >= 3
    for sight in SIGHTS:
        seen = np.array([lab(sight @ linear(one)) for one in colours])
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=2) + 99 * np.eye(9)
        assert apart.min() >= 15
    shapes = re.findall(r'shape: "(\w+)"', text)
    assert len(set(shapes[:7])) == 7
