"""The map in a real Chromium, drawn by software: what is seen, and what is chosen."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annoloop.atlas import Atlas
from annoloop.desk import Desk
from annoloop.project import Project
from annoloop.results_label import Work
from annoloop.results_map import SampleMap
from annoloop.store.vectors import VectorStore
from tests.app.conftest import CLASSES, HOSTILE, Server, serious
from tests.app.test_browser import drag

CROWDS = ((-3.0, -2.0), (3.0, -2.0), (0.0, 2.5))
"""Middles of three crowds; image `k` of all in order of their path is in crowd k mod 3."""


@pytest.fixture
def crowds(project: Project) -> dict[int, list[str]]:
    """Puts the images of the project in three crowds on the map; crowd → their paths."""
    rows = sorted(_rows(project, "SELECT path, sha256 FROM samples"))
    rng = np.random.default_rng(0)
    points = np.array([CROWDS[k % 3] for k in range(len(rows))]) + rng.uniform(-0.4, 0.4, (40, 2))
    keys = [key for _, key in rows]
    store = VectorStore(project.folder)
    store.write_points("pixels-v1", keys, points.astype(np.float32), {"at": "now"})
    return {crowd: [path for path, _ in rows[crowd::3]] for crowd in range(3)}


def _rows(project: Project, query: str) -> list[Any]:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(project.folder / "annoloop.db")) as connection:
        return connection.execute(query).fetchall()


def begin(page: Any, server: Server) -> None:
    page.goto(f"{server.url}/map")
    page.wait_for_selector("#map[data-ready=yes][data-drawn]")


def still(page: Any) -> None:
    """Until the map is at rest: the frame after the last one that was asked for is drawn."""
    page.wait_for_timeout(350)


def place(page: Any, point: tuple[float, float]) -> tuple[float, float]:
    """Where a point of the map, in units of the page, is on the screen."""
    left, right, low, upper = map(float, page.get_attribute("#map", "data-view").split())
    box = page.locator("#stage").bounding_box()
    x = box["x"] + (point[0] - left) / (right - left) * box["width"]
    y = box["y"] + (upper - point[1]) / (upper - low) * box["height"]
    return float(x), float(y)


def spot_of(page: Any, found: SampleMap, at: Any) -> tuple[float, float]:
    """A row's, or a place's, spot on the screen: the page fits all points into -1 … 1."""
    half = np.ptp(found.points, axis=0).max() / 2
    centre = (found.points.min(axis=0) + found.points.max(axis=0)) / 2
    point = found.points[at] if isinstance(at, int) else np.array(at)
    return place(page, tuple((point - centre) / half))


def middle(project: Project, page: Any, crowd: int) -> tuple[float, float]:
    return spot_of(page, Atlas(project).samples(), CROWDS[crowd])


def colours(page: Any) -> set[tuple[int, ...]]:
    """The colours that cover more than a few pixels of the map, without its ground."""
    still(page)
    shot = page.locator("#stage").screenshot()
    pixels = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).reshape(-1, 3)
    found, counts = np.unique(pixels // 4, axis=0, return_counts=True)
    often = counts > 40
    order = np.argsort(-counts[often])[1:]
    return {tuple(map(int, one)) for one in found[often][order]}


def listed(page: Any) -> list[str]:
    return page.locator("#chosen b").all_inner_texts()


def around(page: Any, spot: tuple[float, float], far: float = 90) -> None:
    x, y = spot
    page.mouse.move(x - far, y - far)
    page.mouse.down()
    for corner in ((x + far, y - far), (x + far, y + far), (x - far, y + far)):
        page.mouse.move(*corner, steps=8)
    page.mouse.up()


def test_points_are_drawn_and_their_colours_follow_the_choice(
    server: Server,
    project: Project,
    crowds: Any,
    tab: Any,
) -> None:
    begin(tab, server)
    by_split = colours(tab)
    assert len(by_split) >= 4  # test, val, golden, pool
    assert tab.locator("#legend span").all_inner_texts() == ["test", "val", "golden", "pool"]
    counts = dict(_rows(project, "SELECT split, count(*) FROM samples GROUP BY split"))
    said = map(int, tab.locator("#legend small").all_inner_texts())
    assert dict(zip(["test", "val", "golden", "pool"], said, strict=True)) == counts
    tab.select_option("#facet", "batch")
    tab.wait_for_selector("#map[data-colour=batch]")
    assert tab.locator("#legend span").all_inner_texts() == ["v0", "not picked"]
    by_batch = colours(tab)
    assert by_batch != by_split
    tab.locator("#legend button").last.click()  # what is not picked goes
    still(tab)
    assert colours(tab) < by_batch
    tab.click("#none")
    assert colours(tab) == set()
    tab.click("#all")
    assert colours(tab) == by_batch


def test_a_lasso_lists_exactly_the_crowd_that_it_is_drawn_around(
    server: Server,
    project: Project,
    crowds: dict[int, list[str]],
    tab: Any,
) -> None:
    begin(tab, server)
    tab.keyboard.press("l")
    assert tab.get_attribute("#lasso", "aria-pressed") == "true"
    around(tab, middle(project, tab, 1))
    assert listed(tab) == sorted(crowds[1])
    assert tab.inner_text("#chosen-title") == f"{len(crowds[1])} images within the line"
    ids = dict(_rows(project, "SELECT path, id FROM samples"))
    links = [one.get_attribute("href") for one in tab.locator("#chosen a").all()]
    assert links == [f"/sample/{ids[path]}" for path in sorted(crowds[1])]
    with tab.expect_download() as saved:
        tab.click("#save")
    text = Path(saved.value.path()).read_text()
    assert text.splitlines() == sorted(crowds[1])
    tab.keyboard.press("Escape")
    assert listed(tab) == []
    tab.keyboard.press("l")  # off: dragging moves the map again, and shift draws
    before = tab.get_attribute("#map", "data-view")
    x, y = middle(project, tab, 0)
    drag(tab, (x + 150, y - 100), (x + 210, y - 150))
    still(tab)
    assert tab.get_attribute("#map", "data-view") != before
    assert listed(tab) == []
    tab.keyboard.down("Shift")
    around(tab, middle(project, tab, 0))
    tab.keyboard.up("Shift")
    assert listed(tab) == sorted(crowds[0])


def test_paths_are_copied_one_a_line(
    server: Server,
    crowds: dict[int, list[str]],
    tab: Any,
) -> None:
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    begin(tab, server)
    assert tab.is_disabled("#copy")
    tab.keyboard.press("v")
    tab.click("#copy")
    tab.wait_for_selector("#copy:has-text('Copied')")
    copied = tab.evaluate("navigator.clipboard.readText()")
    assert copied.splitlines() == sorted(path for paths in crowds.values() for path in paths)
    tab.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }")
    tab.click("#copy")
    tab.wait_for_selector("#message:has-text('Save the paths instead')")


def test_hidden_points_are_neither_chosen_nor_met_by_the_pointer(
    server: Server,
    project: Project,
    crowds: dict[int, list[str]],
    tab: Any,
) -> None:
    begin(tab, server)
    tab.click("#legend button:has-text('pool')")
    tab.click("#lasso")
    around(tab, middle(project, tab, 2))
    splits = dict(_rows(project, "SELECT path, split FROM samples"))
    assert listed(tab) == sorted(path for path in crowds[2] if splits[path] != "pool")


def test_all_of_it_by_keyboard(
    server: Server,
    project: Project,
    crowds: dict[int, list[str]],
    tab: Any,
) -> None:
    begin(tab, server)
    tab.keyboard.press("v")
    assert len(listed(tab)) == 40
    assert tab.inner_text("#told") == "40 images in view, listed beside the map"
    tab.focus("#stage")
    # To the crowd at the lower left, until nothing else is in view.
    for key in ("ArrowLeft",) * 3 + ("ArrowDown",) * 2 + ("+",) * 3:
        tab.keyboard.press(key)
    for _ in range(8):
        still(tab)
        tab.keyboard.press("v")
        paths = listed(tab)
        if paths and set(paths) <= set(crowds[0]):
            break
        x, y = middle(project, tab, 0)
        box = tab.locator("#stage").bounding_box()
        across = "ArrowLeft" if x < box["x"] + box["width"] / 2 else "ArrowRight"
        down = "ArrowDown" if y > box["y"] + box["height"] / 2 else "ArrowUp"
        tab.keyboard.press(across)
        tab.keyboard.press(down)
    assert paths
    assert set(paths) <= set(crowds[0])
    tab.keyboard.press("0")
    still(tab)
    tab.keyboard.press("v")
    assert len(listed(tab)) == 40
    tab.keyboard.press("Escape")
    assert listed(tab) == []
    # The legend by tabbing: the focus stays on what was toggled.
    tab.focus("#legend button")
    tab.keyboard.press("Enter")
    assert tab.get_attribute("#legend button", "aria-pressed") == "false"
    assert tab.evaluate("document.activeElement.getAttribute('aria-pressed')") == "false"
    tab.keyboard.press("?")
    tab.wait_for_selector("#keys[open]")


def test_the_pointer_shows_what_it_is_on_and_a_click_lists_it(
    server: Server,
    project: Project,
    crowds: dict[int, list[str]],
    tab: Any,
) -> None:
    begin(tab, server)
    found = Atlas(project).samples()
    row = found.paths.index(crowds[2][0])
    x, y = spot_of(tab, found, row)
    tab.mouse.move(x, y)
    tab.wait_for_selector("#card:not([hidden])")
    assert tab.inner_text("#card b") == crowds[2][0]
    split = found.facets[0].values[found.facets[0].codes[row]]
    assert tab.locator("#card dd").all_inner_texts()[0] == split
    assert tab.get_attribute("#card img", "src") == f"/thumb/{found.ids[row]}"
    tab.mouse.click(x, y)
    assert listed(tab) == [crowds[2][0]]
    tab.mouse.move(x, y - 150)
    tab.wait_for_selector("#card", state="hidden")


def test_the_wheel_zooms_about_the_pointer(
    server: Server,
    project: Project,
    crowds: Any,
    tab: Any,
) -> None:
    begin(tab, server)
    x, y = middle(project, tab, 1)
    tab.mouse.move(x, y)
    tab.mouse.wheel(0, -300)
    still(tab)
    assert middle(project, tab, 1) == pytest.approx((x, y), abs=0.5)
    left, right, *_ = map(float, tab.get_attribute("#map", "data-view").split())
    assert right - left < 2


def test_two_fingers_zoom_and_a_tap_lists(
    server: Server, project: Project, crowds: dict[int, list[str]], chromium: Any
) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 800}, has_touch=True)
    page = context.new_page()
    begin(page, server)
    x, y = middle(project, page, 2)
    touch = context.new_cdp_session(page)

    def fingers(kind: str, apart: float | None) -> None:
        ends = [] if apart is None else [x - apart, x + apart]
        points = [{"x": one, "y": y, "id": at} for at, one in enumerate(ends)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", 20)
    for apart in range(25, 85, 5):
        fingers("touchMove", apart)
    fingers("touchEnd", None)
    still(page)
    left, right, *_ = map(float, page.get_attribute("#map", "data-view").split())
    assert 2 / 5 < right - left < 2 / 2.5  # of 2 at first; four times as far apart
    assert middle(project, page, 2) == pytest.approx((x, y), abs=2)
    found = Atlas(project).samples()
    row = found.paths.index(crowds[2][3])
    page.touchscreen.tap(*spot_of(page, found, row))
    page.wait_for_selector("#chosen li")
    assert listed(page) == [crowds[2][3]]
    context.close()


def test_names_that_are_code_are_words(
    server: Server,
    project: Project,
    crowds: Any,
    tab: Any,
) -> None:
    desk = Desk(project)
    desk.claim("v0", "ann", number=1)
    work = Work(((1, 10.0, 10.0, 30.0, 30.0, 0, 0),), 3.0, "one", 0, None)
    desk.answer("v0", 1, "ann", answer="complete", work=work)
    begin(tab, server)
    tab.select_option("#facet", "class")
    tab.wait_for_selector("#map[data-colour=class]")
    assert CLASSES[1] in tab.locator("#legend span").all_inner_texts()
    tab.keyboard.press("v")
    assert HOSTILE in listed(tab)
    assert not tab.locator("#chosen script, #legend script").count()
    assert tab.locator("img").count() == tab.locator("img[src^='/thumb/']").count()


def test_without_webgl_the_page_says_so(
    server: Server,
    crowds: Any,
    tab: Any,
) -> None:
    tab.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    tab.goto(f"{server.url}/map")
    tab.wait_for_selector("#map[data-ready=no]")
    assert "no WebGL" in tab.inner_text("#message")


def test_a_context_that_was_lost_is_drawn_again(
    server: Server,
    crowds: Any,
    tab: Any,
) -> None:
    tab.add_init_script(
        "const get = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (...a) {"
        " return (window.gl = get.apply(this, a)); }"
    )
    begin(tab, server)
    before = colours(tab)
    tab.evaluate("window.ext = gl.getExtension('WEBGL_lose_context'); ext.loseContext()")
    still(tab)
    tab.evaluate("ext.restoreContext()")
    tab.wait_for_timeout(200)
    assert colours(tab) == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious_and_nothing_is_cut_off(
    server: Server,
    project: Project,
    crowds: Any,
    tab: Any,
    width: int,
    scheme: str,
) -> None:
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size({"width": width, "height": 800})
    begin(tab, server)
    tab.keyboard.press("v")
    tab.locator("#legend button").first.click()
    assert serious(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert len(colours(tab)) >= 3


def test_without_a_map_the_page_is_whole(server: Server, tab: Any) -> None:
    tab.goto(f"{server.url}/map")
    assert "annoloop map" in tab.inner_text("main")
    assert serious(tab) == []
