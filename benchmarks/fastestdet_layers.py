"""How much of FastestDet to train in a minute: its heads, its neck too, all of it, or a new head.

    .venv-models/bin/python benchmarks/fastestdet_layers.py [--seconds 60] [--only "its heads"]

Prints AP on road_signs/val.json after so many seconds of CPU time on road_signs/train.json, one
thread, seed 0. `its heads`, `heads and neck` and `all layers` train FastestDet's own layers (a new
last layer for the classes) by the example's loss on all cells; `new head` is what
examples/fastestdet does. Features of frozen layers come from --cache and are not counted. Data is
read from ../shared/data (or BENCH_DATA). Needs `make install-models`.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "examples" / "fastestdet"), str(HERE)]

import features as F  # noqa: E402
import head as H  # noqa: E402
import learn as L  # noqa: E402
import torch  # noqa: E402
import train as T  # noqa: E402
from fastestdet import DATA, road_signs  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from annoloop.core.evaluation import evaluate  # noqa: E402
from annoloop.records import Detection, LabeledImage  # noqa: E402

OUTPUTS = ("onnx::Sigmoid_954", "onnx::Concat_960", "onnx::Conv_752")
"""Logits of objectness, terms of the box, and what its last layer for the classes looks at."""
VIEWS, BATCH, RATE = 4, 16, 2e-3
WAYS = ("its heads", "heads and neck", "all layers", "new head")


class Own(nn.Module):
    """FastestDet's layers from `first` on: 0 the picture, 1 the backbone's maps, 2 the neck's."""

    def __init__(self, file: Path, first: int, classes: int) -> None:
        super().__init__()
        model = F.freed(file.read_bytes(), file)
        starts = ([model.graph.input[0].name], list(F.MAPS[:3]), [F.MAPS[3]])
        self.layers = F.layers(model, starts[first], OUTPUTS).requires_grad_(True)
        self.kind = nn.Conv2d(96, classes, 1)

    def forward(self, *fed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        objects, terms, seen = self.layers(*fed)
        return objects[:, 0], terms, self.kind(seen)


def fed(first: int, views: Sequence[Any]) -> list[Tensor]:
    """What `Own` takes of some views: pictures, or features of the cache."""
    if first == 0:
        pictures = np.stack([one.picture() for one in views])
        return [torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255]
    maps = [one.view.maps() for one in views]
    chosen = range(3) if first == 1 else [3]
    return [
        torch.from_numpy(np.stack([one[k] for one in maps])).permute(0, 3, 1, 2).float()
        for k in chosen
    ]


class Shown:
    """A view with its picture beside its features."""

    def __init__(self, view: L.View, picture: Any) -> None:
        self.view, self.picture = view, picture


def dense_loss(out: Sequence[Tensor], views: Sequence[L.View]) -> Tensor:
    objects, terms, kinds = out
    grid = tuple(objects.shape[1:])
    parts = [L._with_object(one.labels, n, grid) for n, one in enumerate(views)]
    at, rows = np.concatenate([a for a, _ in parts]), np.concatenate([r for _, r in parts])
    n, y, x = torch.from_numpy(at).T
    wanted = torch.from_numpy(rows)
    overlap, apart = L.fit(H.boxes(terms[n, :, y, x], at, grid), wanted[:, 1:])
    fits = torch.zeros_like(objects)
    fits[n, y, x] = overlap.detach()
    weights = torch.full_like(objects, L.EMPTY_WEIGHT)
    weights[n, y, x] = 1.0
    each = nn.functional.binary_cross_entropy_with_logits(objects, fits, weights, reduction="sum")
    named = nn.functional.cross_entropy(kinds[n, :, y, x], wanted[:, 0].long())
    return 2 * apart.mean() + named + each / len(at)


def trained(own: Own, shown: list[list[Shown]], first: int, seconds: float) -> int:
    rng, seen, began = np.random.default_rng(0), 0, time.process_time()
    weights = list(own.parameters())
    optimizer = torch.optim.AdamW(weights, lr=RATE, weight_decay=1e-2)
    order = L._endless(rng, len(shown))
    while (done := (time.process_time() - began) / seconds) < 1:
        chosen = [shown[next(order)][rng.integers(VIEWS)] for _ in range(BATCH)]
        for group in optimizer.param_groups:
            group["lr"] = RATE * L._rate(done)
        loss = dense_loss(own(*fed(first, chosen)), [one.view for one in chosen])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 10.0)
        optimizer.step()
        seen += BATCH
    return seen


def detections(
    own: Own, images: list[LabeledImage], first: int, given: F.Features
) -> Iterator[tuple[int, H.Found]]:
    own.eval()
    rows = [as_row(one) for one in images]
    for at in range(0, len(rows), BATCH):
        part = rows[at : at + BATCH]
        if first == 0:
            pictures = [
                F.picture(_pixels(one), given.body.side, view=0, name="0" * 16) for one in part
            ]
            views = [Shown(None, lambda p=p: p) for p in pictures]
        else:
            views = [Shown(L.View(lambda m=m: m, None, None), None) for m in T._maps(part, given)]
        with torch.inference_mode():
            objects, terms, kinds = own(*fed(first, views))
        grid = tuple(objects.shape[1:])
        cells = np.stack([one.ravel() for one in np.indices((1, *grid))], axis=1)
        for n in range(len(part)):
            every = H.corners(H.boxes(terms[n].flatten(1).T, cells, grid))
            shares = torch.softmax(kinds[n], dim=0).flatten(1).T
            for found in H.kept(every, H.scores(torch.sigmoid(objects[n]).ravel(), shares), n):
                yield at + n, found


def _pixels(row: dict[str, Any]) -> np.ndarray:
    data = Path(row["file"]).read_bytes()
    return F.pixels(row["file"], data, (row["width"], row["height"]))


def as_row(one: LabeledImage) -> dict[str, Any]:
    return {"id": one.sample_id, "file": one.file, "width": one.width, "height": one.height}


def views_of(images: list[LabeledImage], given: F.Features) -> list[list[Shown]]:
    made, asked = [], []
    for one in images:
        content, size, mine = Path(one.file).read_bytes(), (one.width, one.height), []
        name = given.key(content, 0)
        labels = [{"bbox": label.box, "category_id": label.class_id} for label in one.labels]
        for number in range(VIEWS):
            key = given.key(content, number)
            picture = T._Picture(Path(one.file), size, given.body.side, number, name)
            moved = F.matrix(size, given.body.side, view=number, name=name)
            told = T._in_view(labels, moved, given.body.side)
            mine.append(Shown(L.View(T._Maps(given, key), *told), picture))
            asked.append((key, picture))
        made.append(mine)
    given.fill(asked, "features")
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", choices=WAYS)
    parser.add_argument("--cache", type=Path, default=HERE.parent / "build" / "features")
    args = parser.parse_args()
    file = DATA / "fastestdet" / "FastestDet.onnx"
    if not file.is_file():
        print("no data: name its folder with BENCH_DATA; nothing was measured")
        return 0
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    classes, train, test = road_signs()
    given = F.Features(F.Body(file, args.cache), args.cache)
    shown = views_of(train, given)
    truth = {one.sample_id: one.labels for one in test}
    for way in [args.only] if args.only else WAYS:
        torch.manual_seed(0)
        found: dict[str, list[Detection]] = {one.sample_id: [] for one in test}
        if way == "new head":
            seen, every = new_head(shown, test, given, classes, args.seconds)
        else:
            first = 2 - WAYS.index(way)
            own = Own(file, first, len(classes))
            seen = trained(own, shown, first, args.seconds)
            every = detections(own, test, first, given)
        for n, one in every:
            row = T._row(as_row(test[n]), one.kind, one.box, one.score)
            found[test[n].sample_id].append(Detection(one.kind, tuple(row["bbox"]), row["score"]))
        ordered = {k: tuple(sorted(v, key=lambda d: -d.score)) for k, v in found.items()}
        got = evaluate(truth, ordered, classes=classes).summary
        said = f"AP50 {got['AP50']:.3f}, AP {got['AP']:.3f}"
        print(f"{way}: {seen} images seen in {args.seconds:g} s, {said}", flush=True)
    return 0


def new_head(
    shown: list[list[Shown]],
    test: list[LabeledImage],
    given: F.Features,
    classes: Sequence[str],
    seconds: float,
) -> tuple[int, list[tuple[int, H.Found]]]:
    """As many images as the seconds last for, by the pace of the first thousand."""
    views = [[one.view for one in mine] for mine in shown]
    began = time.process_time()
    L.learn(H.Head(given.body.shapes, len(classes)), views, passes=1024, batch=32, seed=0)
    passes = math.floor(1024 * seconds / (time.process_time() - began))
    torch.manual_seed(0)
    head = H.Head(given.body.shapes, len(classes))
    L.learn(head, views, passes=passes, batch=32, seed=0)
    head.eval()
    every = []
    for at in range(0, len(test), BATCH):
        part = [as_row(one) for one in test[at : at + BATCH]]
        cells = H.Cells(T._maps(part, given))
        every += [(at + one.image, one) for one in H.detect(head, cells)]
    return passes, every


if __name__ == "__main__":
    sys.exit(main())
