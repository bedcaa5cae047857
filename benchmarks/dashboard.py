"""How fast the app's pages open on a large project, in a real Chromium.

    python benchmarks/dashboard.py [--samples 100000]

Writes benchmarks/dashboard.md. The project is the one of selection.py (one iteration done, 500
failures), with an open batch of 10,000 and pictures behind all samples. Every page is opened for
the first time after the server's start, then five times more.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import sync_playwright
from selection import generated

from annoloop.project import Project

PAGE = Path(__file__).resolve().with_suffix(".md")
COMMAND = [sys.executable, "-c", "from annoloop.cli import main; main()", "app", "--port", "0"]
PAGES = {
    "overview": "/",
    "failures": "/failures",
    "batches": "/batches",
    "the open batch": "/batches/v1",
    "golden": "/golden",
    "history": "/history",
}
AGAIN, PICTURES = 5, 64


def pictures(folder: Path, n: int) -> None:
    """A file for each sample; the same few pictures, by hard links."""
    rng = np.random.default_rng(0)
    for k in range(PICTURES):
        noise = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        big = cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC)
        assert cv2.imwrite(str(folder / f"{k:07}.jpg"), big)
    for i in range(PICTURES, n):
        os.link(folder / f"{i % PICTURES:07}.jpg", folder / f"{i:07}.jpg")


def opened(page: Any, url: str) -> float:
    """Milliseconds from asking for a page until it has loaded, pictures in view included."""
    page.goto(url, wait_until="load")
    return float(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))


def scrolled(page: Any) -> float:
    """Milliseconds until all pictures of a gallery are there, scrolled through from its top."""
    started = time.perf_counter()
    for _ in range(100):
        page.mouse.wheel(0, 1500)
        if page.evaluate("scrollY + innerHeight >= document.documentElement.scrollHeight - 2"):
            break
    ready = "[...document.images].every(one => one.complete && one.naturalWidth > 0)"
    while not page.evaluate(ready):
        time.sleep(0.01)
    return 1000 * (time.perf_counter() - started)


def measure(url: str) -> list[str]:
    rows = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{url}/label", wait_until="load")  # the browser itself is warm
        for name, address in PAGES.items():
            first = opened(page, url + address)
            again = statistics.median(opened(page, url + address) for _ in range(AGAIN))
            rows.append(f"| {name} | {first:.0f} ms | {again:.0f} ms |")
        page.goto(f"{url}/batches/v1?page=3", wait_until="load")
        pictures_there = scrolled(page)
        rows += ["", "A gallery of 48 pictures never shown before, scrolled through: all there "]
        rows[-1] += f"after {pictures_there:.0f} ms."
        browser.close()
    return rows


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--samples", type=int, default=100_000)
    n = asked.parse_args().samples
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "project"
        generated(folder, n)
        pictures(folder / "images", n)
        Project(folder).select(min(10_000, n // 10))
        app = subprocess.Popen(COMMAND, cwd=folder, stderr=subprocess.PIPE, text=True)
        assert app.stderr is not None
        found = re.search(r"http://\S+", app.stderr.readline())
        assert found is not None
        rows = measure(found.group())
        app.kill()
        app.wait()
    lines = [
        f"# The app's pages on {n:,} samples",
        "",
        "From asking for a page until it has loaded in Chromium (software rendering), server and "
        f"browser on the same {os.cpu_count()} cores; the first time after the server's start, "
        f"and the median of {AGAIN} more. One run, written by `dashboard.py`.",
        "",
        "| page | first | again |",
        "|---|---|---|",
        *rows,
    ]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
