"""Vendored browser scripts: npm packages at pinned versions, so that nobody needs Node.

`python tools/vendor.py` fetches them again (needs npm), `--check` compares what is there with the
pins and needs nothing. An upgrade is a new version here, a run, and the hashes that it prints.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENDOR = ROOT / "annoloop" / "app" / "static" / "vendor"
TESTS = ROOT / "tests" / "app" / "vendor"
MOST_BYTES = 550_000
"""What all scripts that are served may weigh together."""


@dataclass(frozen=True)
class Script:
    """One file of a package, its licence, and where both are kept; hashes are SHA-256."""

    package: str
    version: str
    file: str
    licence: str
    sha256: str
    folder: Path = VENDOR

    @property
    def kept(self) -> Path:
        return self.folder / Path(self.file).name

    @property
    def kept_licence(self) -> Path:
        return self.folder / f"{self.package.rpartition('/')[2]}.LICENSE.txt"


SCRIPTS = (
    Script(
        "konva",
        "10.9.1",
        "konva.min.js",
        "LICENSE",
        "acc5719ed72c2cab2858e200a61051e6930c635a29825c2ebe1852bad103d2cc",
    ),
    Script(
        "d3",
        "7.9.2",
        "dist/d3.min.js",
        "LICENSE",
        "912111098ea99503a6f4967361d2bbdc9dbf58cf9c678c8e27e5b02d1a07f0c1",
    ),
    Script(
        "@d3fc/d3fc-rebind",
        "6.0.1",
        "build/d3fc-rebind.min.js",
        "LICENSE",
        "6b25d61598d3a910f58fc3fcbb1773d487a928c0bc04f57e6ccbb6d759e9914a",
    ),
    Script(
        "@d3fc/d3fc-webgl",
        "3.2.1",
        "build/d3fc-webgl.min.js",
        "LICENSE",
        "d70257568801a50d0cfb23c33f897d5339f79482e0a8bbc074617439a7efd25d",
    ),
    Script(
        "axe-core",
        "4.14.1",
        "axe.min.js",
        "LICENSE",
        "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c",
        TESTS,
    ),
)


def fetch(script: Script) -> None:
    with tempfile.TemporaryDirectory() as folder:
        name = f"{script.package}@{script.version}"
        done = subprocess.run(
            ["npm", "pack", name, "--silent", "--pack-destination", folder],
            check=True,
            capture_output=True,
            text=True,
        )
        archive = Path(folder) / done.stdout.split()[-1]
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        inside = Path(folder) / "package"
        script.folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(inside / script.file, script.kept)
        shutil.copyfile(inside / script.licence, script.kept_licence)


def problems() -> list[str]:
    """What differs from the pins, in words; nothing if all is well."""
    found = []
    for script in SCRIPTS:
        if not script.kept.is_file() or not script.kept_licence.is_file():
            found.append(f"{script.kept} or its licence is missing")
            continue
        digest = hashlib.sha256(script.kept.read_bytes()).hexdigest()
        if digest != script.sha256:
            found.append(f"{script.package} {script.version}: {digest} is not the pinned hash")
    served = [one.kept for one in SCRIPTS if one.folder == VENDOR and one.kept.is_file()]
    weight = sum(file.stat().st_size for file in served)
    if weight > MOST_BYTES:
        found.append(f"the scripts weigh {weight:,} bytes, more than {MOST_BYTES:,}")
    strange = {f for f in VENDOR.iterdir() if f not in served} - {s.kept_licence for s in SCRIPTS}
    return found + [f"{file} is not in the list" for file in sorted(strange)]


if __name__ == "__main__":
    if "--check" not in sys.argv:
        for one in SCRIPTS:
            fetch(one)
    said = problems()
    print("\n".join(said) or "vendored scripts are as pinned")
    sys.exit(bool(said))
