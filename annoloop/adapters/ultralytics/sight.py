"""What a network of Ultralytics sees of an image: the maps that its detection head reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from annoloop.features import Sight

_GREY = 114
"""What Ultralytics pads with."""


def see(torch: Any, network: Any, pictures: NDArray[np.uint8], *, side: int) -> Sight:
    """Look at pictures (n, h, w, 3 RGB) as prediction does, and note what reaches the head."""
    head = network.model[-1]
    stretched = type(head).__name__ == "RTDETRDecoder"  # it is shown squares, whatever the image
    (height, width), scale, offset, ready = _placed(pictures, side, network, stretched=stretched)
    noted: list[Any] = []
    hook = head.register_forward_pre_hook(lambda _, given: noted.extend(given[0]))
    device = next(network.parameters()).device
    try:
        with torch.inference_mode():
            values = torch.from_numpy(np.ascontiguousarray(ready.transpose(0, 3, 1, 2)))
            out = network(values.to(device).float().div_(255))
            scores = _scores(out, noted)
    finally:
        hook.remove()
    return Sight(tuple(noted), scores, width, height, scale, offset)


def _scores(out: Any, maps: Sequence[Any]) -> tuple[Any, ...]:
    """The best class at each place of each level, (n, 1, h, w); none from heads without places,
    such as RT-DETR's."""
    raw: Any = out[1] if isinstance(out, tuple) and len(out) > 1 else None
    if isinstance(raw, dict):
        raw = raw.get("one2one", raw).get("scores")  # (n, classes, places of all levels)
    sizes = [one.shape[-2] * one.shape[-1] for one in maps]
    if not hasattr(raw, "split") or raw.ndim != 3 or raw.shape[-1] != sum(sizes):
        return ()
    best = raw.sigmoid().amax(1).split(sizes, dim=1)
    return tuple(
        part.reshape(len(part), 1, *one.shape[-2:]) for part, one in zip(best, maps, strict=True)
    )


def _placed(
    pictures: NDArray[np.uint8], side: int, network: Any, *, stretched: bool
) -> tuple[tuple[int, int], tuple[float, float], tuple[float, float], NDArray[np.uint8]]:
    """(height, width) of what goes in, scale and offset of the image in it, and the pixels."""
    height, width = pictures.shape[1:3]
    stride = max(int(network.stride.max()), 32)
    room = -(-side // stride) * stride
    factor = room / max(height, width)
    across, down = max(1, round(width * factor)), max(1, round(height * factor))
    if stretched:
        across = down = room
    wide, tall = (-(-one // stride) * stride for one in (across, down))
    left, top = round((wide - across) / 2 - 0.1), round((tall - down) / 2 - 0.1)
    ready = np.full((len(pictures), tall, wide, 3), _GREY, dtype=np.uint8)
    for out, picture in zip(ready, pictures, strict=True):
        small = cv2.resize(picture, (across, down), interpolation=cv2.INTER_LINEAR)
        out[top : top + down, left : left + across] = small
    scale = across / width, down / height
    return (tall, wide), scale, (float(left), float(top)), ready
