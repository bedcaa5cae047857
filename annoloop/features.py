"""Feature maps of a detection network, pooled over boxes: images and regions as it sees them.

An image goes through the network once, whole; each of its boxes is then cut out of the maps (RoI
align), so that a region is described with its surroundings, and a second region costs next to
nothing. An image is the box around all of it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annoloop.errors import VectorError
from annoloop.feeding import ahead
from annoloop.images import read_rgb
from annoloop.records import Box

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 1
"""Counts up whenever the same network would give other vectors."""
CELLS = 7
"""A box is cut into so many cells across and down."""
_THREADS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What a network saw of images of one size: a map (n, c, h, w) for each of its levels.

    `scores` (n, 1, h, w) beside each map, or none, say how sure the network is of any object at
    each place. The maps span `width` × `height` pixels, in which an image lies `scale` (x, y)
    times as large and moved by `offset` (x, y).
    """

    maps: tuple[Any, ...]
    scores: tuple[Any, ...]
    width: int
    height: int
    scale: tuple[float, float]
    offset: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Eye:
    """`see` looks at images (n, h, w, 3 RGB) of one size, at most `at_once`; `what` is the name of
    the network in errors."""

    torch: Any
    see: Callable[[NDArray[np.uint8]], Sight]
    what: str
    at_once: int = 1


def described(
    eye: Eye, files: Sequence[str], boxes: Sequence[Sequence[Box]] | None
) -> NDArray[np.float32]:
    """Rows of length 1 for each file, or for each box of each file where boxes are given; (n, d).

    Raises InputError naming a bad file, VectorError where the network gives NaN or infinity.
    """
    import numpy as np

    rows = [_rows(eye, some) for some in _groups(eye, files, boxes)]
    if not rows:  # only the network knows how wide no row is
        blank = np.zeros((1, 64, 64, 3), dtype=np.uint8)
        wide = _pooled(eye.torch, eye.see(blank), [0], [(0, 0, 64, 64)]).shape[1]
        return np.empty((0, wide), dtype=np.float32)
    return np.concatenate(rows)


def features_name(trainer: str, manifest: Mapping[str, Any]) -> str:
    """`TRAINER-MODEL-HASH` of a model's manifest, by its weights, options and our pooling."""
    options = manifest["options"]
    said = f"{VERSION} {manifest['blake2b']} {options['side']}"
    digest = hashlib.blake2b(said.encode(), digest_size=6)
    stem = re.sub(r"[^A-Za-z0-9]+", "-", Path(str(options["model"])).stem).strip("-")
    return f"{trainer}-{stem}-{digest.hexdigest()}"


def at_once(device: str) -> int:
    """How many images go through a network at once: on a processor they only wait in line."""
    return 16 if device.startswith("cuda") else 1


_Asked = tuple[str, "NDArray[np.uint8]", Sequence[Box]]


def _groups(
    eye: Eye, files: Sequence[str], boxes: Sequence[Sequence[Box]] | None
) -> Iterator[list[_Asked]]:
    """Neighbours of one size, at most `at_once`: padding to the size of others would be seen."""
    tasks = ((file, None if boxes is None else boxes[i]) for i, file in enumerate(files))
    with ThreadPoolExecutor(_THREADS) as pool:
        read = ahead(pool, _read, tasks, room=2 * eye.at_once + 2)
        for _, same in groupby((one for one in read if one[2]), key=lambda one: one[1].shape):
            yield from _parts(same, eye.at_once)


def _parts(asked: Iterable[_Asked], most: int) -> Iterator[list[_Asked]]:
    part: list[_Asked] = []
    for one in asked:
        part.append(one)
        if len(part) == most:
            yield part
            part = []
    if part:
        yield part


def _read(task: tuple[str, Sequence[Box] | None]) -> _Asked:
    import numpy as np

    file, boxes = task
    if boxes is not None and not boxes:
        return file, np.empty((0, 0, 3), np.uint8), ()
    rgb = read_rgb(file)
    return file, rgb, [(0, 0, rgb.shape[1], rgb.shape[0])] if boxes is None else boxes


def _rows(eye: Eye, asked: Sequence[_Asked]) -> NDArray[np.float32]:
    import numpy as np

    sight = eye.see(np.stack([rgb for _, rgb, _ in asked]))
    owners = [number for number, (_, _, boxes) in enumerate(asked) for _ in boxes]
    found = _pooled(eye.torch, sight, owners, [box for _, _, boxes in asked for box in boxes])
    broken = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(broken):
        raise VectorError(
            f"{eye.what} gives NaN or infinity for {asked[owners[int(broken[0])]][0]}",
            fix="Train again: `annoloop train`.",
        )
    return found


def _pooled(
    torch: Any, sight: Sight, owners: Sequence[int], boxes: Sequence[Box]
) -> NDArray[np.float32]:
    """The maximum over the cells of each box on each level, (boxes, d).

    Maxima tell objects better than means, which the background fills. Each level has length 1, and
    then weighs by the root of the best score in the box: objects show on the level of their size,
    and the others would be noise (benchmarks/embedders.md).
    """
    import numpy as np
    from torchvision.ops import roi_align

    corners = np.array([(x, y, x + w, y + h) for x, y, w, h in boxes], dtype=np.float32)
    corners = corners * np.tile(sight.scale, 2) + np.tile(sight.offset, 2)
    corners /= np.tile([sight.width, sight.height], 2)  # shares of what the maps span
    parts = []
    for number, one in enumerate(sight.maps):
        height, width = one.shape[-2:]
        places = corners * np.tile([width, height], 2)
        rois = np.column_stack([np.array(owners), places]).astype(np.float32)
        with torch.inference_mode():
            both = torch.cat([one.float(), *(few.float() for few in sight.scores[number:][:1])], 1)
            cells = roi_align(
                both, torch.from_numpy(rois).to(one.device), (CELLS, CELLS), aligned=True
            ).amax((2, 3))
            features, sure = cells[:, : one.shape[1]], cells[:, one.shape[1] :]
            unit = torch.nn.functional.normalize(features, eps=1e-12)
            parts.append(unit * sure.clamp(min=1e-6).sqrt() if sight.scores else unit)
    rows = torch.nn.functional.normalize(torch.cat(parts, 1), eps=1e-12)
    return np.asarray(rows.cpu().numpy(), dtype=np.float32)
