"""What trainers of neural networks share: options, weights by hash, the folder of a model."""

from __future__ import annotations

import gc
import hashlib
import json
import math
import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from annoloop.decoding import read_bytes
from annoloop.durable import write_text
from annoloop.errors import DependencyError, SettingsError, TrainerError
from annoloop.records import Box, Detection, LabeledImage

MANIFEST, STATE = "manifest.json", "state.json"
RETRAIN = "Train again: `annoloop train`."
LEAST_SCORE, MOST = 0.01, 100
"""Detections below this score, and more than this many an image, do not count in the metrics."""

_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "insufficient memory",
    "bad_alloc",
    # All that oneDNN (PyTorch's layers on a processor) says where memory for its code is refused.
    "could not create a primitive",
    "could not create a memory object",
)

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """How a network is trained.

    `side` is the longest side of an image in pixels; `patience` the epochs without a gain on the
    images held out (`holdout`, a share of the training set) after which training stops; `batch`
    None leaves it to the trainer. `continue_from` is the folder of a model of the same trainer and
    classes, or "newest" for the one beside; without it every iteration starts from the same
    weights.
    """

    model: str
    epochs: int = 100
    patience: int = 20
    side: int = 640
    batch: int | None = None
    device: str = "auto"
    holdout: float = 0.15
    continue_from: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)

    def check(self, trainer: str) -> None:
        """Raise SettingsError naming the first option that is out of range."""
        for name, low, high in (
            ("epochs", 1, 100_000),
            ("patience", 1, 100_000),
            ("side", 32, 8192),
            ("batch", 1, 4096),
            ("holdout", 0, 0.5),
        ):
            value = getattr(self, name)
            if name == "batch" and value is None:
                continue
            wrong = isinstance(value, bool) or not isinstance(value, int | float)
            if wrong or not low <= value <= high or (name != "holdout" and value != int(value)):
                raise SettingsError(
                    f"trainer {trainer!r}: {name} = {value!r} is out of range",
                    fix=f"Choose {name} from {low} to {high}.",
                )
        for name in ("model", "device"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise SettingsError(
                    f"trainer {trainer!r}: {name} = {getattr(self, name)!r} is no name",
                    fix=f"Set {name} in [train.options]; docs/trainers.md has examples.",
                )
        if not isinstance(self.arguments, dict):
            raise SettingsError(
                f"trainer {trainer!r}: arguments = {self.arguments!r} is no table",
                fix="Write it as [train.options.arguments] with one line for each.",
            )


def choose_device(torch: Any, wanted: str, *, who: str) -> str:
    """auto → cuda:0, mps or cpu, whichever is there first. Raises for one that is not there."""
    cuda = torch.cuda.is_available()
    if wanted == "auto":
        mps = getattr(torch.backends, "mps", None)
        return "cuda:0" if cuda else "mps" if mps and mps.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise SettingsError(
            f"{who}: device = {wanted!r} is unknown",
            fix='Choose "auto", "cpu", "cuda", "cuda:1" or "mps".',
        ) from error
    if device.type == "cuda" and (not cuda or (device.index or 0) >= torch.cuda.device_count()):
        raise DependencyError(
            f"{who}: device = {wanted!r}, and PyTorch sees {torch.cuda.device_count()} of CUDA",
            fix='Use device = "auto", or mend the driver (`nvidia-smi` shows what is there).',
        )
    return "cuda:0" if wanted == "cuda" else wanted


@contextmanager
def own_state(torch: Any) -> Iterator[None]:
    """Random numbers and threads of PyTorch are afterwards as before; inside, one processor is
    left to others: on a busy machine, small layers spread over all of them mostly wait."""
    numbers, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    try:
        yield
    finally:
        torch.set_rng_state(numbers)
        torch.set_num_threads(threads)


def peak_memory(torch: Any, device: str) -> tuple[str, float]:
    """(what was measured, MiB): the peak of the CUDA device, elsewhere that of the process."""
    if device.startswith("cuda"):
        return "peak_device_mib", round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return "peak_process_mib", round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def shrinking(batch: int, run: Callable[[int], R], say: Callable[[str], None]) -> R:
    """`run(batch)`, with half the batch again and again where the memory is too small.

    Raises TrainerError where one image at once is too much.
    """
    while True:
        try:
            return run(batch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        # Outside of the handler: the error would hold on to every tensor of the failed run.
        gc.collect()
        if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
            sys.modules["torch"].cuda.empty_cache()
        if batch == 1:
            raise TrainerError(
                f"out of memory with one image at once: {reason}",
                fix="Lower `side`, take a smaller model, or use a machine with more memory.",
            )
        say(f"out of memory with {batch} images at once ({reason}): going on with {batch // 2}")
        batch //= 2


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch, NumPy, OpenCV or the operating system ran out of memory."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(word in text for word in _NO_MEMORY)


def digest_file(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def digest_images(images: Iterable[LabeledImage]) -> str:
    """One hash of what is trained on: ids, the bytes of the files, labels and groups, in order.

    Raises InputError for a file that cannot be read.
    """
    total = hashlib.blake2b(digest_size=16)
    for image in images:
        content = hashlib.blake2b(read_bytes(image.file), digest_size=16).hexdigest()
        labels = [[label.class_id, *label.box, label.ignored] for label in image.labels]
        row = [image.sample_id, content, labels]
        # Who is held out goes by groups; without them the hash is what it was before there were.
        row += [] if image.group is None else [image.group]
        total.update(json.dumps(row).encode())
    return total.hexdigest()


def digest_of(document: Any) -> str:
    text = json.dumps(document, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def resumable(folder: Path, key: str) -> bool:
    """Whether the folder holds what a killed run of the same training left; if not, it is emptied
    and marked as one of this training."""
    state = folder / STATE
    try:
        if json.loads(state.read_text(encoding="utf-8")) == {"key": key}:
            return True
    except (OSError, ValueError):
        pass
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():
        shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    write_text(state, json.dumps({"key": key}))
    return False


def write_manifest(folder: Path, *, form: str, weights: str, about: Mapping[str, Any]) -> None:
    """The manifest with the hash of the weights, written last: a killed run leaves no model."""
    document = {"format": form, "weights": weights, "blake2b": digest_file(folder / weights)}
    text = json.dumps(document | dict(about), indent=1, sort_keys=True, ensure_ascii=False)
    write_text(folder / MANIFEST, text + "\n")
    (folder / STATE).unlink(missing_ok=True)


def read_manifest(folder: Path, *, form: str, classes: Sequence[str]) -> dict[str, Any]:
    """The manifest of a whole model of this trainer and these classes. Raises TrainerError."""
    file = folder / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(manifest, dict) or manifest.get("format") != form:
            raise TrainerError(
                f"{file} is not of the format {form}",
                fix="Use the trainer that made the model, or train again.",
            )
        found = digest_file(folder / str(manifest["weights"]))
    except (OSError, ValueError, KeyError) as error:
        raise TrainerError(f"{folder} holds no whole model: {error}", fix=RETRAIN) from error
    if found != manifest.get("blake2b"):
        raise TrainerError(
            f"{folder / str(manifest['weights'])} is not what was trained", fix=RETRAIN
        )
    if manifest.get("classes") != list(classes):
        raise TrainerError(
            f"the model in {folder} was trained for the classes {manifest.get('classes')}, not "
            f"{list(classes)}",
            fix=RETRAIN,
        )
    return manifest


def earlier_model(wanted: str, folder: Path, *, form: str, classes: Sequence[str]) -> Path | None:
    """The folder of the model to go on from; None if there is no newest one yet.

    Raises TrainerError for one that is no whole model of the trainer and these classes.
    """
    if wanted != "newest":
        found = Path(wanted).expanduser().absolute()
        read_manifest(found, form=form, classes=classes)
        return found
    beside = [
        one
        for one in folder.absolute().parent.glob(f"*/{MANIFEST}")
        if one.parent != folder.absolute() and f'"{form}"' in one.read_text("utf-8")
    ]
    if not beside:
        return None
    newest = max(beside, key=lambda one: one.stat().st_mtime_ns).parent
    read_manifest(newest, form=form, classes=classes)
    return newest


def plain_options(options: NetworkOptions) -> dict[str, Any]:
    return asdict(options)


def detections(
    rows: Iterable[tuple[int, float, Sequence[float]]], image: LabeledImage
) -> tuple[Detection, ...]:
    """(class, score, [x1, y1, x2, y2]) → detections inside the image, best first."""
    found = []
    for kind, score, (x1, y1, x2, y2) in rows:
        left, top = max(x1, 0.0), max(y1, 0.0)
        right, bottom = min(x2, float(image.width)), min(y2, float(image.height))
        if score < LEAST_SCORE or not all(map(math.isfinite, (left, top, right, bottom, score))):
            continue
        if right > left and bottom > top:
            box: Box = (left, top, right - left, bottom - top)
            found.append(Detection(kind, box, min(score, 1.0)))
    return tuple(sorted(found, key=lambda one: -one.score)[:MOST])
