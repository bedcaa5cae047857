"""Boxes as shares of their image, as FiftyOne has them, and in pixels, as we do."""

from __future__ import annotations

from annoloop.records import Box


def to_pixels(shares: Box, width: int, height: int) -> Box:
    """x, y, width, height in pixels of an image of this size."""
    x, y, w, h = shares
    return x * width, y * height, w * width, h * height


def to_shares(box: Box, width: int, height: int) -> Box:
    """The inverse of `to_pixels`, to the last bit but one."""
    x, y, w, h = box
    return x / width, y / height, w / width, h / height
