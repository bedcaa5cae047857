"""The vectors that a FiftyOne dataset has in `embeddings`, as the embedder of its project."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from annoloop.adapters.fiftyone.dataset import VECTORS
from annoloop.errors import VectorError

NAME = f"fiftyone:{VECTORS}"


class StoredVectors:
    """Vectors come with `init --fiftyone` and `ingest`; this embedder computes none."""

    name = NAME

    def embed(self, files: Sequence[str]) -> NDArray[np.float32]:
        """Raises VectorError naming what to run: only the dataset's own model can make more."""
        raise VectorError(
            f"{len(files)} images have no `{VECTORS}` in the dataset, first {files[0]}",
            fix=f"Compute them in FiftyOne with the model that made the others "
            f'(`dataset.compute_embeddings(model, embeddings_field="{VECTORS}")`), then run '
            "`annoloop ingest`; or choose another [embed] embedder in annoloop.toml.",
        )
