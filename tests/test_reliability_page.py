"""Each promise of docs/reliability.md names the test that holds it, and that test is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_promise_names_a_test_that_is_there() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    promised = page.split("## Promised")[1].split("## Bad input")[0]
    rows = [line for line in promised.splitlines() if line.startswith("| **")]
    assert len(rows) >= 12
    for row in rows:
        held_by = re.findall(r"`((?:tests|benchmarks)/[^`]*)`", row.split("|")[-2])
        assert held_by, row
        for name in held_by:
            assert (ROOT / name).exists(), name
