"""The map of 100,000 images: laying it out, sending it, drawing it.

    OMP_NUM_THREADS=2 NUMBA_NUM_THREADS=2 python benchmarks/map.py [--samples 100000]

Writes benchmarks/map.md. Vectors are generated: 40 crowds, each of 24 directions of its own within
512 values. UMAP is measured beside PaCMAP where it is installed (`pip install umap-learn`; annoloop
does not need it). Drawing is measured in Debian's Chromium without a GPU: software renders it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import faiss
import numpy as np
import selection

from annoloop.app.map import packed
from annoloop.atlas import Atlas
from annoloop.core.layout import _directions, _reduced, layout
from annoloop.project import Project
from annoloop.store.vectors import VectorStore

PAGE = Path(__file__).resolve().with_suffix(".md")
CHROMIUM = "/usr/bin/chromium"
WIDTH, CROWDS, INNER, ASKED, NEAR, REPEATS = 512, 40, 24, 1_000, 10, 5
FRAMES = """async () => {
  const stage = document.getElementById("stage"), frame = () => new Promise(requestAnimationFrame);
  const took = [];
  let last = await frame();
  for (let k = 0; k < 80; k += 1) {
    const spot = { bubbles: true, clientX: 300 + 4 * k, clientY: 400 };
    stage.dispatchEvent(new WheelEvent("wheel", { ...spot, deltaY: k % 40 < 20 ? -40 : 40 }));
    const now = await frame();
    if (k > 5) took.push(now - last);
    last = now;
  }
  return took;
}"""


def crowds(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    crowd = rng.integers(0, CROWDS, n)
    ways = rng.normal(size=(CROWDS, INNER, WIDTH)) / 5
    x = (2 * rng.normal(size=(CROWDS, WIDTH)))[crowd].astype(np.float32)
    for one in range(CROWDS):
        inside = np.flatnonzero(crowd == one)
        along = rng.normal(size=(len(inside), INNER)) * np.linspace(3, 0.3, INNER)
        x[inside] += (along @ ways[one]).astype(np.float32)
    return x, crowd


def umap(rows: np.ndarray, seed: int | None) -> np.ndarray:
    from umap import UMAP

    jobs = {"random_state": seed, "n_jobs": 1} if seed is not None else {"n_jobs": -1}
    return np.asarray(UMAP(**jobs).fit_transform(_reduced(_directions(rows))), np.float32)


CANDIDATES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "PaCMAP, seeded (what `annoloop map` does)": lambda rows: layout(rows, seed=0),
    "UMAP, seeded": lambda rows: umap(rows, 0),
    "UMAP without a seed": lambda rows: umap(rows, None),
}


def candidate(name: str, n: int) -> None:
    """Prints seconds, and how many of an image's 10 nearest are among the 30 nearest on the map."""
    rows, crowd = crowds(n)
    CANDIDATES[name](rows[:200])  # compiled, and the compiled kernels loaded
    wall, cpu = time.perf_counter(), time.process_time()
    points = CANDIDATES[name](rows)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    asked = np.random.default_rng(1).choice(n, ASKED, replace=False)
    before, after = nearest(_directions(rows), asked, NEAR), nearest(points, asked, 3 * NEAR)
    kept = np.mean([np.isin(a, b).mean() for a, b in zip(before, after, strict=True)])
    same = (crowd[after[:, :NEAR]] == crowd[asked][:, None]).mean()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([wall, cpu, float(kept), float(same), peak]))


def nearest(rows: np.ndarray, asked: np.ndarray, k: int) -> np.ndarray:
    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(np.ascontiguousarray(rows))
    return index.search(np.ascontiguousarray(rows[asked]), k + 1)[1][:, 1:]


def measured(name: str, n: int) -> str:
    words = [sys.executable, __file__, "--candidate", name, "--samples", str(n)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    wall, cpu, kept, same, peak = json.loads(done.stdout.splitlines()[-1])
    line = f"| {name} | {n:,} | {wall:.0f} | {cpu:.0f} | {kept:.0%} | {same:.1%} | {peak:,.0f} |"
    print(line, file=sys.stderr, flush=True)
    return line


def project_of(folder: Path, n: int) -> Project:
    """A project with one iteration behind it, laid out from the crowds."""
    selection.WIDTH = 8
    selection.generated(folder, n)
    project = Project(folder)
    rows, _ = crowds(n)
    keys = sorted(VectorStore(folder).vector_keys(selection.EMBEDDER))
    points = layout(rows, seed=0)
    about = {"at": selection.AT, "seed": 0, "method": "generated"}
    VectorStore(folder).write_points(selection.EMBEDDER, keys, points, about)
    return project


def seconds(call: Callable[[], object]) -> str:
    """Of the wall, and of the CPU at best."""
    took, used = [], []
    for _ in range(REPEATS):
        start, before = time.perf_counter(), time.process_time()
        call()
        took.append(time.perf_counter() - start)
        used.append(time.process_time() - before)
    return f"{spread(took)} s, CPU {min(used):.2f} s"


def drawn(
    folder: Path,
) -> tuple[list[float], dict[str, list[float]], dict[str, float], list[float]]:
    """Seconds until the map is drawn; by colouring ms a frame and the share of points that was
    drawn in the last one; seconds of a new colour."""
    from playwright.sync_api import sync_playwright

    code = "from annoloop.cli import main; main()"
    app = subprocess.Popen(
        [sys.executable, "-c", code, "app", "--port", "0"],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert app.stderr is not None
    url = app.stderr.readline().split("http://")[1].split()[0]
    first, again, frames, share = [], [], {}, {}
    try:
        with sync_playwright() as playwright:
            quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            for _ in range(REPEATS):
                start = time.perf_counter()
                page.goto(f"http://{url}/map")
                page.wait_for_selector("#map[data-drawn]", timeout=60_000)
                first.append(time.perf_counter() - start)
            for facet in ("split", "class"):
                count = page.get_attribute("#map", "data-drawn")
                start = time.perf_counter()
                page.select_option("#facet", facet)
                other = f"#map[data-colour={facet}]:not([data-drawn='{count}'])"
                page.wait_for_selector(other, timeout=60_000)
                again.append(time.perf_counter() - start)
                frames[facet] = page.evaluate(FRAMES)
                share[facet] = float(page.get_attribute("#map", "data-share"))
            browser.close()
    finally:
        app.kill()
    return first, frames, share, again


def spread(values: list[float], form: str = ".2f") -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} – {max(values):{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--candidate", choices=CANDIDATES)
    given = parser.parse_args()
    n = given.samples
    if given.candidate:
        candidate(given.candidate, n)
        return
    there = [c for c in CANDIDATES if "UMAP" not in c or importlib.util.find_spec("umap")]
    table = [measured(name, size) for size in (n // 10, n) for name in there]
    with tempfile.TemporaryDirectory() as place:
        project = project_of(Path(place) / "project", n)
        atlas = Atlas(project)
        found = atlas.samples()
        size = len(packed(found))
        read, pack = seconds(atlas.samples), seconds(lambda: packed(found))
        state = seconds(atlas.state)
        first, frames, share, again = drawn(project.folder)
    lines = [
        f"# The map of {n:,} images",
        "",
        f"{CROWDS} crowds of {WIDTH} values. Kept: how many of an image's {NEAR} nearest (by "
        f"angle) are among the {3 * NEAR} nearest on the map, {ASKED:,} images asked; crowd: how "
        f"many of its {NEAR} nearest on the map are of its crowd. Compiling (once a machine, under "
        f"a minute) is not in it. Measured on {date.today().isoformat()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[1]:.0f}, by the command at the head of `map.py`; where the load is "
        "above the cores, CPU seconds are nearer to what an idle machine takes.",
        "",
        "| coordinates | images | seconds | CPU seconds | kept | crowd | peak MiB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *table,
        "",
        f"`/api/map` is {size / 2**20:.1f} MiB, of it {20 * len(found.ids) / 2**20:.1f} numbers. "
        f"Chromium at 1280 × 800 without a GPU (SwiftShader on the same cores as the server); each "
        f"{REPEATS} times, median (least – greatest). At rest all points are drawn; "
        "while the map moves, the share that frames of 45 ms allow.",
        "",
        "| what | |",
        "| --- | --- |",
        f"| reading the columns | {read} |",
        f"| packing them | {pack} |",
        f"| what the page says before it draws (`state`) | {state} |",
        f"| from the address to the first frame | {spread(first)} s |",
        f"| another colour, to the frame that shows it | {spread(again)} s |",
    ]
    lines += [
        f"| a frame while zooming, by {facet}; {share[facet]:.0%} of the points in the last one "
        f"| {spread(took, '.0f')} ms |"
        for facet, took in frames.items()
    ]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
