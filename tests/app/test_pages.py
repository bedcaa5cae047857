"""The pages that show, in a real Chromium: what a new user does in them, and how they behave."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any

import pytest

from annoloop.project import Project
from tests.app.conftest import HOSTILE, Server, serious
from tests.app.test_browser import away_from

PAGES = ("/", "/failures", "/batches", "/batches/v1", "/map", "/golden", "/history", "/label")

SHIFTS = """
window.shifted = 0;
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) if (!one.hadRecentInput) window.shifted += one.value;
}).observe({ type: "layout-shift", buffered: true });
"""


def press(page: Any, button: str, *, scope: str = ".now") -> str:
    """Start a step and wait until it has ended; the job's state."""
    number = int(page.get_attribute("#job", "data-number"))
    page.click(f"{scope} form.step button:has-text('{button}')")
    page.wait_for_selector(
        f"#job[data-number='{number + 1}']:not([data-state='running'])", timeout=60_000
    )
    page.wait_for_load_state("networkidle")
    return str(page.get_attribute("#job", "data-state"))


def test_a_new_user_goes_once_round_the_loop(
    walked_server: Server, walked: Project, tab: Any
) -> None:
    tab.goto(walked_server.url)
    tab.click("text=Label batch v1")
    tab.fill("#name", "newcomer")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#desk[data-ready=yes]")
    total = int(re.findall(r"\d+", tab.inner_text("#place"))[1])
    for number in range(1, total + 1):
        tab.keyboard.press("n")
        tab.keyboard.press("Enter")
        if number < total:
            away_from(tab, number)
    tab.wait_for_selector("#finished:not([hidden])")
    tab.click("#close-now")
    tab.wait_for_selector("#ask-close[open]")
    tab.keyboard.press("Enter")
    tab.click("text=See what is next")
    for step in ("Golden check", "Train", "Evaluate", "Decide"):
        assert press(tab, step) == "done", tab.inner_text("#job")
    tab.click("nav >> text=Failures")
    assert tab.locator("#each .card").count() >= 1
    tab.click("nav >> text=Overview")
    assert press(tab, "Select") == "done", tab.inner_text("#job")
    tab.click("nav >> text=Batches")
    tab.click("main >> text=v2")
    picks = walked.batch_show("v2").picks
    assert tab.locator(".card .why").count() == len(picks)
    assert all(said.strip() for said in tab.locator(".card .why").all_inner_texts())
    tab.locator(".card a").first.click()
    assert "Why it was picked" in tab.inner_text("main")
    assert tab.inner_text("main p.next strong") == "v2"
    who = {step.who for step in walked.history().iterations[1].steps if step.step != "select"}
    assert who == {"newcomer"}


def test_a_step_shows_how_far_it_is_and_stops_when_told(
    walked: Project, tab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked.annotate_oracle("v1")
    walked.annotate_close("v1")
    walked.golden_check()
    endless = {"command": [sys.executable, "-c", "import time; time.sleep(3600)"]}
    monkeypatch.setenv("ANNOLOOP_TRAIN__TRAINER", "command")
    monkeypatch.setenv("ANNOLOOP_TRAIN__OPTIONS", json.dumps(endless))
    server = Server(walked.folder)
    try:
        tab.goto(server.url)
        tab.click(".steps form[data-verb=train] button")
        tab.wait_for_selector("#job[data-state=running]")
        assert tab.locator("form.step button:enabled").count() == 0
        assert "· " in tab.inner_text("#job-what")
        other = tab.context.new_page()
        other.goto(f"{server.url}/history")
        assert "annoloop train is running" in other.inner_text("header")
        tab.click("#job-stop")
        tab.wait_for_selector("#job[data-state=stopped]", timeout=60_000)
        tab.wait_for_load_state("networkidle")
        assert tab.locator("form.step button:enabled").count() > 0
    finally:
        server.kill()


def test_the_map_is_laid_out_from_its_own_page(walked_server: Server, tab: Any) -> None:
    tab.goto(f"{walked_server.url}/map")
    tab.click("form[data-verb=map] button")
    tab.wait_for_selector("#map[data-ready=yes]", timeout=90_000)
    assert tab.inner_text("#map .place").startswith("40 images")


def test_work_that_another_process_does_is_shown_and_waited_for(
    walked_server: Server, walked: Project, tab: Any
) -> None:
    assert walked.busy() is None
    with walked._alone("train"):
        assert walked.busy() == f"train, process {os.getpid()}"
        tab.goto(walked_server.url)
        assert f"train, process {os.getpid()}" in tab.inner_text("#elsewhere")
        tab.wait_for_selector("form.step button:disabled")
    tab.wait_for_selector("#elsewhere", state="detached")
    assert tab.locator("form.step button:enabled").count() > 0


def test_a_refused_step_says_why_beside_its_button(walked_server: Server, tab: Any) -> None:
    tab.goto(walked_server.url)
    tab.fill(".steps form[data-verb=select] [name=size]", "many")
    tab.click(".steps form[data-verb=select] button")
    said = tab.locator(".steps form[data-verb=select] .problem")
    said.wait_for()
    assert "is no number of images" in said.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious_on_any_page(
    walked_server: Server, walked: Project, tab: Any, width: int, scheme: str
) -> None:
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size({"width": width, "height": 800})
    sample = walked.failures().failures[0].failure.sample_id
    for address in (*PAGES, f"/sample/{sample}"):
        tab.goto(walked_server.url + address)
        assert serious(tab) == [], address
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), address


def test_nothing_moves_while_images_load(walked_server: Server, tab: Any) -> None:
    tab.add_init_script(SHIFTS)
    for address in PAGES:
        tab.goto(walked_server.url + address)
        tab.mouse.wheel(0, 4000)
        tab.wait_for_load_state("networkidle")
        assert tab.evaluate("window.shifted") < 0.01, address


def test_boxes_lie_over_their_image_where_the_labels_say(
    walked_server: Server, walked: Project, tab: Any
) -> None:
    """The drawn box of a failure covers its share of the picture, to half a screen pixel."""
    tab.goto(f"{walked_server.url}/failures")
    view = walked.failures().failures[0]
    card = tab.locator(f"#each a[href='/sample/{view.failure.sample_id}']").first
    card.scroll_into_view_if_needed()
    frame = card.bounding_box()
    known = walked.sample(view.failure.sample_id)
    scale = min(frame["width"] / known.width, frame["height"] / known.height)
    left = frame["x"] + (frame["width"] - scale * known.width) / 2
    top = frame["y"] + (frame["height"] - scale * known.height) / 2
    kind = "truth" if view.failure.type == "missed" else "predicted"
    drawn = card.locator(f"rect.{kind}").first.evaluate(
        "one => { const b = one.getBBox(), m = one.getScreenCTM();"
        " return [m.e + m.a * b.x, m.f + m.d * b.y, m.a * b.width, m.d * b.height]; }"
    )
    x, y, w, h = view.failure.box
    expected = [left + scale * x, top + scale * y, scale * w, scale * h]
    assert drawn == pytest.approx(expected, abs=0.5)


def test_names_that_are_code_are_words_on_every_page(
    walked_server: Server, walked: Project, tab: Any
) -> None:
    hostile = walked.sample(HOSTILE)
    for address in (*PAGES, f"/sample/{hostile.id}"):
        tab.goto(walked_server.url + address)
    assert tab.inner_text("h1") == HOSTILE
    tab.goto(f"{walked_server.url}/failures?class=%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert(1)</script>" in tab.inner_text("#each")


@pytest.mark.parametrize(
    ("key", "pages"), [("correct horse", 7), ("battery staple", 1)], ids=["all", "labels"]
)
def test_people_on_other_machines_enter_by_a_key(
    walked: Project, tab: Any, monkeypatch: pytest.MonkeyPatch, key: str, pages: int
) -> None:
    monkeypatch.setenv("ANNOLOOP_APP__KEY", "correct horse")
    monkeypatch.setenv("ANNOLOOP_APP__LABEL_KEY", "battery staple")
    server = Server(walked.folder, "--host", "0.0.0.0")
    try:
        tab.goto(server.url)
        tab.fill("#key", "a wrong one")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#refused")
        tab.fill("#key", key)
        tab.keyboard.press("Enter")
        tab.wait_for_selector(f"header nav a >> nth={pages - 1}")
        assert tab.locator("header nav a").count() == pages
        tab.goto(f"{server.url}/label/v1")
        tab.wait_for_selector("#name")
    finally:
        server.kill()
