"""A real FiftyOne on a real MongoDB (`make test-fiftyone` starts one), and a dataset as the
tutorial's notebooks leave it."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, not ours
        import fiftyone as fo

        fo.list_datasets()
except Exception:  # not installed, or its database does not answer: theirs has many errors
    if os.environ.get("REQUIRE_FIFTYONE"):
        raise
    fo = None
    sys.modules["fiftyone"] = None  # type: ignore[assignment]  # asked once, half a minute each

CLASSES = ["cup", "fork", "plate"]
WIDTH = 16


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/fiftyone" in item.path.as_posix():
            item.add_marker(pytest.mark.filterwarnings("default"))  # theirs, not ours


def samples_of(n: int, *, seed: int = 0) -> list[Any]:
    """A tenth each of golden, val and test, the rest pool; a fifth of the pool is batch v0."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(8, WIDTH))
    made = []
    for i in range(n):
        split = ("golden", "val", "test")[i % 10] if i % 10 < 3 else "pool"
        vector = (middles[i % 8] + 0.3 * rng.normal(size=WIDTH)).astype(np.float32)
        one = fo.Sample(
            filepath=f"/images/{i:04}.jpg",
            tags=[f"split:{split}"],
            embeddings=vector,
            zcore=float(rng.random()),
        )
        if split == "golden":
            one["human_labels"] = fo.Detections(
                detections=[
                    fo.Detection(label=CLASSES[k % 3], bounding_box=[0.1, 0.1, 0.2, 0.2])
                    for k in range(i % 4)
                ]
            )
        if split == "val" and i % 3 == 0:
            one.tags.append("failure:high_fn")
        if split == "pool":
            done = i % 50 in (3, 4, 5, 6, 7, 8, 9)
            one["annotation_status"] = "annotated" if done else "unlabeled"
            one.tags += ["batch:v0", "annotated:v0"] if done else []
        made.append(one)
    return made


def finished(dataset: Any) -> Any:
    """The saved views and the schema of the tutorial."""
    for view, tag in (
        ("pool", "split:pool"),
        ("golden_qa", "split:golden"),
        ("val_set", "split:val"),
        ("test_set", "split:test"),
        ("eval_v0_failures", "failure:high_fn"),
    ):
        dataset.save_view(view, dataset.match_tags(tag))
    dataset.info["annotation_schema"] = {"classes": CLASSES, "field_name": "human_labels"}
    dataset.save()
    return dataset


@pytest.fixture
def tutorial() -> Iterator[Any]:
    """200 samples: 140 in the pool, 28 of them annotated, 112 open."""
    dataset = fo.Dataset()
    dataset.add_samples(samples_of(200), progress=False)
    yield finished(dataset)
    dataset.delete()
