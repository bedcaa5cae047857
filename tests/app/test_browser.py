"""The label page in a real Chromium: what people do, and what is in the database afterwards."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annoloop.desk import Desk
from annoloop.project import Project
from tests.app.conftest import CLASSES, HOSTILE, Server, answers, place_of, serious


def begin(page: Any, server: Server, who: str = "ann", batch: str = "v0") -> None:
    page.goto(f"{server.url}/label/{batch}")
    page.fill("#name", who)
    page.keyboard.press("Enter")
    page.wait_for_selector("#desk[data-ready=yes]")


def magenta(page: Any) -> tuple[float, ...]:
    """Left, top, right and bottom edge of the rectangle, in pixels of the screen."""
    page.wait_for_timeout(100)
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    red, green, blue = np.moveaxis(np.asarray(shot).astype(int), 2, 0)
    rows, columns = np.nonzero((red > 200) & (blue > 200) & (green < 90))
    edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return tuple(map(float, edges))


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=5)
    page.mouse.up()


def number_of(page: Any) -> int:
    return int(re.findall(r"\d+", page.inner_text("#place"))[0])


def saved(page: Any) -> None:
    page.wait_for_selector("#desk[data-saved=saved]")


def away_from(page: Any, number: int) -> None:
    """Wait until the image is answered, and another one or the end is shown."""
    other = f"#desk:not([hidden]):not([data-number='{number}'])"
    page.wait_for_selector(f"{other}, #finished:not([hidden])")


def number_in_name(path: str) -> int:
    return 0 if path == HOSTILE else int(re.findall(r"\d+", path)[0])


def zoom(page: Any, how: str) -> None:
    """By keys, by the wheel, or with two fingers; the image's scale changes."""
    before = page.get_attribute("#stage", "data-scale")
    middle = page.locator("#stage").bounding_box()
    x, y = middle["x"] + middle["width"] / 2, middle["y"] + middle["height"] / 2
    if how == "wheel":
        page.mouse.move(x, y)
        page.mouse.wheel(0, -120)
    elif how == "fingers":
        send = page.context.new_cdp_session(page).send
        for kind, apart in (("touchStart", 100), ("touchMove", 115), ("touchMove", 125)):
            points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
            send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    else:
        for key in how:
            page.keyboard.press(key)
    page.wait_for_timeout(200)
    assert (page.get_attribute("#stage", "data-scale") != before) == bool(how)


@pytest.mark.parametrize("zoomed", ["", "---", "+", "wheel", "fingers"])
def test_a_box_drawn_along_what_is_seen_is_stored_to_the_pixel(
    server: Server, project: Project, tab: Any, zoomed: str
) -> None:
    begin(tab, server)
    zoom(tab, zoomed)
    left, top, right, bottom = magenta(tab)
    drag(tab, (left, top), (right, bottom))
    saved(tab)
    tab.keyboard.press("Enter")
    away_from(tab, 1)
    ((path, (one,)),) = answers(project).items()
    assert one["labels"] == [[0, *place_of(number_in_name(path)), 0]]
    assert (one["answer"], one["who"]) == ("complete", "ann")
    assert 0 < one["seconds"] < 60


def test_boxes_are_moved_resized_undone_and_deleted_by_mouse(server: Server, tab: Any) -> None:
    begin(tab, server)
    left, top, right, bottom = magenta(tab)
    scale = float(tab.get_attribute("#stage", "data-scale"))
    drag(tab, (left, top), (right, bottom))
    first = tab.inner_text("#boxes small")
    x, y, w, h = map(int, re.findall(r"\d+", first))
    middle = ((left + right) / 2, (top + bottom) / 2 + 6)
    drag(tab, middle, (middle[0] + 10 * scale, middle[1] + 5 * scale))
    assert tab.inner_text("#boxes small") == f"{x + 10}, {y + 5} · {w} × {h}"
    corner = (right + 10 * scale, bottom + 5 * scale)
    drag(tab, corner, (corner[0] + 8 * scale, corner[1] + 4 * scale))
    assert tab.inner_text("#boxes small") == f"{x + 10}, {y + 5} · {w + 8} × {h + 4}"
    tab.click("#undo")
    tab.click("#undo")
    assert tab.inner_text("#boxes small") == first
    tab.click("#redo")
    assert tab.inner_text("#boxes small") == f"{x + 10}, {y + 5} · {w} × {h}"
    tab.click("#boxes button")
    tab.keyboard.press("Delete")
    assert tab.inner_text("#count") == "0"


def test_a_small_box_inside_a_large_one_is_drawn_and_picked(server: Server, tab: Any) -> None:
    begin(tab, server)
    area = tab.locator("#stage").bounding_box()
    x, y = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    drag(tab, (x - 200, y - 150), (x + 200, y + 150))
    tab.keyboard.press("Escape")
    drag(tab, (x - 40, y - 40), (x + 40, y + 40))
    tab.keyboard.press("Escape")
    tab.mouse.click(x, y)
    assert tab.get_attribute("#boxes li:nth-child(2) button", "aria-pressed") == "true"


def test_a_whole_batch_by_keyboard(server: Server, project: Project, tab: Any) -> None:
    begin(tab, server)
    total = int(re.findall(r"\d+", tab.inner_text("#place"))[1])
    for number in range(1, total + 1):
        assert number_of(tab) == number
        if number == 1:
            tab.keyboard.press("e")
        elif number == 2:
            tab.keyboard.press("b")
            tab.keyboard.type("out of focus")
            tab.keyboard.press("Enter")
        else:
            tab.keyboard.press("n" if number == 3 else "v")
            if number == 3:
                tab.keyboard.press("/")
                tab.keyboard.type("script")
                tab.keyboard.press("Enter")
                for key in ("Shift+ArrowRight", "ArrowUp", "Alt+ArrowRight", "Control+z"):
                    tab.keyboard.press(key)
            tab.keyboard.press("Enter")
        if number < total:
            away_from(tab, number)
    tab.wait_for_selector("#finished:not([hidden])")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#ask-close[open]")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#finished-title:has-text('is closed')")
    stored = [one for (one,) in answers(project).values()]
    assert sorted(one["answer"] for one in stored) == ["complete"] * (total - 2) + [
        "empty",
        "unusable",
    ]
    assert [one["why"] for one in stored if one["answer"] == "unusable"] == ["out of focus"]
    boxes = {tuple(one["labels"][0]) for one in stored if one["answer"] == "complete"}
    assert boxes == {(1, 70, 44, 40, 30, 0)}  # the middle, 10 to the right, 1 up; Alt undone
    assert not next(b for b in project.status().batches if b.name == "v0").open


def test_two_people_share_a_batch(server: Server, project: Project, chromium: Any) -> None:
    pages = []
    for who in ("ann", "bob"):
        context = chromium.new_context()
        pages.append(context.new_page())
        begin(pages[-1], server, who)
    assert [number_of(page) for page in pages] == [1, 2]
    pages[1].keyboard.press(",")
    pages[1].wait_for_selector("#message:not([hidden])")
    assert "ann is labelling image 1" in pages[1].inner_text("#message")
    for number, page in enumerate(pages, start=1):
        page.keyboard.press("e")
        away_from(page, number)
    assert sorted(map(number_of, pages)) == [3, 4]
    assert sorted(one["who"] for (one,) in answers(project).values()) == ["ann", "bob"]
    for page in pages:
        page.context.close()


def test_two_people_review_the_same_failures(
    walked_server: Server, walked: Project, chromium: Any
) -> None:
    """Both see every image, neither sees what the other drew, and the close says what came out."""
    total = walked.failures_review(2).size
    for who in ("ann", "bob"):
        context = chromium.new_context()
        page = context.new_page()
        begin(page, walked_server, who, batch="review-1")
        assert re.findall(r"\d+", page.inner_text("#place"))[1] == str(total)
        for number in range(1, total + 1):
            assert number_of(page) == number
            assert page.locator("#boxes button").count() == 0
            page.keyboard.press("e")
            if number < total:
                away_from(page, number)
        page.wait_for_selector("#finished:not([hidden])")
        context.close()
    given = [one for found in answers(walked).values() for one in found]
    assert (
        sorted(one["who"] for one in given if one["who"] != "oracle")
        == ["ann"] * total + ["bob"] * total
    )
    made = walked.annotate_close("review-1")
    assert made.review is not None
    # Both say that there is nothing where the label is: the label is wrong, not the model.
    assert made.review["shares"]["counts"] == {"label error": 2}


def test_a_server_killed_in_a_save_loses_nothing(
    server: Server, project: Project, tab: Any
) -> None:
    begin(tab, server)
    tab.keyboard.press("n")
    saved(tab)
    server.stop_hearing()  # the save is sent, and never answered
    with tab.expect_request("**/draft"):
        tab.keyboard.press("ArrowRight")
    assert tab.get_attribute("#desk", "data-saved") == "saving"
    server.kill()
    tab.wait_for_selector("#desk[data-saved=away]")
    assert "kept in this browser" in tab.inner_text("#saved")
    tab.keyboard.press("Enter")  # an answer, too, waits for the server
    tab.wait_for_timeout(300)
    assert not answers(project)
    server.start()
    away_from(tab, 1)
    ((one,),) = answers(project).values()
    assert one["labels"] == [[0, 61, 45, 40, 30, 0]]


def test_a_page_closed_while_the_server_was_away_brings_its_work(
    server: Server, project: Project, tab: Any
) -> None:
    begin(tab, server)
    server.kill()
    tab.keyboard.press("n")
    tab.wait_for_selector("#desk[data-saved=away]")
    server.start()
    tab.goto("about:blank")
    tab.goto(f"{server.url}/label/v0")
    tab.wait_for_selector("#desk[data-ready=yes]")
    assert tab.inner_text("#count") == "1"
    saved(tab)


def test_a_reload_opens_where_its_user_was(server: Server, project: Project, tab: Any) -> None:
    begin(tab, server)
    first = number_of(tab)
    for _ in range(2):
        number = number_of(tab)
        tab.keyboard.press(".")
        away_from(tab, number)
    here = number_of(tab)
    assert here == first + 2
    tab.reload()
    tab.wait_for_selector("#desk[data-ready=yes]")
    assert number_of(tab) == here  # not the first without an answer
    tab.keyboard.press("e")
    away_from(tab, here)
    tab.keyboard.press(",")
    tab.wait_for_selector(f"#desk[data-number='{here}']")
    tab.reload()
    tab.wait_for_selector("#desk[data-ready=yes]")
    assert number_of(tab) == here  # also where it is answered
    assert "empty" in tab.inner_text("#given")


def test_where_another_person_has_taken_the_image_the_next_one_opens(
    server: Server, project: Project, tab: Any
) -> None:
    begin(tab, server)
    here = number_of(tab)
    tab.evaluate("localStorage.setItem('annoloop:at:v0:ann', '2')")
    desk = Desk(project)
    assert desk.claim("v0", "bob", number=2) is not None
    tab.reload()
    tab.wait_for_selector("#desk[data-ready=yes]")
    assert number_of(tab) == here
    assert tab.inner_text("#message") == ""


def test_names_that_are_code_are_words(server: Server, tab: Any) -> None:
    begin(tab, server, "<img src=x onerror=alert(3)>")
    assert CLASSES[1] in tab.inner_text("#classes")
    tab.keyboard.press("n")
    tab.keyboard.press("2")
    assert CLASSES[1] in tab.inner_text("#boxes")
    while not tab.locator("#finished:not([hidden])").count():
        number = number_of(tab)
        tab.keyboard.press("Enter" if number == 1 else "e")
        away_from(tab, number)
    assert not tab.locator("img").count()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious_and_nothing_is_cut_off(
    server: Server, tab: Any, width: int, scheme: str
) -> None:
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size({"width": width, "height": 800})
    begin(tab, server)
    tab.keyboard.press("n")
    for address in ("/label/v0", "/", "/label", "/enter", "/nowhere"):
        if address != "/label/v0":
            tab.goto(server.url + address)
        assert serious(tab) == [], address
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), address


def test_rules_are_checked_while_drawing(server: Server, project: Project, tab: Any) -> None:
    server.kill()
    with (project.folder / "annoloop.toml").open("a") as settings:
        settings.write("\n[labels.rules.square]\nmin_side = 35\nmost = 1\n")
    server.start()
    begin(tab, server)
    tab.keyboard.press("n")  # 40 × 30
    assert "at least 35 pixels" in tab.inner_text("#problems")
    tab.keyboard.press("Enter")
    assert "A rule is broken" in tab.inner_text("#message")
    for _ in range(5):
        tab.keyboard.press("Alt+ArrowDown")
    assert tab.inner_text("#problems") == ""
    tab.keyboard.press("n")
    assert "at most 1" in tab.inner_text("#problems")
    assert not answers(project)


def test_boxes_of_the_model_are_accepted_before_an_image_is_complete(
    server: Server, project: Project, tab: Any
) -> None:
    project.annotate_oracle("v0")
    project.annotate_close("v0")
    project.evaluate()
    project.select(4)
    project.batch_predict("v1")
    begin(tab, server, batch="v1")
    while not tab.locator("#boxes .suggested").count():
        number = number_of(tab)
        tab.keyboard.press("e")
        away_from(tab, number)
    shown = tab.locator("#boxes li").count()
    number = number_of(tab)
    tab.keyboard.press("e")
    assert "would be dropped" in tab.inner_text("#message")
    assert number_of(tab) == number
    tab.keyboard.press("Enter")
    assert "neither accepted nor deleted" in tab.inner_text("#message")
    if shown > 1:
        tab.keyboard.press("j")
        tab.keyboard.press("Delete")
    tab.keyboard.press("Shift+A")
    tab.keyboard.press("Enter")
    away_from(tab, number)
    mine = [a for found in answers(project).values() for a in found if a["who"] == "ann"]
    (complete,) = [one for one in mine if one["answer"] == "complete"]  # blank ones came before it
    assert len(complete["labels"]) == max(1, shown - 1)
