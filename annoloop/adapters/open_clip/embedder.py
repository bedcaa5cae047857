"""CLIP's image vectors from a local file of weights; the half that reads text is left out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.adapters.open_clip.recipe import BESIDE, WHO, Recipe, recipe_of, sdk
from annoloop.errors import InputError, SettingsError
from annoloop.feeding import FITS, Canvas, Feed, vectors
from annoloop.networks import choose_device, digest_file, own_state
from annoloop.records import Box

_WHERE = "https://huggingface.co/models?library=open_clip"
_IMAGE = "visual."
"""What the tensors of the image half are called by in a whole model."""


@dataclass(frozen=True, slots=True)
class OpenClipOptions:
    """`weights` is a local file, `model` its name in OpenCLIP and `pretrained` the tag it was
    published under; an open_clip_config.json beside the weights says both. `half` computes in half
    precision on a GPU."""

    weights: str | None = None
    model: str | None = None
    pretrained: str | None = None
    fit: str = "stretch"
    batch: int = 16
    threads: int = 2
    device: str = "auto"
    half: bool = True


class OpenClipEmbedder:
    """The vectors that CLIP compares with texts, of unit length. Takes OpenClipOptions by name.

    Raises SettingsError for options that are wrong, weights that are not there included.
    """

    def __init__(self, **options: Any) -> None:
        self._options = chosen = OpenClipOptions(**options)
        for name, high in (("batch", 1024), ("threads", 64)):
            value = getattr(chosen, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
                raise SettingsError(
                    f"{WHO}: {name} = {value!r} is out of range",
                    fix=f"Choose {name} from 1 to {high}.",
                )
        if chosen.fit not in FITS:
            raise SettingsError(
                f"{WHO}: fit = {chosen.fit!r} is unknown", fix=f"Choose {', '.join(FITS)}."
            )
        self._file = _local(chosen)

    @cached_property
    def name(self) -> str:
        """`open_clip-MODEL-HASH`, by the bytes of the weights and what is said of their pixels."""
        chosen, beside = self._options, self._file.with_name(BESIDE)
        about = digest_file(beside) if beside.is_file() else ""
        said = f"1 {digest_file(self._file)} {about} {chosen.model} {chosen.pretrained}"
        digest = hashlib.blake2b(f"{said} {chosen.fit}".encode(), digest_size=6)
        model = chosen.model or self._file.absolute().parent.name
        return f"open_clip-{re.sub(r'[^A-Za-z0-9]+', '-', model).strip('-')}-{digest.hexdigest()}"

    def embed(self, files: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of image files or URLs, (len(files), d) float32, rows of length 1.

        Raises InputError naming a bad image or weights that do not fit, VectorError where the
        network gives NaN or infinity.
        """
        return self._vectors(files, None)

    def embed_crops(
        self, files: Sequence[str], boxes: Sequence[Sequence[Box]]
    ) -> NDArray[np.float32]:
        """Vectors of regions, (boxes of all files, d): each is described like an image."""
        return self._vectors(files, boxes)

    def _vectors(
        self, files: Sequence[str], boxes: Sequence[Sequence[Box]] | None
    ) -> NDArray[np.float32]:
        torch, _ = sdk()
        network, recipe = self._loaded
        device = choose_device(torch, self._options.device, who=WHO)
        network.to(device)
        mean, std = (np.array(one, dtype=np.float32) for one in (recipe.mean, recipe.std))
        half = self._options.half and device.startswith("cuda")

        def through(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
            values = ((pictures * np.float32(1 / 255) - mean) / std).transpose(0, 3, 1, 2)
            given = torch.from_numpy(np.ascontiguousarray(values)).to(device)
            return described(torch, network, given, half=half)

        height, width = _size(network.image_size)
        feed = Feed(
            canvas=Canvas(width, height, self._options.fit),
            size=self._options.batch,
            threads=self._options.threads,
            what=f"{recipe.what} of OpenCLIP",
            hint="Fetch the weights again, or take another model.",
        )
        with own_state(torch):
            return vectors(feed, through, files, boxes)

    @cached_property
    def _loaded(self) -> tuple[Any, Recipe]:
        """The image half in evaluation mode, and its recipe."""
        torch, open_clip = sdk()
        recipe = recipe_of(self._options.model, self._options.pretrained, self._file)
        with own_state(torch):
            torch.manual_seed(0)
            try:
                # Whole models would fetch what their text halves consist of.
                network = open_clip.model._build_vision_tower(
                    recipe.width, recipe.vision, recipe.quick_gelu
                )
            except Exception as error:  # a configuration of one's own can be wrong in many ways
                raise InputError(
                    f"{recipe.what} describes no image network: {_reason(error)}",
                    fix="Correct vision_cfg, or name a model of open_clip.list_models().",
                ) from error
        _load(torch, network, self._file, recipe.what)
        return network.eval(), recipe


def described(torch: Any, network: Any, given: Any, *, half: bool) -> NDArray[np.float32]:
    """What the network says of pictures (n, 3, h, w), (n, d); pictures that are too much for half
    precision are computed again in full."""

    def run(how: bool) -> NDArray[np.float32]:
        kind = given.device.type
        with torch.inference_mode(), torch.autocast(kind, dtype=torch.float16, enabled=how):
            out = network(given)
            out = out[0] if isinstance(out, tuple) else out  # CoCa gives its tokens, too
        return np.asarray(out.float().cpu().numpy().reshape(len(given), -1))

    rows = run(half)
    return run(False) if half and not np.isfinite(rows).all() else rows


def _load(torch: Any, network: Any, file: Path, what: str) -> None:
    """Take the tensors of the image half. Raises InputError naming the first that is not there."""
    from open_clip.convert import convert_state_dict

    try:
        state = convert_state_dict(SimpleNamespace(visual=network), _read(torch, file))
    except Exception as error:  # torch and safetensors have many kinds
        raise InputError(
            f"{file} cannot be read as weights: {_reason(error)}",
            fix="Fetch the file again: .safetensors, or a state dict saved by torch.save (OpenAI's "
            "own .pt files are programs; Hugging Face has the same weights as .safetensors).",
        ) from error
    own = network.state_dict()
    needed = [key for key in own if not key.endswith("num_batches_tracked")]
    fit = {
        key: state[_IMAGE + key]
        for key in own
        if _IMAGE + key in state and state[_IMAGE + key].shape == own[key].shape
    }
    missing = [key for key in needed if key not in fit]
    if missing:
        raise InputError(
            f"{file} is not of {what}: {len(missing)} of {len(needed)} tensors of its image half "
            f"are missing or of another shape, first {_IMAGE}{missing[0]}",
            fix="Name the `model` that the weights are of, with its size.",
        )
    network.load_state_dict(own | fit)


def _read(torch: Any, file: Path) -> dict[str, Any]:
    """Tensors by name; no code in the file is run."""
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return dict(load_file(str(file)))
    state = torch.load(file, map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    return {key.removeprefix("module."): one for key, one in state.items() if torch.is_tensor(one)}


def _local(options: OpenClipOptions) -> Path:
    wanted = options.model or "the model"
    fix = (
        f"Fetch open_clip_model.safetensors of {wanted} and {BESIDE} yourself ({_WHERE}; each page "
        "says the licence) into one folder, and name the file: "
        'weights = "FOLDER/open_clip_model.safetensors" in [embed.options].'
    )
    if options.weights is None:
        raise SettingsError(
            f"{WHO}: no weights are named for {wanted}, and annoloop downloads nothing", fix=fix
        )
    file = Path(options.weights).expanduser()
    if "://" in options.weights or ":" in (options.model or "") or not file.is_file():
        raise SettingsError(
            f"{WHO}: there are no weights {file.absolute()} of {wanted}, and annoloop downloads "
            "nothing",
            fix=fix,
        )
    return file


def _size(said: Any) -> tuple[int, int]:
    """(height, width) in pixels."""
    height, width = said if isinstance(said, tuple | list) else (said, said)
    return int(height), int(width)


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
