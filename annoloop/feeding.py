"""Images and regions on their way into a network: decoded ahead in threads, resized, in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from annoloop.errors import VectorError
from annoloop.images import read_rgb
from annoloop.records import Box

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FITS = ("stretch", "crop", "letterbox")
_GREY = 114
"""What letterboxed images are padded with, as by YOLO."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Canvas:
    """The pixels a network wants: `fit` is stretch, crop (the middle), or letterbox (padded)."""

    width: int
    height: int
    fit: str = "stretch"


@dataclass(frozen=True, slots=True)
class Feed:
    """How a network is fed: `size` pictures at once, decoded by `threads`; `what` and `hint` are
    the words of its errors; `unit` makes rows of length 1 (a row without any signal stays 0)."""

    canvas: Canvas
    size: int
    threads: int
    what: str
    hint: str
    unit: bool = True


def vectors(
    feed: Feed,
    network: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    files: Sequence[str],
    boxes: Sequence[Sequence[Box]] | None = None,
) -> NDArray[np.float32]:
    """What `network` says of each picture, (pictures, d) float32, in the order asked.

    Raises InputError naming a bad file, VectorError where the network gives NaN or infinity.
    """
    import numpy as np

    rows: list[NDArray[np.float32]] = []
    for owners, pictures in batches(
        files, boxes, canvas=feed.canvas, size=feed.size, threads=feed.threads
    ):
        found = network(pictures)
        broken = np.flatnonzero(~np.isfinite(found).all(axis=1))
        if len(broken):
            raise VectorError(
                f"{feed.what} gives NaN or infinity for {owners[int(broken[0])]}", fix=feed.hint
            )
        if feed.unit:
            found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        rows.append(np.asarray(found, dtype=np.float32))
    if not rows:  # only the network knows how wide no row is
        blank = np.zeros((1, feed.canvas.height, feed.canvas.width, 3), dtype=np.uint8)
        return np.empty((0, network(blank).shape[1]), dtype=np.float32)
    return np.concatenate(rows)


def batches(
    files: Sequence[str],
    boxes: Sequence[Sequence[Box]] | None = None,
    *,
    canvas: Canvas,
    size: int,
    threads: int,
) -> Iterator[tuple[list[str], NDArray[np.uint8]]]:
    """(file of each picture, pictures (n, height, width, 3) RGB) in the order asked, n ≤ `size`.

    A picture is a whole image, or one of its `boxes` (whole pixels inside the image) where they
    are given. Raises InputError naming a bad file.
    """
    import numpy as np

    asked = boxes if boxes is not None else [None] * len(files)
    tasks = zip(files, asked, strict=True)
    owners: list[str] = []
    pictures: list[NDArray[np.uint8]] = []
    with ThreadPoolExecutor(threads) as pool:
        for file, found in ahead(pool, _pictures, ((*task, canvas) for task in tasks), room=size):
            for picture in found:
                owners.append(file)
                pictures.append(picture)
                if len(pictures) == size:
                    yield owners, np.stack(pictures)
                    owners, pictures = [], []
    if pictures:
        yield owners, np.stack(pictures)


def ahead(
    pool: ThreadPoolExecutor, function: Callable[[T], R], tasks: Iterable[T], *, room: int
) -> Iterator[R]:
    """Results in order, at most `room` computed before they are asked for; an error ends it all."""
    waiting: deque[Future[R]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) > room:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for left in waiting:
            left.cancel()


def _pictures(task: tuple[str, Sequence[Box] | None, Canvas]) -> tuple[str, list[Any]]:
    file, boxes, canvas = task
    if boxes is not None and not boxes:
        return file, []
    rgb = read_rgb(file)
    if boxes is None:
        return file, [fitted(rgb, canvas)]
    parts = (rgb[int(y) : int(y + h), int(x) : int(x + w)] for x, y, w, h in boxes)
    return file, [fitted(part, canvas) for part in parts]


def fitted(rgb: NDArray[np.uint8], canvas: Canvas) -> NDArray[np.uint8]:
    """A picture in the size of the canvas, (height, width, 3)."""
    import numpy as np

    height, width = rgb.shape[:2]
    across, down = canvas.width / width, canvas.height / height
    if canvas.fit == "stretch":
        return _resized(rgb, canvas.width, canvas.height)
    scale = max(across, down) if canvas.fit == "crop" else min(across, down)
    small = _resized(rgb, max(1, round(width * scale)), max(1, round(height * scale)))
    out = np.full((canvas.height, canvas.width, 3), _GREY, dtype=np.uint8)
    (source_y, target_y), (source_x, target_x) = (
        _middle(have, want)
        for have, want in zip(small.shape[:2], (canvas.height, canvas.width), strict=True)
    )
    out[target_y, target_x] = small[source_y, source_x]
    return out


def _middle(have: int, want: int) -> tuple[slice, slice]:
    """Where the middle of `have` pixels lies, and where it goes in the middle of `want`."""
    both = min(have, want)
    source, target = (have - both) // 2, (want - both) // 2
    return slice(source, source + both), slice(target, target + both)


def _resized(rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    import cv2
    import numpy as np

    shrinks = rgb.shape[0] >= height and rgb.shape[1] >= width
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=way), dtype=np.uint8)
