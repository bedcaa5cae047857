"""How far each coverage strategy keeps away from clusters that hold labels already.

    python benchmarks/conditional.py

Writes benchmarks/conditional.md: 2,000 vectors in 20 clusters, a share of the images of ten of them
labelled; where do 100 picks go? Without regard to labels it would be about half to the other ten.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from annoloop.core.coverage import make_draws, zcore
from annoloop.core.facility import facility_location
from annoloop.core.kcenter import farthest_first
from annoloop.core.typiclust import most_typical

PAGE = Path(__file__).resolve().with_suffix(".md")
N, WIDTH, PICKS, DRAWS, SEEDS = 2_000, 512, 100, 1_000_000, 3
SHARES = (0.05, 0.2, 0.5)


def picked(name: str, x: np.ndarray, known: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows of the unlabelled ones that a strategy picks."""
    free = np.flatnonzero(~known)
    if name.startswith("coverage"):
        draws = make_draws(x, DRAWS, rng=rng)
        raw = zcore(x, draws, occupied=known, conditional="without" not in name)
        return free[np.argsort(-raw[free], kind="stable")[:PICKS]]
    labelled, some = x[known], x[free]
    if name == "kcenter":
        return free[farthest_first(some, want=PICKS, centres=labelled).positions]
    search = facility_location if name == "facility" else most_typical
    return free[search(some, want=PICKS, rng=rng, centres=labelled).positions]


def main() -> None:
    names = ("coverage without regard to labels", "coverage", "facility", "kcenter", "typiclust")
    lines = [
        "# Away from what is labelled",
        "",
        f"{N:,} × {WIDTH} vectors in 20 clusters (spread 0.3); in ten of them a share of the "
        f"images is labelled. Share of {PICKS} picks that go to the other ten, mean of {SEEDS} "
        f"seeds (least – greatest). {DRAWS:,} draws for `coverage`. Written by `conditional.py`.",
        "",
        "| strategy | " + " | ".join(f"{share:.0%} labelled" for share in SHARES) + " |",
        "|---" * (1 + len(SHARES)) + "|",
    ]
    for name in names:
        cells = []
        for share in SHARES:
            found = []
            for seed in range(SEEDS):
                rng = np.random.default_rng(seed)
                cluster = rng.integers(0, 20, N)
                x = rng.normal(size=(20, WIDTH))[cluster] + 0.3 * rng.normal(size=(N, WIDTH))
                known = (cluster < 10) & (rng.random(N) < share)
                rows = picked(name, x.astype(np.float32), known, rng)
                found.append(float((cluster[rows] >= 10).mean()))
            cells.append(f"{np.mean(found):.0%} ({min(found):.0%} – {max(found):.0%})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
