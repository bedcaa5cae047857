"""What a network of TorchVision sees of an image: the maps of its backbone, pyramid included."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.features import Sight


def see(torch: Any, network: Any, pictures: NDArray[np.uint8], *, device: str) -> Sight:
    """Look at pictures (n, h, w, 3 RGB) as prediction does, and note what reaches the heads."""
    network.to(device)
    network.eval()
    plain = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
    with torch.inference_mode():
        values = torch.from_numpy(plain).to(device).float().div_(255)
        given, _ = network.transform(list(values))
        maps = network.backbone(given.tensors)
    found = tuple(maps.values()) if isinstance(maps, dict) else (maps,)
    tall, wide = given.tensors.shape[-2:]
    down, across = given.image_sizes[0]
    height, width = pictures.shape[1:3]
    return Sight(found, wide, tall, (across / width, down / height))
