"""The contract kit of embedders that describe regions; `testing_kits` says how kits are used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from annoloop.errors import InputError
from annoloop.images import size
from annoloop.ports import CropEmbedder
from annoloop.records import Box
from annoloop.testing_kits import EmbedderContract


class CropEmbedderContract(EmbedderContract):
    """A finite float32 row for each box, as wide as that of an image, of its region alone.

    WHOLE is the least cosine of a whole image and of the box around all of it.
    """

    WHOLE = 0.999

    @pytest.fixture
    def embedder(self) -> CropEmbedder:
        raise NotImplementedError("return the embedder to be tested")

    @pytest.fixture
    def boxes(self, files: list[str]) -> list[list[Box]]:
        """Two regions of the first file, none of the second, all of each other."""
        sizes = [size(file) for file in files]
        every: list[list[Box]] = [[(0, 0, width, height)] for width, height in sizes]
        width, height = sizes[0]
        first: list[Box] = [
            (0, 0, width // 2, height // 2),
            (width // 2, height // 2, width // 2, height // 2),
        ]
        return [first, [], *every[2:]]

    def test_a_finite_row_for_every_box(
        self, embedder: CropEmbedder, files: list[str], boxes: list[list[Box]]
    ) -> None:
        rows = embedder.embed_crops(files, boxes)
        assert rows.dtype == np.float32, "vectors are float32"
        wide = embedder.embed(files[:1]).shape[1]
        assert rows.shape == (sum(map(len, boxes)), wide), "one row a box, as wide as an image's"
        assert np.isfinite(rows).all(), "vectors are finite"

    def test_no_boxes_no_rows(self, embedder: CropEmbedder, files: list[str]) -> None:
        wide = embedder.embed(files[:1]).shape[1]
        assert embedder.embed_crops([], []).shape == (0, wide)
        assert embedder.embed_crops(files[:2], [[], []]).shape == (0, wide)

    def test_a_region_is_described_by_itself(
        self, embedder: CropEmbedder, files: list[str], boxes: list[list[Box]]
    ) -> None:
        rows = embedder.embed_crops(files, boxes)
        assert np.abs(rows[0] - rows[1]).max() > self.CLOSE, "two regions differ"
        alone = embedder.embed_crops(files[:1], [boxes[0][1:]])
        np.testing.assert_allclose(alone[0], rows[1], atol=self.CLOSE, rtol=0)
        order = embedder.embed_crops(files[::-1], boxes[::-1])
        np.testing.assert_allclose(order[-2:], rows[:2], atol=self.CLOSE, rtol=0)

    def test_the_region_of_all_is_the_image(
        self, embedder: CropEmbedder, files: list[str], boxes: list[list[Box]]
    ) -> None:
        whole, region = embedder.embed(files[2:3])[0], embedder.embed_crops(files, boxes)[2]
        lengths = float(np.linalg.norm(whole) * np.linalg.norm(region))
        assert float(whole @ region) >= self.WHOLE * lengths

    def test_a_bad_file_of_regions_is_named(self, embedder: CropEmbedder, tmp_path: Path) -> None:
        bad = tmp_path / "damaged_picture.png"
        bad.write_bytes(b"no image at all")
        with pytest.raises(InputError, match=r"damaged_picture\.png"):
            embedder.embed_crops([str(bad)], [[(0, 0, 4, 4)]])
