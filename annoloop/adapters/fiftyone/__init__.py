"""FiftyOne: a dataset as columns (`dataset`), and who works on it (`lock`)."""

from annoloop.adapters.fiftyone.dataset import (
    HISTORY,
    LABELS,
    LOCKED,
    REASON,
    SCHEMA,
    SCORES,
    VECTORS,
    Columns,
    FiftyoneDataset,
    database,
    open_dataset,
    sdk,
)
from annoloop.adapters.fiftyone.lock import Lock

__all__ = [
    "HISTORY",
    "LABELS",
    "LOCKED",
    "REASON",
    "SCHEMA",
    "SCORES",
    "VECTORS",
    "Columns",
    "FiftyoneDataset",
    "Lock",
    "database",
    "open_dataset",
    "sdk",
]
