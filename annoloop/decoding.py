"""From a URI to bytes, to a checked header, to upright RGB pixels.

A URI is a local path or any fsspec URL. JPEG is decoded by OpenCV, which is faster and can decode
small; the rest by Pillow, which notices truncated files.
"""

from __future__ import annotations

import io
import os
import re
import stat
from typing import IO, TYPE_CHECKING, Any

from annoloop.errors import DependencyError, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

MAX_SIDE = 20_000
MAX_PIXELS = 200_000_000
MAX_BYTES = 1 << 31
"""No image of so few pixels needs as much; a file that does is something else."""
REPLACE = "Replace the file with a whole copy, or remove it."
# Inside a scan a marker is 0xFF followed by neither a stuffed zero, a restart mark nor a fill byte.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SOI, _EOI, _TEM = 0xD8, 0xD9, 0x01


def open_stream(uri: str) -> IO[bytes]:
    """The bytes of a URI, to be closed by the caller. Raises InputError, or DependencyError."""
    try:
        if "://" not in uri:
            return _open_file(uri)
        import fsspec

        opened: IO[bytes] = fsspec.open(uri, "rb").open()
        return opened
    except FileNotFoundError:
        raise InputError(f"{uri}: there is no such file", fix="Correct the path.") from None
    except InputError:
        raise
    except ImportError as error:
        raise DependencyError(
            f"{uri}: {error}", fix="Install the fsspec driver for this kind of storage."
        ) from error
    except Exception as error:  # each storage driver has errors of its own
        raise _unreadable(uri, error) from error


def _open_file(path: str) -> IO[bytes]:
    # Without O_NONBLOCK a pipe that is called like an image would be waited for without end.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    found = os.fstat(handle)
    what = None
    if not stat.S_ISREG(found.st_mode):
        what = "is a folder, a device or a pipe, not a file"
    elif found.st_size > MAX_BYTES:
        what = f"{found.st_size:,} bytes is above the limit of {MAX_BYTES:,} for an image"
    if what is not None:
        os.close(handle)
        raise InputError(f"{path}: {what}", fix="Remove it from the image folder.")
    return os.fdopen(handle, "rb")


def read_bytes(uri: str) -> bytes:
    with open_stream(uri) as stream:
        try:
            return stream.read()
        except Exception as error:  # each storage driver has errors of its own
            raise _unreadable(uri, error) from error


def _unreadable(uri: str, error: Exception) -> InputError:
    why = getattr(error, "strerror", None) or str(error)
    return InputError(f"{uri}: cannot be read ({why})", fix="Correct the path or the permissions.")


def open_header(uri: str, stream: IO[bytes]) -> ImageFile:
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
    try:
        start = stream.read(8)
        stream.seek(0)
    except Exception as error:  # each storage driver has errors of its own
        raise _unreadable(uri, error) from error
    if not start:
        raise InputError(f"{uri}: the file is empty (0 bytes)", fix=REPLACE)
    kind = next((k for magic, k in kinds.items() if start.startswith(magic)), None)
    if kind is None:
        raise InputError(
            f"{uri}: not an image that can be read (JPEG, PNG, BMP, WebP, TIFF)",
            fix="Convert it, or remove it.",
        )
    try:
        header = kind(stream)
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


def decode(
    uri: str, data: bytes, *, at_least: int | None
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Upright RGB pixels, and the upright (width, height) of the whole image.

    With `at_least` a JPEG may come smaller, with its longest side no shorter than that.
    """
    import numpy as np

    header = open_header(uri, io.BytesIO(data))
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
    turn = orientation(header)
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


def orientation(header: ImageFile) -> int:
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
