"""Listing, facts, fingerprints and thumbnails of image files."""

from __future__ import annotations

import hashlib
import io
import os

import numpy as np
import pytest
from PIL import Image

from annoloop import images
from annoloop.errors import InputError


def scene(seed: int = 0, size: tuple[int, int] = (160, 120)) -> Image.Image:
    rng = np.random.default_rng(seed)
    rough = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize(size, Image.Resampling.BICUBIC)


def touch(folder, *names):
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")


def test_images_are_listed_nested_sorted_and_by_suffix(tmp_path):
    touch(tmp_path, "b.JPG", "a/b.jpeg", "a/c/d.Png", "a.b/e.webp", "z.tif", "z.tiff", "y.bmp")
    touch(tmp_path, "a/notes.txt", "film.gif", ".hidden.jpg", ".cache/f.jpg", "a/.t/g.jpg", "jpg")
    found = images.list_images(tmp_path)
    assert found == ["a.b/e.webp", "a/b.jpeg", "a/c/d.Png", "b.JPG", "y.bmp", "z.tif", "z.tiff"]
    assert found == sorted(found)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        images.list_images(tmp_path / "nowhere")


def test_links_may_not_leave_the_root(tmp_path):
    root = tmp_path / "root"
    touch(root, "real/a.jpg")
    touch(tmp_path, "outside/b.jpg")
    (root / "alias.jpg").symlink_to(root / "real" / "a.jpg")
    (root / "again").symlink_to(root / "real")
    assert images.list_images(root) == ["alias.jpg", "real/a.jpg"]
    (root / "real" / "b.jpg").symlink_to(tmp_path / "outside" / "b.jpg")
    with pytest.raises(InputError, match=r"real/b\.jpg: the link leaves"):
        images.list_images(root)
    (root / "real" / "b.jpg").unlink()
    (root / "more").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="more: the link leaves"):
        images.list_images(root)


def test_the_root_itself_may_be_a_link(tmp_path):
    touch(tmp_path, "real/a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert images.list_images(tmp_path / "link") == ["a.jpg"]


def test_a_name_that_is_not_unicode_is_refused(tmp_path):
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system stores Unicode names only")
    with pytest.raises(InputError, match="not a Unicode name"):
        images.list_images(tmp_path)


def test_probe_gives_size_hash_and_length(tmp_path):
    file = tmp_path / "a.jpg"
    scene().save(file)
    data = file.read_bytes()
    sha = hashlib.sha256(data).hexdigest()
    assert images.probe(str(file)) == images.ImageFacts(160, 120, sha, len(data))


def bits_apart(one: images.Fingerprint, other: images.Fingerprint) -> int:
    return (one.hash ^ other.hash).bit_count()


def test_fingerprints_survive_encoding_and_scale_and_tell_scenes_apart(tmp_path):
    scene().save(tmp_path / "a.png")
    scene().save(tmp_path / "b.jpg", quality=60)
    scene().resize((640, 480)).save(tmp_path / "c.jpg")
    scene(1).save(tmp_path / "d.jpg")
    names = ("a.png", "b.jpg", "c.jpg", "d.jpg")
    a, b, c, d = (images.fingerprint(str(tmp_path / name)) for name in names)
    assert images.fingerprint(str(tmp_path / "a.png")) == a
    assert 0 <= a.hash < 1 << 64
    assert len(a.grey) == 32 * 32
    assert max(bits_apart(a, b), bits_apart(a, c)) <= 6
    assert bits_apart(a, d) >= 16
    grey = [np.frombuffer(one.grey, np.uint8).astype(int) for one in (a, b, c, d)]
    assert np.abs(grey[0] - grey[1]).mean() < 3
    assert np.abs(grey[0] - grey[2]).mean() < 3
    assert np.abs(grey[0] - grey[3]).mean() > 10


def test_a_blank_image_has_a_fingerprint(tmp_path):
    Image.new("RGB", (64, 64), (9, 9, 9)).save(tmp_path / "blank.png")
    assert images.fingerprint(str(tmp_path / "blank.png")).grey == bytes([9]) * 1024


@pytest.mark.parametrize("side", [40, 160, 400])
def test_a_thumbnail_has_the_asked_side(tmp_path, side):
    file = tmp_path / "a.jpg"
    scene().save(file)
    small = Image.open(io.BytesIO(images.thumbnail_jpeg(str(file), side=side)))
    assert small.format == "JPEG"
    assert small.size == (side, side * 3 // 4)


def test_boxes_are_drawn_scaled_and_coloured(tmp_path):
    file = tmp_path / "grey.png"
    Image.new("RGB", (400, 200), (128, 128, 128)).save(file)
    data = images.thumbnail_jpeg(
        str(file), side=200, boxes=[((100, 40, 200, 120), "#ff0000"), ((0, 0, 20, 20), "#00f")]
    )
    pixels = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    assert pixels.shape == (100, 200, 3)
    red = pixels[:, :, 0] - pixels[:, :, 1]
    assert red[20, 60:140].min() > 60  # the upper edge, at half of y = 40
    assert red[30:70, 50].min() > 60  # the left edge, at half of x = 100
    assert abs(red[50, 100]) < 20  # inside nothing is painted
    assert pixels[0, 2:8, 2].min() > 150


def test_a_dashed_box_has_gaps_on_every_side_and_its_corner(tmp_path):
    file = tmp_path / "grey.png"
    Image.new("RGB", (200, 200), (128, 128, 128)).save(file)
    box, other = (20, 20, 100, 100), (150, 150, 40, 40)
    data = images.thumbnail_jpeg(
        str(file), side=200, boxes=[(box, "#ff0000"), (other, "#0000ff")], dashed=("#ff0000",)
    )
    pixels = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    red = pixels[:, :, 0] - pixels[:, :, 1]
    for side in (red[20, 20:120], red[119, 20:120], red[20:120, 20], red[20:120, 119]):
        share = (side > 100).mean()
        assert 0.6 < share < 0.95  # five pixels of six
        assert side[0] > 60
    blue = pixels[:, :, 2] - pixels[:, :, 1]
    assert blue[150, 150:190].min() > 60


def test_a_colour_that_is_not_hex_is_refused(tmp_path):
    file = tmp_path / "a.png"
    scene().save(file)
    for colour in ("tomato", "#12345", "123456", "#ggg"):
        with pytest.raises(ValueError, match=f"{colour}' is not a CSS hex colour"):
            images.thumbnail_jpeg(str(file), side=40, boxes=[((0, 0, 9, 9), colour)])


def test_placing_links_or_copies_and_may_be_repeated(tmp_path, monkeypatch):
    file, target = tmp_path / "a.jpg", tmp_path / "out" / "deep" / "a.jpg"
    scene().save(file)
    (tmp_path / "link.jpg").symlink_to(file)
    images.place(str(tmp_path / "link.jpg"), target)
    assert target.samefile(file)
    assert not target.is_symlink()
    images.place(str(file), target)
    monkeypatch.setattr("pathlib.Path.hardlink_to", _no_links)
    target.unlink()
    target.write_bytes(b"from an earlier export")
    images.place(str(file), target)
    assert target.read_bytes() == file.read_bytes()
    assert not target.samefile(file)
    images.place(file.as_uri(), tmp_path / "fetched.jpg")
    assert (tmp_path / "fetched.jpg").read_bytes() == file.read_bytes()
    with pytest.raises(InputError, match=r"gone\.jpg"):
        images.place(str(tmp_path / "gone.jpg"), target)


def _no_links(self, target):
    raise OSError("another device")
