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
        scores = _scores(network, found)
    tall, wide = given.tensors.shape[-2:]
    down, across = given.image_sizes[0]
    height, width = pictures.shape[1:3]
    return Sight(found, scores, wide, tall, (across / width, down / height))


def _scores(network: Any, maps: tuple[Any, ...]) -> tuple[Any, ...]:
    """How sure the network is of any object at each place of each level, (n, 1, h, w)."""
    if hasattr(network, "rpn"):  # Faster R-CNN: its proposals
        objectness, _ = network.rpn.head(list(maps))
        return tuple(one.sigmoid().amax(1, keepdim=True) for one in objectness)
    logits = network.head(list(maps))["cls_logits"]  # (n, places × anchors of all levels, classes)
    softmax = type(network).__name__ == "SSD"
    likely = logits.softmax(-1)[..., 1:] if softmax else logits.sigmoid()
    places = [one.shape[-2] * one.shape[-1] for one in maps]
    anchors = _anchors(network, len(maps))
    sizes = [place * many for place, many in zip(places, anchors, strict=True)]
    best = likely.amax(-1).split(sizes, dim=1)
    return tuple(
        part.reshape(len(part), *one.shape[-2:], many).amax(-1).unsqueeze(1)
        for part, one, many in zip(best, maps, anchors, strict=True)
    )


def _anchors(network: Any, levels: int) -> list[int]:
    """Boxes that are proposed at one place, by level."""
    found = network.anchor_generator.num_anchors_per_location()
    return [int(one) for one in found][:levels]
