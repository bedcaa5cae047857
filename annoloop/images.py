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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annoloop.errors import DependencyError, InputError
from annoloop.records import Box

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
MAX_SIDE = 20_000
MAX_PIXELS = 200_000_000
THUMB_SIDE = 32
"""Width and height of a fingerprint's grey thumbnail."""

JPEG_QUALITY = 85
REPLACE = "Replace the file with a whole copy, or remove it."
# Inside a scan a marker is 0xFF followed by neither a stuffed zero, a restart mark nor a fill byte.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# Without one of these a PNG has no orientation; looking for one makes Pillow decode the pixels.
_PNG_METADATA = (b"eXIf", b"Raw profile type exif", b"xmp")
_SOI, _EOI, _TEM = 0xD8, 0xD9, 0x01


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


def list_images(root: Path) -> list[str]:
    """Images under `root` as sorted relative POSIX paths; hidden files and folders are left out.

    A linked file inside `root` counts like any other, a linked folder inside it is not entered
    (its images are listed where they lie). Raises InputError for a missing folder, a link that
    leaves it, and a name that is not Unicode.
    """
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder", fix="Name the folder of the images.")
    real = root.resolve()
    found = [Path(entry.path).relative_to(root).as_posix() for entry in _walk(root, real)]
    for path in found:
        if not _is_unicode(path):
            raise InputError(f"{path!a} in {root} is not a Unicode name", fix="Rename the file.")
    return sorted(found)


def probe(uri: str) -> ImageFacts:
    """Facts of one image; decodes just enough to know that the file is whole.

    Raises InputError for a file that is missing, empty, truncated, no image, or too large.
    """
    data = _read_bytes(uri)
    pixels, (width, height) = _decode(uri, data, at_least=1)
    del pixels
    return ImageFacts(width, height, hashlib.sha256(data).hexdigest(), len(data))


def size(uri: str) -> tuple[int, int]:
    """(width, height) after EXIF orientation, from the header where the format allows it.

    Raises InputError as `probe` does, but does not notice every truncated file.
    """
    data = _read_bytes(uri)
    header = _open(uri, data)
    width, height = header.size
    if header.format == "TIFF":  # Pillow has turned it already
        return width, height
    if header.format == "PNG" and not any(mark in data for mark in _PNG_METADATA):
        return width, height
    return (height, width) if _orientation(header) >= 5 else (width, height)


def place(uri: str, target: Path) -> None:
    """Put the image at `target`: a hard link where the file system can, a copy elsewhere.

    Folders are made, an earlier file is replaced. Raises InputError if there is no such image.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if "://" in uri:
        target.write_bytes(_read_bytes(uri))
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
    return _decode(uri, _read_bytes(uri), at_least=None)[0]


def thumbnail_jpeg(uri: str, *, side: int, boxes: Sequence[tuple[Box, str]] = ()) -> bytes:
    """A JPEG whose longest side is `side` pixels, with boxes in CSS hex colours such as `#e33`.

    Boxes are in pixels of the whole image. Raises InputError as `probe` does, ValueError for a
    colour that is not hex.
    """
    import cv2

    pixels, (width, height) = _decode(uri, _read_bytes(uri), at_least=side)
    scale = side / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(
        pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    for (x, y, w, h), colour in boxes:
        first = round(x * scale), round(y * scale)
        last = round((x + w) * scale) - 1, round((y + h) * scale) - 1
        cv2.rectangle(small, first, last, _rgb(colour), thickness=max(1, side // 160))
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise InputError(f"{uri}: no thumbnail could be made of it", fix=REPLACE)
    return bytes(encoded)


def fingerprint(uri: str) -> Fingerprint:
    """Perceptual hash of the 8 × 8 lowest DCT frequencies (each above the median of those but the
    first, which is the mean brightness), and the grey thumbnail. Raises InputError as `probe` does.

    Source: C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010.
    """
    import cv2
    import numpy as np

    pixels, _ = _decode(uri, _read_bytes(uri), at_least=4 * THUMB_SIDE)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    thumb = cv2.resize(grey, (THUMB_SIDE, THUMB_SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(thumb.astype(np.float32))[:8, :8].ravel()
    bits = np.packbits(low > np.median(low[1:]))
    return Fingerprint(int.from_bytes(bits.tobytes(), "big"), thumb.tobytes())


def _walk(folder: Path, real: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            linked = entry.is_symlink()
            if entry.is_dir():
                if not linked:
                    yield from _walk(Path(entry.path), real)
                else:
                    _refuse_leaving(entry, real)
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:  # noqa: PTH122
                if linked:
                    _refuse_leaving(entry, real)
                yield entry


def _refuse_leaving(entry: os.DirEntry[str], real: Path) -> None:
    if not Path(entry.path).resolve().is_relative_to(real):
        raise InputError(
            f"{entry.path}: the link leaves the image folder {real}",
            fix="Copy what it points to into the folder, or name a folder that holds both.",
        )


def _is_unicode(path: str) -> bool:
    # Python smuggles undecodable file-name bytes in as lone surrogates.
    return not any("\ud800" <= character <= "\udfff" for character in path)


def _read_bytes(uri: str) -> bytes:
    try:
        data = _fetch(uri) if "://" in uri else Path(uri).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{uri}: there is no such file", fix="Correct the path.") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise InputError(f"{uri}: cannot be read ({why})", fix="Make it readable.") from error
    if not data:
        raise InputError(f"{uri}: the file is empty (0 bytes)", fix=REPLACE)
    return data


def _fetch(url: str) -> bytes:
    import fsspec

    try:
        with fsspec.open(url, "rb") as stream:
            return bytes(stream.read())
    except ImportError as error:
        raise DependencyError(
            f"{url}: {error}", fix="Install the fsspec driver for this kind of storage."
        ) from error
    except ValueError as error:
        raise InputError(f"{url}: {error}", fix="Use a URL that fsspec knows.") from error


def _open(uri: str, data: bytes) -> ImageFile:
    """The file's header, its size checked before anything is decoded."""
    # The classes themselves, because Image.open warns at sizes that are allowed here.
    from PIL.BmpImagePlugin import BmpImageFile
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.TiffImagePlugin import TiffImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    kinds: dict[bytes, type[ImageFile]] = {
        b"\xff\xd8\xff": JpegImageFile,
        b"\x89PNG\r\n\x1a\n": PngImageFile,
        b"BM": BmpImageFile,
        b"RIFF": WebPImageFile,
        b"II*\0": TiffImageFile,
        b"MM\0*": TiffImageFile,
        b"II+\0": TiffImageFile,
        b"MM\0+": TiffImageFile,
    }
    kind = next((k for magic, k in kinds.items() if data.startswith(magic)), None)
    if kind is None:
        raise InputError(
            f"{uri}: not an image that can be read (JPEG, PNG, BMP, WebP, TIFF)",
            fix="Convert it, or remove it.",
        )
    try:
        header = kind(io.BytesIO(data))
    except Exception as error:  # decoders fail in many ways; each is the file's fault
        raise _broken(uri, error) from error
    width, height = header.size
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise InputError(
            f"{uri}: {width} × {height} pixels is above the limit of {MAX_SIDE:,} a side and "
            f"{MAX_PIXELS:,} in all",
            fix="Cut it into tiles, or scale it down.",
        )
    return header


def _decode(
    uri: str, data: bytes, *, at_least: int | None
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Upright RGB pixels, and the upright (width, height) of the whole image.

    With `at_least` a JPEG may come smaller, with its longest side no shorter than that.
    """
    import numpy as np

    header = _open(uri, data)
    if header.format == "JPEG":
        return _decode_jpeg(uri, data, header, at_least=at_least)
    from PIL import ImageOps

    try:
        header.load()
        upright = ImageOps.exif_transpose(header)
    except Exception as error:  # decoders fail in many ways; each is the file's fault
        raise _broken(uri, error) from error
    if upright.mode in ("I", "F"):
        raise InputError(f"{uri}: has 32 bits a channel", fix="Convert it to 8 or 16 bits.")
    if upright.mode.startswith("I;16"):
        grey = (np.asarray(upright) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2), upright.size
    upright.info.pop("transparency", None)  # else Pillow warns that it is dropped
    return np.array(upright.convert("RGB")), upright.size


def _decode_jpeg(
    uri: str, data: bytes, header: ImageFile, *, at_least: int | None
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    import cv2
    import numpy as np

    if not _is_whole_jpeg(data):
        raise _broken(uri, "the file is truncated")
    shrink = 1 if at_least is None else max(header.size) // max(at_least, 1)
    flags = next(
        (
            flag
            for factor, flag in (
                (8, cv2.IMREAD_REDUCED_COLOR_8),
                (4, cv2.IMREAD_REDUCED_COLOR_4),
                (2, cv2.IMREAD_REDUCED_COLOR_2),
            )
            if shrink >= factor
        ),
        cv2.IMREAD_COLOR,
    )
    raw = np.frombuffer(data, np.uint8)
    try:
        bgr = cv2.imdecode(raw, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise _broken(uri, error) from error
    if bgr is None:
        raise _broken(uri, "the pixels cannot be decoded")
    turn = _orientation(header)
    width, height = header.size
    pixels = _upright(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), turn)
    return pixels, (height, width) if turn >= 5 else (width, height)


def _is_whole_jpeg(data: bytes) -> bool:
    """Walk the segments to the end-of-image mark; decoders paint what is missing grey and go on."""
    at = 2
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = data[found.end() - 1], found.end()
        if marker == _EOI:
            return True
        if marker in (_SOI, _TEM):
            continue
        # The scan that follows a start-of-scan segment is skipped by the search for a marker.
        at += int.from_bytes(data[at : at + 2], "big")
    return False


def _orientation(header: ImageFile) -> int:
    """EXIF orientation 1 to 8; 1 where the block is missing or broken."""
    try:
        turn: Any = header.getexif().get(0x0112, 1)
    except Exception:  # a broken block of metadata does not make the image unusable
        return 1
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _upright(pixels: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    import numpy as np

    if turn >= 5:
        pixels = pixels.transpose(1, 0, 2)
    # After the transposition: which turns mirror columns, and which mirror rows.
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _broken(uri: str, why: object) -> InputError:
    return InputError(f"{uri}: not a whole image ({why})", fix=REPLACE)


def _rgb(colour: str) -> tuple[int, int, int]:
    digits = colour.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    if len(digits) != 6:
        raise ValueError(f"{colour!r} is not a CSS hex colour")
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
