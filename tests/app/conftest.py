"""A project whose images hold one magenta rectangle at a known place, and the app serving it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from annoloop.project import Project
from annoloop.records import Source

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
CHROMIUM = Path("/usr/bin/chromium")
REQUIRED = "REQUIRE_CHROMIUM" in os.environ
WIDTH, HEIGHT = 160, 120
CLASSES = ("square", "<script>alert(1)</script>")
HOSTILE = '"><img src=x onerror=alert(2)>.png'


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


def place_of(number: int) -> list[int]:
    """Where the rectangle of image `number` lies."""
    return [17 + number % 7 * 9, 13 + number % 5 * 8, 31 + number % 4, 24 + number % 3]


def draw(root: Path, count: int = 40, *, unseen: bool = False) -> Path:
    """Images and labels; with `unseen` every second image has a label where there is nothing."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    images, labels = [], []
    (root / "images").mkdir(parents=True)
    for number in range(count):
        grey = rng.integers(60, 200, size=(HEIGHT, WIDTH, 1), dtype=np.uint8)
        picture = cv2.GaussianBlur(np.repeat(grey, 3, axis=2), (0, 0), 1 + number % 5)
        x, y, w, h = place_of(number)
        picture[y : y + h, x : x + w] = (255, 0, 255)
        name = HOSTILE if number == 0 else f"image_{number:02}.png"
        done, data = cv2.imencode(".png", picture)
        assert done
        (root / "images" / name).write_bytes(data.tobytes())
        images.append({"id": number + 1, "file_name": name, "width": WIDTH, "height": HEIGHT})
        box = {"image_id": number + 1, "category_id": 1, "bbox": [x, y, w, h]}
        labels.append(box | {"id": number + 1, "iscrowd": 0, "area": w * h})
        if unseen and number % 2:
            nothing = {"image_id": number + 1, "category_id": 2, "bbox": [110, 80, 30, 24]}
            labels.append(nothing | {"id": 1000 + number, "iscrowd": 0, "area": 720})
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)]
    document = {"images": images, "annotations": labels, "categories": categories}
    (root / "labels.json").write_text(json.dumps(document))
    return root


@pytest.fixture(scope="session")
def _batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _made(draw(tmp_path_factory.mktemp("rectangles")), tmp_path_factory.mktemp("app"))


def _made(data: Path, root: Path) -> Path:
    folder = root / "project"
    source = Source(str(data / "images"), str(data / "labels.json"))
    few = {"golden": {"minimum": 2}, "split": {"golden": 6}}
    project, _ = Project.init(folder, source, overrides=few)
    project.select(4)
    return folder


@pytest.fixture
def project(_batch: Path, tmp_path: Path) -> Project:
    """Batch v0 is open: four picks, and golden images hidden among them."""
    return Project(shutil.copytree(_batch, tmp_path / "project"))


@pytest.fixture(scope="session")
def _walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = draw(tmp_path_factory.mktemp("unseen"), unseen=True)
    folder = _made(data, tmp_path_factory.mktemp("walked"))
    made = Project(folder)
    made.run(iterations=1, annotator="oracle")
    made.select(4)
    return folder


@pytest.fixture
def walked(_walked: Path, tmp_path: Path) -> Project:
    """One iteration is done by the oracle, and batch v1 is open."""
    return Project(shutil.copytree(_walked, tmp_path / "walked"))


class Server:
    """`annoloop app` in a process of its own, that can be stopped, killed and started again."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        self.words = words
        self.port = 0
        self.start()

    def start(self) -> None:
        words = [sys.executable, "-c", "from annoloop.cli import main; main()", "app"]
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [*words, *self.words, "--port", str(self.port)],
            cwd=self.folder,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        assert "http://" in line, line
        self.port = int(line.split("http://")[1].split()[0].rpartition(":")[2])
        self.url = f"http://127.0.0.1:{self.port}"
        for _ in range(200):
            try:
                httpx.get(f"{self.url}/static/app.css")
                return
            except httpx.TransportError:
                time.sleep(0.02)
        raise AssertionError("the app does not answer")

    def stop_hearing(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def server(project: Project) -> Iterator[Server]:
    made = Server(project.folder)
    yield made
    made.kill()


@pytest.fixture
def walked_server(walked: Project) -> Iterator[Server]:
    made = Server(walked.folder)
    yield made
    made.kill()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if not CHROMIUM.exists():
        message = "Debian's chromium is not installed (apt-get install chromium)"
        pytest.fail(message) if REQUIRED else pytest.skip(message)
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=quiet)
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium: Any) -> Iterator[Any]:
    """A new browser profile; a script error or a dialog of a script fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(10_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.on("console", lambda line: policy(line.text, wrong))
    yield page
    context.close()
    assert not wrong


def policy(text: str, wrong: list[str]) -> None:
    if "Content Security Policy" in text:
        wrong.append(text)


def serious(page: Any) -> list[str]:
    # Through the debugger: the page's own policy lets no foreign script in.
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run().then(done => done.violations)")
    return [
        f"{one['id']}: {one['nodes'][0]['html']}"
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]


def answers(project: Project) -> dict[str, list[dict[str, Any]]]:
    """Stored answers by file name, as the database has them."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(project.folder / "annoloop.db")) as connection:
        rows = connection.execute(
            "SELECT s.path, a.answer, a.annotator, a.labels, a.seconds, a.why FROM annotations a "
            "JOIN samples s ON s.id = a.sample_id ORDER BY a.seq"
        ).fetchall()
    found: dict[str, list[dict[str, Any]]] = {}
    for path, answer, who, labels, seconds, why in rows:
        one = {"answer": answer, "who": who, "labels": json.loads(labels or "[]")}
        found.setdefault(path, []).append(one | {"seconds": seconds, "why": why})
    return found
