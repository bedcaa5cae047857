"""Images as a browser shows them: with the pixels, and the way up, that labels are given in."""

from __future__ import annotations

import io

from annoloop.decoding import open_header, orientation, read_bytes

_KINDS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "BMP": "image/bmp"}


def for_browser(uri: str) -> tuple[bytes, str]:
    """Bytes and media type; turned images and other formats are sent as PNG.

    Raises InputError for a file that is missing or no image.
    """
    data = read_bytes(uri)
    header = open_header(uri, io.BytesIO(data))
    kind = _KINDS.get(header.format or "")
    if kind is not None and orientation(header) == 1:
        return data, kind
    from PIL import Image

    from annoloop.images import read_rgb

    out = io.BytesIO()
    Image.fromarray(read_rgb(uri)).save(out, "PNG", compress_level=1)
    return out.getvalue(), "image/png"


def placeholder(width: int, height: int) -> bytes:
    """What stands where an image cannot be read: of its shape, so that nothing moves."""
    middle = f'x="{width / 2:g}" y="{height / 2:g}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
        '<rect width="100%" height="100%" fill="#8a9499"/>'
        f'<text {middle} font-family="sans-serif" font-size="{max(8, width // 16)}" fill="#fff" '
        'text-anchor="middle" dominant-baseline="middle">cannot be read</text></svg>'
    ).encode()
