"""What a network of Ultralytics sees of an image: the maps that its detection head reads."""

from __future__ import annotations

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
            network(values.to(device).float().div_(255))
    finally:
        hook.remove()
    return Sight(tuple(noted), width, height, scale, offset)


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
