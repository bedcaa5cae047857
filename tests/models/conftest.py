"""Real networks, made on the spot and small: nothing is downloaded. `make test-models` needs all of
the SDKs; elsewhere the tests of a missing one are skipped by name."""

from __future__ import annotations

import importlib
import os

import pytest

if os.environ.get("REQUIRE_MODELS"):
    for sdk in (
        "onnx",
        "onnx2torch",
        "onnxruntime",
        "open_clip",
        "timm",
        "torch",
        "torchvision",
        "ultralytics",
    ):
        importlib.import_module(sdk)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/models" in item.path.as_posix():
            item.add_marker(pytest.mark.filterwarnings("default"))  # theirs, not ours
