"""`doctor`: what is installed, what is missing, and whether this project is healthy."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from annoloop.errors import AnnoloopError
from annoloop.records import Sample
from annoloop.results import Check, DoctorResult
from annoloop.steps.context import Context
from annoloop.steps.manifest import check_manifest
from annoloop.steps.signal import signal_notes
from annoloop.store import samples

REQUIRED = (
    "numpy",
    "numba",
    "scipy",
    "scikit-learn",
    "opencv-python-headless",
    "faiss-cpu",
    "pacmap",
    "hotcoco",
    "pylance",
    "pyarrow",
    "sqlalchemy",
    "pydantic",
)
OPTIONAL = {
    "fiftyone": "fiftyone",
    "onnxruntime": "onnx",
    "ultralytics": "ultralytics",
    "torchvision": "torchvision",
    "timm": "timm",
    "open_clip": "open_clip",
    "label_studio_sdk": "label-studio",
    "cvat_sdk": "cvat",
    "ray": "ray",
    "psycopg": "postgres",
    "mlflow": "mlflow",
}


def doctor(adapters: Mapping[str, tuple[str, ...]], context: Context | None) -> DoctorResult:
    """Checks in order; a failed one says what to do. `context` is the project here, if any."""
    checks = [_python(), *(_package(name) for name in REQUIRED)]
    checks += [_optional(module, extra) for module, extra in OPTIONAL.items()]
    if context is not None:
        checks += _project(context)
    return DoctorResult(version("annoloop"), tuple(checks), adapters)


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= (3, 11)
    return Check("python", ok, found, None if ok else "Use Python 3.11 or newer.")


def _package(name: str) -> Check:
    try:
        return Check(name, True, version(name))
    except PackageNotFoundError:
        return Check(name, False, "missing", f"pip install {name}")


def _optional(module: str, extra: str) -> Check:
    there = importlib.util.find_spec(module) is not None
    found = "installed" if there else f"not installed (optional: pip install 'annoloop[{extra}]')"
    return Check(f"extra {extra}", True, found)


def _project(context: Context) -> list[Check]:
    checks = [_writable(context.folder), _images(context)]
    try:
        with context.store.read() as connection:
            state = connection.exec_driver_sql("PRAGMA quick_check").scalar()
            locked = samples.locked_groups(connection) is not None
    except AnnoloopError as error:
        return [*checks, Check("database", False, error.problem, error.fix)]
    checks.append(
        Check("database", state == "ok", str(state), None if state == "ok" else "Restore it.")
    )
    if locked:
        try:
            checks.append(Check("split manifest", True, check_manifest(context)[:12]))
        except AnnoloopError as error:
            checks.append(Check("split manifest", False, error.problem, error.fix))
        checks += _vectors(context)
    return checks


def _vectors(context: Context) -> list[Check]:
    """What the vectors carry; weak ones are told, not failed: the loop runs with them."""
    try:
        notes = signal_notes(context, context.embedder().name)
    except AnnoloopError as error:
        return [Check("vectors", False, error.problem, error.fix)]
    return [Check("vectors", True, note) for note in notes]


def _writable(folder: Path) -> Check:
    ok = os.access(folder, os.W_OK)
    fix = None if ok else "Give yourself write permission, or work on a copy."
    return Check("project folder", ok, str(folder), fix)


def _images(context: Context) -> Check:
    with context.store.read() as connection:
        everyone = samples.load(connection)
    gone = [s.path for s in everyone if "://" not in s.uri and not Path(s.uri).is_file()]
    if not gone:
        changed = [s.path for s in everyone if "://" not in s.uri and _changed(s)]
        if changed:
            fix = "Bring the old files back: labels and vectors belong to them."
            return Check("images", False, f"{len(changed)} were replaced, first {changed[0]}", fix)
        return Check("images", True, f"{len(everyone)} files, all there")
    fix = "Bring them back, or correct [images] root in annoloop.toml."
    return Check("images", False, f"{len(gone)} files are missing, first {gone[0]}", fix)


def _changed(sample: Sample) -> bool:
    """By the length alone: to read every file would make `doctor` as slow as `ingest`."""
    return Path(sample.uri).stat().st_size != sample.bytes
