"""What gets loaded when: static rules cannot see a deferred import, a fresh interpreter can."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "numpy",
    "scipy",
    "sklearn",
    "cv2",
    "numba",
    "faiss",
    "sqlalchemy",
    "pydantic",
    "lance",
    "pyarrow",
    "hotcoco",
    "PIL",
    "torch",
    "fiftyone",
)


def loaded(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sorted(m.split('.')[0] for m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import annoloop",
        "import annoloop.records, annoloop.errors, annoloop.ports, annoloop.results",
        "import annoloop.cli",
        "import annoloop.images",
        "sys.argv = ['annoloop', '--help']\n"
        "from annoloop.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass",
    ],
)
def test_light_things_stay_light(code: str) -> None:
    assert not loaded(code) & set(HEAVY)


def test_opening_a_project_loads_no_kernel() -> None:
    found = loaded("import annoloop.project")
    assert not found & {"numba", "faiss", "sklearn", "cv2", "hotcoco", "lance"}
