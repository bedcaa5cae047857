import cv2
import numpy as np
import pytest
from PIL import Image

from annoloop.adapters.pixels import WIDTH, PixelsEmbedder
from annoloop.errors import InputError, SettingsError


def picture(seed=0, width=90, height=60, tint=(1.0, 0.8, 0.6)):
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 5)
    light = 128 + 60 * noise / noise.std()
    return (light[..., None] * np.array(tint)).clip(0, 255).astype(np.uint8)


def save(folder, name, pixels, **how):
    file = folder / name
    Image.fromarray(pixels).save(file, **how)
    return str(file)


def cosine(a, b):
    return float(a @ b)


def test_rows_are_finite_of_unit_length_and_in_order(tmp_path):
    files = [save(tmp_path, f"{i}.png", picture(i)) for i in range(5)]
    rows = PixelsEmbedder().embed(files)
    assert rows.shape == (5, WIDTH)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(rows[::-1], PixelsEmbedder().embed(files[::-1]))


def test_no_file_gives_no_row():
    assert PixelsEmbedder().embed([]).shape == (0, WIDTH)


def test_a_vector_depends_on_its_image_alone(tmp_path):
    files = [save(tmp_path, f"{i}.png", picture(i)) for i in range(6)]
    together = PixelsEmbedder(threads=3).embed(files)
    alone = np.concatenate([PixelsEmbedder(threads=1).embed([file]) for file in files])
    np.testing.assert_array_equal(together, alone)


def test_a_region_is_described_like_an_image_of_its_own(tmp_path):
    whole = picture(3)
    file = save(tmp_path, "whole.png", whole)
    part = save(tmp_path, "part.png", whole[10:40, 20:70])
    rows = PixelsEmbedder().embed_crops([file, part], [[(20.0, 10.0, 50.0, 30.0)], []])
    np.testing.assert_array_equal(rows, PixelsEmbedder().embed([part]))


def test_more_images_than_one_chunk(tmp_path):
    files = [save(tmp_path, f"{i}.png", picture(i, 16, 12)) for i in range(3)]
    many = PixelsEmbedder().embed(files * 50)
    np.testing.assert_array_equal(many[:3], many[147:])


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 1, 3), dtype=np.uint8),
        np.full((1, 300, 3), 255, dtype=np.uint8),
        np.full((40, 40), 90, dtype=np.uint8),
        np.arange(100, dtype=np.uint8).reshape(10, 10),
        np.zeros((40, 40, 4), dtype=np.uint8),
        np.tile(np.arange(200, dtype=np.uint8)[:, None], (15, 4000)),
    ],
    ids=["one pixel", "a line", "flat grey", "grey", "transparent", "huge"],
)
def test_any_image_has_a_vector(tmp_path, pixels):
    file = save(tmp_path, "any.png", pixels, compress_level=1)
    rows = PixelsEmbedder().embed([file])
    assert np.isfinite(rows).all()
    assert float(np.linalg.norm(rows)) == pytest.approx(1, abs=1e-5)


def test_the_same_picture_smaller_and_recompressed_stays_close(tmp_path):
    pixels = picture(1, 320, 240)
    small = cv2.resize(pixels, (160, 120), interpolation=cv2.INTER_AREA)
    files = [
        save(tmp_path, "a.png", pixels),
        save(tmp_path, "b.jpg", small, quality=80),
        save(tmp_path, "c.png", picture(2, 320, 240, (0.7, 0.8, 1.0))),
    ]
    first, copy, other = PixelsEmbedder().embed(files)
    assert cosine(first, copy) > 0.99
    assert cosine(first, copy) > cosine(first, other) + 0.1


def test_colour_texture_and_layout_all_count(tmp_path):
    base = picture(1)
    files = [
        save(tmp_path, "base.png", base),
        save(tmp_path, "colour.png", np.ascontiguousarray(base[..., ::-1])),
        save(tmp_path, "layout.png", np.ascontiguousarray(base[::-1])),
        save(tmp_path, "blurred.png", cv2.GaussianBlur(base, (0, 0), 12)),
    ]
    rows = PixelsEmbedder().embed(files)
    assert (rows[1:] @ rows[0] < 0.99).all()


def test_a_missing_and_a_broken_file_are_named(tmp_path):
    good = save(tmp_path, "good.png", picture())
    with pytest.raises(InputError, match=r"gone\.png"):
        PixelsEmbedder().embed([good, str(tmp_path / "gone.png")])
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        PixelsEmbedder().embed([str(tmp_path / "broken.jpg")])


def test_threads_out_of_range_are_refused():
    with pytest.raises(SettingsError, match="threads = 0"):
        PixelsEmbedder(threads=0)


def test_the_name_says_what_made_the_vectors():
    assert PixelsEmbedder().name == "pixels-v1"
