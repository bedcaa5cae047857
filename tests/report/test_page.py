from __future__ import annotations

import base64
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import cv2
import numpy as np
import pytest

from annoloop.records import Failure, FailureType
from annoloop.report import page
from annoloop.report.page import (
    BatchCards,
    FailureCard,
    PickCard,
    ReportData,
    Weakness,
    WorstCard,
    render_page,
)
from annoloop.report.pr_chart import ClassCurve
from annoloop.results import IterationRow, PoolProgress
from annoloop.results_failures import ChangesView, FailureView, GroupView

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>"
OPEN = dict.fromkeys(("ap", "ap_val", "golden", "verdict", "reason")) | {"images": 0, "boxes": 0}
VOID = {"meta", "img", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """Tags with their attributes, headings, text by tag; checks that tags are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" not in self._open:
            self.words.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(word for word in self.words if word)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def row(name, metric=0.5, **more):
    given = {
        "name": name,
        "images": 30,
        "boxes": 57,
        "batch": {"coverage": 9, "targeted": 21},
        "metric": metric,
        "ap": 0.3,
        "ap_val": 0.31,
        "failures": {"missed": 4, "class": 2},
        "golden": "warn",
        "verdict": "continue",
        "reason": "continue: AP50 0.500 on gauge",
        "seconds": 1.25,
    }
    return IterationRow(**(given | more))


@pytest.fixture
def picture(tmp_path):
    file = tmp_path / "one.png"
    cv2.imwrite(str(file), np.full((30, 40, 3), 90, np.uint8))
    return str(file)


def weakness(name, picture):
    """A class of this name, in every place of the section that tells where the model fails."""
    failure = Failure("s", FailureType.MISSED, 0, (1, 1, 9, 9))
    group = GroupView(
        f"missed `{name}`", "missed", name, 1, 2, 5, 4, 0.03, (FailureView(name, name, failure),)
    )
    return Weakness(
        by_class=((name, {name: 5}),),
        curves=(ClassCurve(name, 0.75, [1.0] * 51 + [0.5] * 50, 0.5, 0.9),),
        min_score=0.4,
        groups=(group,),
        changes=ChangesView(name, 7, 1, 4, 2, 3, {}, (), ()),
        worst=(WorstCard(name, picture, 1, 2, 3, 0.61, ((1, 1, 9, 9),), ((5, 5, 9, 9),)),),
    )


def test_the_section_of_failures_tells_groups_changes_and_worst_images(data, picture):
    shown = Page(render_page(replace(data, weakness=weakness("cat", picture))))
    for words in (
        "Fixed 7 New 1 Still there 4 2 of another type now On images not measured then 3",
        "missed cat 1 of 2 5 4 0.030",
        "3 missed, 2 wrong 1 right at least 61 % wrong",
        "AP50 of cat on gauge is 0.75",
        "cat has 5 failures, most of the class cat (5)",
    ):
        assert words in shown.text


@pytest.fixture
def data(picture):
    picks = (
        PickCard("a/one.png", picture, "coverage", 1, 0.93, "far from all labels"),
        PickCard("a/two.png", picture, "targeted", 1, 0.81, "like a missed cat", ((1, 2, 9, 9),)),
    )
    return ReportData(
        project="cats",
        generated_at="2026-03-03 14:05",
        headline="Continue: AP50 is 0.500 on gauge.",
        next_step="annotate batch v1, then `annoloop annotate close v1`",
        metric="AP50",
        target=0.8,
        pool=PoolProgress(300, 30, 30, 238, 1, 1, 10.0, 10.0, 79.3),
        iterations=(row("v0"), row("v1", None, **OPEN)),
        batches=(BatchCards("v0", False, picks), BatchCards("v1", True, picks)),
        failures=(
            FailureCard("a/one.png", picture, "missed", "missed a `cat`", 0.01, ((3, 3, 9, 9),)),
            FailureCard("b/x.png", picture, "class", "a cat as a dog", 0.02, (), ((5, 5, 9, 9),)),
        ),
        notes=("see `annoloop doctor`",),
    )


def test_shows_where_the_loop_stands(data):
    shown = Page(render_page(data))
    for words in (
        "cats",
        "Continue: AP50 is 0.500 on gauge.",
        "annoloop annotate close v1",
        "79.3 %",
        "9 coverage, 21 targeted",
        "like a missed cat",
        "rank 1 · 0.810",
        "missed a cat",
        "0.0200 AP50",
        "continue: AP50 0.500 on gauge",
    ):
        assert words in shown.text
    assert "`" not in shown.text
    assert [svg for svg in shown.all("svg") if "chart" in (svg["class"] or "")]


def test_nothing_is_loaded_and_nothing_runs(data):
    html = render_page(data)
    shown = Page(html)
    names = Counter(tag for tag, _ in shown.tags)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(names)
    for tag, attrs in shown.tags:
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href", "action", "data", "xlink:href"):
            value = attrs.get(name)
            assert value is None or value.startswith(("#", "data:image/jpeg;base64,")), (tag, value)
    assert "http://" not in html
    assert "https://" not in html
    assert "@import" not in html
    policy = next(m for m in shown.all("meta") if m.get("http-equiv"))
    assert "default-src 'none'" in (policy["content"] or "")


def test_every_text_is_escaped(data, picture):
    evil = ReportData(
        project=EVIL,
        generated_at=EVIL,
        headline=f"{EVIL} `{EVIL}`",
        next_step=EVIL,
        metric=EVIL,
        target=0.5,
        pool=data.pool,
        iterations=(
            row(EVIL, batch={EVIL: 3}, failures={EVIL: 2}, golden=EVIL, verdict=EVIL, reason=EVIL),
        ),
        batches=(
            BatchCards(EVIL, True, (PickCard(EVIL, "/none", EVIL, 1, 0.5, EVIL),)),
            BatchCards(EVIL, False, (PickCard(EVIL, picture, EVIL, 1, 0.5, EVIL),)),
        ),
        failures=(FailureCard(EVIL, picture, EVIL, EVIL, 0.1),),
        weakness=weakness(EVIL, picture),
        notes=(EVIL, f"`{EVIL}`"),
    )
    html = render_page(evil)
    plain = Page(render_page(replace(data, weakness=weakness("cat", picture))))
    shown = Page(html)
    assert "<script" not in html
    assert {tag for tag, _ in shown.tags} == {tag for tag, _ in plain.tags}
    assert shown.text.count("<script>alert('x')</script>") > 15
    assert not [a for _, attrs in shown.tags for a in attrs if a.startswith("on")]


def test_accessible_skeleton(data):
    shown = Page(render_page(data))
    assert shown.all("html") == [{"lang": "en"}]
    levels = [int(tag[1]) for tag, _ in shown.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(image["alt"] for image in shown.all("img"))
    assert all(head["scope"] in ("col", "row") for head in shown.all("th"))
    ids = Counter(attrs["id"] for _, attrs in shown.tags if attrs.get("id"))
    assert set(ids.values()) == {1}
    for _, attrs in shown.tags:
        for name in ("aria-labelledby", "href", "fill"):
            value = attrs.get(name) or ""
            target = value.removeprefix("url(").rstrip(")").removeprefix("#")
            if value and (name == "aria-labelledby" or "#" in value):
                assert target in ids
    for svg in shown.all("svg"):
        assert svg.get("role") == "img" or svg.get("aria-hidden") == "true"


def test_pictures_carry_their_boxes(data):
    shown = Page(render_page(data))
    first = shown.all("img")[1]
    assert first["alt"] == "b/x.png: failure, class"
    jpeg = base64.b64decode((first["src"] or "").partition(",")[2])
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert pixels.shape == (240, 320, 3)
    blue, green, red = pixels[40, 40:112].mean(axis=0)  # the upper edge of the predicted box
    assert red > green + 40
    assert red > blue + 40


def test_a_missing_image_is_a_placeholder_with_its_name(data):
    gone = replace(data.failures[0], path="deep/gone.png", uri="/no/such/secret/gone.png")
    shown = Page(render_page(replace(data, failures=(gone,), batches=())))
    assert "gone.png" in shown.text
    assert "cannot be read" in shown.text
    assert not shown.all("img")
    assert "secret" not in render_page(replace(data, failures=(gone,)))


def test_cards_are_limited_and_say_so(data, picture):
    picks = tuple(PickCard(f"{i}.png", picture, "random", i, 0.5, "chance") for i in range(30))
    failures = tuple(
        FailureCard(f"f{i}.png", picture, "missed", "missed", i / 1000) for i in range(40)
    )
    shown = Page(
        render_page(replace(data, batches=(BatchCards("v0", True, picks),), failures=failures))
    )
    assert len(shown.all("img")) == 48
    assert "The first 24 of 30 picks." in shown.text
    assert "24 of 40 failures of the newest model." in shown.text
    assert "f23.png" in shown.text
    assert "f24.png" not in shown.text


def test_says_how_many_failures_there_are(data):
    assert "2 of 6 failures of the newest model." in Page(render_page(data)).text
    few = replace(data, iterations=(row("v0", failures={"missed": 1, "class": 1}),))
    assert "All failures of the newest model." in Page(render_page(few)).text


def test_the_page_stays_below_six_megabytes(data, picture, monkeypatch):
    monkeypatch.setattr(page, "thumbnail_jpeg", lambda uri, **_: b"x" * 300_000)
    picks = tuple(PickCard(f"{i}.png", picture, "random", i, 0.5, "chance") for i in range(30))
    batches = tuple(BatchCards(f"v{i}", False, picks) for i in range(10))
    html = render_page(replace(data, batches=batches))
    assert 5_000_000 < len(html.encode()) < 6_000_000
    shown = Page(html)
    assert shown.text.count("left out to keep this page small") > 200
    assert "rank 23" in shown.text


def test_newest_batch_first_and_unfolded(data):
    shown = Page(render_page(data))
    folds = shown.all("details")
    assert [("open" in fold) for fold in folds] == [False, True, False]  # reasons, v1, v0
    assert shown.text.index("v1 open") < shown.text.index("v0 closed")


def test_a_batch_says_who_answered_and_when(data):
    told = replace(
        data.batches[0],
        annotators=("ann", "<b>bob</b>"),
        made_at="2026-03-01T10:20:30+00:00",
        closed_at="2026-03-02T11:22:33+00:00",
    )
    fresh = replace(data.batches[1], made_at="2026-03-03T08:00:00+00:00")
    text = " ".join(Page(render_page(replace(data, batches=(told, fresh)))).text.split())
    assert "Selected 2026-03-01 10:20 , answered by ann, <b>bob</b>, closed 2026-03-02" in text
    assert "Selected 2026-03-03 08:00 , not answered yet." in text


def test_pictures_keep_their_room_while_they_load(data):
    for image in Page(render_page(data)).all("img"):
        assert (image["width"], image["height"]) == ("320", "240")


def test_an_empty_project_says_so(data):
    empty = ReportData(
        project="new",
        generated_at="now",
        headline="Nothing yet.",
        next_step="add images: `annoloop ingest`",
        metric="AP",
        target=None,
        pool=PoolProgress(0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0),
    )
    shown = Page(render_page(empty))
    assert "The pool holds no image yet." in shown.text
    assert "No batch has been taken yet." in shown.text
    assert "No failure is known" in shown.text
    assert not shown.all("table")


def test_the_metric_is_shown_once_and_open_rows_are_dashes(data):
    shown = Page(render_page(replace(data, metric="AP")))
    heads = [word for word in shown.words if word in ("AP", "AP val")]
    assert heads.count("AP") == 1
    assert "v1 – – – – 9 coverage, 21 targeted – – – –" in shown.text


def test_same_data_same_page(data):
    assert render_page(data) == render_page(data)
