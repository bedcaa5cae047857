"""Image files as facts, pixels and fingerprints; a URI is a local path or any fsspec URL.

Sizes and pixels are as a person sees the image: EXIF orientation is applied. A broken EXIF block
means upright, as in every viewer. Everything that is wrong with a file is an InputError naming it.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from annoloop.decoding import (
    REPLACE,
    decode,
    open_header,
    open_stream,
    orientation,
    read_bytes,
)
from annoloop.errors import InputError
from annoloop.records import Box

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
THUMB_SIDE = 32
"""Width and height of a fingerprint's grey thumbnail."""

JPEG_QUALITY = 85
_HEX = re.compile(r"#([0-9a-f]{1,2})([0-9a-f]{1,2})([0-9a-f]{1,2})", re.IGNORECASE)
# Without one of these a PNG has no orientation; looking for one makes Pillow decode the pixels.
_PNG_METADATA = (b"eXIf", b"Raw profile type exif", b"xmp")


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Size in pixels after EXIF orientation; SHA-256 (hex) and length of the file's bytes."""

    width: int
    height: int
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A 64-bit perceptual hash, and the 32 × 32 grey pixels (row by row) that confirm it."""

    hash: int
    grey: bytes


def list_images(root: Path, *, follow_links: bool = False) -> list[str]:
    """Images under `root` as sorted relative POSIX paths; hidden files and folders are left out.

    A linked file inside `root` counts like any other, a linked folder inside it is not entered
    (its images are listed where they lie). What a link points to outside of `root` is taken in
    only with `follow_links`. Raises InputError for a missing folder, a link that leaves it, and a
    name that is not Unicode.
    """
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder", fix="Name the folder of the images.")
    try:
        found = sorted(_walk(root, "", _Links(root.resolve(), follow=follow_links)))
    except OSError as error:
        raise InputError(f"{root}: cannot be listed ({error})", fix="Make it readable.") from error
    for path in found:
        if not _is_unicode(path):
            raise InputError(f"{path!a} in {root} is not a Unicode name", fix="Rename the file.")
    return found


def probe(uri: str) -> ImageFacts:
    """Facts of one image; decodes just enough to know that the file is whole.

    Raises InputError for a file that is missing, empty, truncated, no image, or too large.
    """
    data = read_bytes(uri)
    _, (width, height) = decode(uri, data, at_least=1)
    return ImageFacts(width, height, hashlib.sha256(data).hexdigest(), len(data))


def size(uri: str) -> tuple[int, int]:
    """(width, height) after EXIF orientation, from the header where the format allows it.

    Raises InputError as `probe` does, but does not notice every truncated file.
    """
    with open_stream(uri) as stream:
        header = open_header(uri, stream)
        width, height = header.size
        if header.format == "TIFF":  # Pillow has turned it already
            return width, height
        if header.format == "PNG":
            stream.seek(0)
            data = stream.read()
            if not any(mark in data for mark in _PNG_METADATA):
                return width, height
            header = open_header(uri, io.BytesIO(data))
        return (height, width) if orientation(header) >= 5 else (width, height)


def place(uri: str, target: Path) -> None:
    """Put the image at `target`: a hard link where the file system can, a copy elsewhere.

    Folders are made, an earlier file is replaced. Raises InputError if there is no such image.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if "://" in uri:
        target.write_bytes(read_bytes(uri))
        return
    real = Path(uri).resolve()  # a link to a symbolic link would break when that one moves
    if not real.is_file():
        raise InputError(f"{uri}: there is no such file", fix="Correct the path.")
    if target.exists() and target.samefile(real):
        return
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(real)
    except OSError:  # another device, or a file system without links
        shutil.copyfile(real, target)


def read_rgb(uri: str) -> NDArray[np.uint8]:
    """Pixels as (height, width, 3) uint8, EXIF orientation applied, transparency dropped.

    Sixteen-bit grey is scaled to eight. Raises InputError as `probe` does.
    """
    return decode(uri, read_bytes(uri), at_least=None)[0]


def thumbnail_jpeg(
    uri: str,
    *,
    side: int,
    boxes: Sequence[tuple[Box, str]] = (),
    dashed: Collection[str] = (),
) -> bytes:
    """A JPEG whose longest side is `side` pixels, with boxes in CSS hex colours such as `#e33`.

    Boxes are in pixels of the whole image; those in a colour of `dashed` get a dashed line, so that
    they differ in print too. Raises InputError as `probe` does, ValueError for a
    colour that is not hex.
    """
    import cv2

    pixels, (width, height) = decode(uri, read_bytes(uri), at_least=side)
    scale = side / max(width, height)
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(pixels, shape, interpolation=way)
    for (x, y, w, h), colour in boxes:
        first = round(x * scale), round(y * scale)
        last = round((x + w) * scale) - 1, round((y + h) * scale) - 1
        thick = max(1, side // 160)
        if colour in dashed:
            for a, b in _dashes(first, last, on=4 * thick, off=2 * thick):
                cv2.line(small, a, b, _rgb(colour), thickness=thick)
        else:
            cv2.rectangle(small, first, last, _rgb(colour), thickness=thick)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    # Full colour resolution, because halved it smears the thin lines of the boxes.
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, encoded = cv2.imencode(".jpg", bgr, [*quality, *sampling])
    if not done:
        raise InputError(f"{uri}: no thumbnail could be made of it", fix=REPLACE)
    return bytes(encoded)


def _dashes(
    first: tuple[int, int], last: tuple[int, int], *, on: int, off: int
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Both ends of each dash of a rectangle; every corner that begins a side is drawn."""
    (left, top), (right, bottom) = first, last
    for x in range(left, right + 1, on + off):
        end = min(x + on, right)
        yield from (((x, y), (end, y)) for y in (top, bottom))
    for y in range(top, bottom + 1, on + off):
        end = min(y + on, bottom)
        yield from (((x, y), (x, end)) for x in (left, right))


def fingerprint(uri: str) -> Fingerprint:
    """Perceptual hash of the 8 × 8 lowest DCT frequencies (each above the median of those but the
    first, which is the mean brightness), and the grey thumbnail. Raises InputError as `probe` does.

    Source: C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010.
    """
    import cv2
    import numpy as np

    pixels, _ = decode(uri, read_bytes(uri), at_least=4 * THUMB_SIDE)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    thumb = cv2.resize(grey, (THUMB_SIDE, THUMB_SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(thumb.astype(np.float32))[:8, :8].ravel()
    bits = np.packbits(low > np.median(low[1:]))
    return Fingerprint(int.from_bytes(bits.tobytes(), "big"), thumb.tobytes())


def _walk(folder: Path, inside: str, links: _Links) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            is_image = PurePosixPath(entry.name).suffix.lower() in SUFFIXES
            if entry.is_dir():
                if links.may_enter(entry):
                    yield from _walk(Path(entry.path), f"{inside}{entry.name}/", links)
            elif is_image:
                links.refuse_leaving(entry)
                yield inside + entry.name


class _Links:
    """Which links below a root are followed."""

    def __init__(self, root: Path, *, follow: bool) -> None:
        self._root, self._follow = root, follow
        self._entered: set[Path] = set()

    def may_enter(self, entry: os.DirEntry[str]) -> bool:
        """Folders, and on demand linked ones that lie outside: each once, or a loop never ends."""
        if not entry.is_symlink():
            return True
        self.refuse_leaving(entry)
        real = Path(entry.path).resolve()
        inside = real.is_relative_to(self._root) or self._root.is_relative_to(real)
        if inside or real in self._entered:
            return False
        self._entered.add(real)
        return True

    def refuse_leaving(self, entry: os.DirEntry[str]) -> None:
        if self._follow or not entry.is_symlink():
            return
        if not Path(entry.path).resolve().is_relative_to(self._root):
            raise InputError(
                f"{entry.path}: the link leaves the image folder {self._root}",
                fix="Set follow_links = true in [images] of annoloop.toml if that is meant, copy "
                "what it points to into the folder, or name a folder that holds both.",
            )


def _is_unicode(path: str) -> bool:
    # Python smuggles undecodable file-name bytes in as lone surrogates.
    return not any("\ud800" <= character <= "\udfff" for character in path)


def _rgb(colour: str) -> tuple[int, int, int]:
    match = _HEX.fullmatch(colour)
    if match is None or len(colour) not in (4, 7):
        raise ValueError(f"{colour!r} is not a CSS hex colour")
    red, green, blue = (int(digits * (2 // len(digits)), 16) for digits in match.groups())
    return red, green, blue
