"""Pixels are upright RGB whatever the file says, and a bad file is refused by name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from annoloop import decoding, images
from annoloop.errors import DependencyError, InputError

FORMATS = ("jpg", "png", "bmp", "webp", "tif")


def blocks(width: int = 48, height: int = 32) -> Image.Image:
    """Large blocks of colour: they survive JPEG, and no turn of them looks like another."""
    rng = np.random.default_rng(7)
    small = rng.integers(0, 255, (height // 16, width // 16, 3), dtype=np.uint8)
    return Image.fromarray(np.kron(small, np.ones((16, 16, 1), np.uint8)))


def turned(folder: Path, suffix: str, orientation: int) -> Path:
    file = folder / f"turned_{orientation}.{suffix}"
    if suffix == "tif":
        blocks().save(file, tiffinfo={0x0112: orientation})
    else:
        exif = Image.Exif()
        exif[0x0112] = orientation
        blocks().save(file, exif=exif, quality=95)
    return file


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_and_sizes_follow_exif_orientation(tmp_path, suffix, orientation):
    file = turned(tmp_path, suffix, orientation)
    pixels = images.read_rgb(str(file))
    upright = np.asarray(ImageOps.exif_transpose(blocks_turned(orientation)))
    assert pixels.shape == upright.shape
    assert pixels.flags.c_contiguous
    assert np.abs(pixels.astype(int) - upright).mean() < 6
    facts = images.probe(str(file))
    assert (facts.width, facts.height) == (pixels.shape[1], pixels.shape[0])
    assert images.size(str(file)) == (facts.width, facts.height)
    assert (facts.width, facts.height) == ((32, 48) if orientation >= 5 else (48, 32))


def blocks_turned(orientation: int) -> Image.Image:
    image = blocks()
    image.getexif()[0x0112] = orientation
    return image


def test_a_png_whose_exif_comes_after_the_pixels_is_turned(tmp_path):
    file = turned(tmp_path, "png", 6)
    data = file.read_bytes()
    start = data.index(b"eXIf") - 4
    end = start + 12 + struct.unpack(">I", data[start : start + 4])[0]
    last = data.index(b"IEND") - 4
    file.write_bytes(data[:start] + data[end:last] + data[start:end] + data[last:])
    assert images.size(str(file)) == (32, 48)
    assert images.read_rgb(str(file)).shape == (48, 32, 3)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kept", [0.01, 0.1, 0.5, 0.97])
def test_a_truncated_file_is_refused(tmp_path, suffix, kept):
    file = tmp_path / f"cut.{suffix}"
    blocks(320, 240).save(file)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * kept)])
    for read in (images.probe, images.read_rgb, images.fingerprint):
        with pytest.raises(InputError, match=rf"cut\.{suffix}: ") as caught:
            read(str(file))
        assert caught.value.fix


def test_a_jpeg_with_a_zeroed_end_is_refused_though_decoders_take_it(tmp_path):
    file = tmp_path / "half.jpg"
    blocks(320, 240).save(file)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    with pytest.raises(InputError, match="truncated"):
        images.probe(str(file))


def test_a_whole_jpeg_with_a_thumbnail_and_a_tail_is_read(tmp_path):
    file = tmp_path / "phone.jpg"
    blocks(320, 240).save(file, progressive=True)
    data = file.read_bytes()
    # An application segment whose payload has marks of its own, and a film after the picture.
    payload = b"\xff\xd8\xff\xda\xff\xd9\xff\xda"
    segment = b"\xff\xe5" + struct.pack(">H", len(payload) + 2) + payload
    file.write_bytes(data[:2] + segment + data[2:] + b"film\xff\xda\x00")
    assert images.read_rgb(str(file)).shape == (240, 320, 3)
    file.write_bytes(data[:2] + segment + data[2:-2])
    with pytest.raises(InputError, match="truncated"):
        images.read_rgb(str(file))


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("empty.jpg", b"", "empty"),
        ("text.jpg", b"no image at all", "not an image"),
        ("film.jpg", b"GIF89a" + bytes(20), "not an image"),
        ("head.jpg", b"\xff\xd8\xff\xe0", "not a whole image"),
        ("sound.webp", b"RIFF\x10\0\0\0WAVEfmt " + bytes(16), "not a whole image"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, name, data, what):
    file = tmp_path / name
    file.write_bytes(data)
    for read in (images.probe, images.read_rgb, images.size):
        with pytest.raises(InputError, match=what) as caught:
            read(str(file))
        assert name in caught.value.problem


@pytest.mark.parametrize(("width", "height"), [(20_001, 1), (1, 20_001), (15_000, 15_000)])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path, width, height):
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    file = tmp_path / "bomb.png"
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )
    with pytest.raises(InputError, match=f"{width} × {height} pixels is above the limit"):
        images.probe(str(file))


def test_an_image_between_pillows_limit_and_ours_is_not_refused_for_its_size(tmp_path):
    file = tmp_path / "large.png"
    Image.new("1", (14_000, 14_000)).save(file)  # 196 megapixels
    assert images.size(str(file)) == (14_000, 14_000)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    file = tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr") else "a.png")
    blocks().convert("RGB").convert(mode).save(file)
    assert images.read_rgb(str(file)).shape == (32, 48, 3)


def test_cmyk_jpeg_and_a_palette_with_transparency_become_rgb(tmp_path):
    blocks().convert("CMYK").save(tmp_path / "a.jpg")
    blocks().convert("P").save(tmp_path / "b.png", transparency=b"\x00\x80\xff")
    for name in ("a.jpg", "b.png"):
        assert images.read_rgb(str(tmp_path / name)).shape == (32, 48, 3)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled_to_eight(tmp_path, suffix):
    ramp = np.linspace(0, 65535, 32 * 48).astype(np.uint16).reshape(32, 48)
    file = tmp_path / f"deep.{suffix}"
    Image.fromarray(ramp).save(file)
    pixels = images.read_rgb(str(file))
    assert np.array_equal(pixels[:, :, 1], ramp >> 8)


def test_thirty_two_bit_pixels_are_refused(tmp_path):
    file = tmp_path / "float.tif"
    Image.fromarray(np.zeros((4, 4), np.float32)).save(file)
    with pytest.raises(InputError, match="32 bits"):
        images.read_rgb(str(file))


def test_a_single_pixel_is_an_image(tmp_path):
    file = tmp_path / "dot.jpg"
    Image.new("RGB", (1, 1)).save(file)
    assert images.probe(str(file)).width == 1
    assert images.read_rgb(str(file)).shape == (1, 1, 3)
    images.fingerprint(str(file))


def test_missing_folder_and_unknown_storage_are_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.jpg: there is no such file"):
        images.probe(str(tmp_path / "gone.jpg"))
    with pytest.raises(InputError, match="is a folder"):
        images.probe(str(tmp_path))
    with pytest.raises(InputError, match=r"nowhere://a/b\.jpg"):
        images.probe("nowhere://a/b.jpg")


def test_urls_are_opened_by_fsspec(tmp_path):
    file = turned(tmp_path, "jpg", 6)
    import fsspec

    with fsspec.open("memory://decoding/a.jpg", "wb") as stream:
        stream.write(file.read_bytes())
    assert images.probe("memory://decoding/a.jpg") == images.probe(str(file))
    assert images.size(file.as_uri()) == (32, 48)
    with pytest.raises(InputError, match="no such file"):
        images.read_rgb("memory://decoding/b.jpg")


def test_a_missing_storage_driver_is_a_missing_dependency(monkeypatch):
    import fsspec

    def refuse(*args, **kwargs):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "open", refuse)
    with pytest.raises(DependencyError, match="s3fs"):
        decoding.read_bytes("s3://bucket/a.jpg")
