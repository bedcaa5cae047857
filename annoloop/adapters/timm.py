"""The embedder `timm`: any model of PyTorch Image Models with a local file of weights."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.errors import DependencyError, InputError, SettingsError
from annoloop.feeding import FITS, Canvas, Feed, vectors
from annoloop.networks import choose_device, digest_file, own_state
from annoloop.records import Box

_WHERE = "https://huggingface.co/timm"
WHO = "embedder 'timm'"


@dataclass(frozen=True, slots=True)
class TimmOptions:
    """`model` is a name of timm, `weights` its local file. `random_weights` makes vectors of an
    untrained network, for tests only. `fit` brings images into the size that the model wants."""

    model: str
    weights: str | None = None
    random_weights: bool = False
    fit: str = "stretch"
    batch: int = 16
    threads: int = 2
    device: str = "auto"


class TimmEmbedder:
    """Pooled features of an image network, of unit length. Takes TimmOptions by name.

    Raises SettingsError for options that are wrong, weights that are not there included.
    """

    def __init__(self, **options: Any) -> None:
        self._options = chosen = TimmOptions(**options)
        for name, high in (("batch", 1024), ("threads", 64)):
            value = getattr(chosen, name)
            if not 1 <= value <= high:
                raise SettingsError(
                    f"{WHO}: {name} = {value} is out of range",
                    fix=f"Choose {name} from 1 to {high}.",
                )
        if chosen.fit not in FITS:
            raise SettingsError(
                f"{WHO}: fit = {chosen.fit!r} is unknown", fix=f"Choose {', '.join(FITS)}."
            )
        if chosen.random_weights and chosen.weights:
            raise SettingsError(
                f"{WHO}: weights and random_weights exclude each other",
                fix="Remove random_weights: its vectors mean nothing.",
            )
        if not chosen.random_weights:
            _require(chosen.weights, chosen.model)

    @cached_property
    def name(self) -> str:
        """`timm-MODEL-HASH`, by the bytes of the weights and how images are fitted."""
        chosen = self._options
        if chosen.weights is None:
            return f"timm-{chosen.model}-random-{chosen.fit}"
        content = digest_file(Path(chosen.weights).expanduser())
        digest = hashlib.blake2b(f"1 {content} {chosen.fit}".encode(), digest_size=6)
        return f"timm-{chosen.model}-{digest.hexdigest()}"

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
        torch, _ = _sdk()
        network, about = self._loaded
        device = choose_device(torch, self._options.device, who=WHO)
        network.to(device)
        mean, std = (np.array(about[key], dtype=np.float32) for key in ("mean", "std"))

        def through(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
            values = ((pictures * np.float32(1 / 255) - mean) / std).transpose(0, 3, 1, 2)
            with torch.inference_mode():
                out = network(torch.from_numpy(np.ascontiguousarray(values)).to(device))
            return np.asarray(out.float().cpu().numpy().reshape(len(pictures), -1))

        _, height, width = about["input_size"]
        feed = Feed(
            canvas=Canvas(width, height, self._options.fit),
            size=self._options.batch,
            threads=self._options.threads,
            what=f"{self._options.model} of timm",
            hint="Fetch the weights again, or take another model.",
        )
        with own_state(torch):
            return vectors(feed, through, files, boxes)

    @cached_property
    def _loaded(self) -> tuple[Any, dict[str, Any]]:
        """The network in evaluation mode, and what timm says of its pixels."""
        torch, timm = _sdk()
        known = timm.list_models()
        if self._options.model.partition(".")[0] not in known:
            near = difflib.get_close_matches(self._options.model, known, n=3)
            raise SettingsError(
                f"{WHO}: timm has no model {self._options.model!r}",
                fix=f"Did you mean {' or '.join(near)}?" if near else "See timm.list_models().",
            )
        with own_state(torch):
            torch.manual_seed(0)
            network = timm.create_model(self._options.model, pretrained=False, num_classes=0)
        if self._options.weights:
            _load(timm, network, Path(self._options.weights).expanduser(), self._options.model)
        return network.eval(), timm.data.resolve_model_data_config(network)


def _load(timm: Any, network: Any, file: Path, model: str) -> None:
    try:
        state = timm.models.load_state_dict(str(file), use_ema=True, weights_only=True)
    except Exception as error:  # torch and safetensors have many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{file} cannot be read as weights: {reason}",
            fix="Fetch the file again: .safetensors, or a state dict saved by torch.save.",
        ) from error
    own = network.state_dict()
    needed = [key for key in own if not key.endswith("num_batches_tracked")]
    fit = {key: state[key] for key in own if key in state and state[key].shape == own[key].shape}
    missing = [key for key in needed if key not in fit]
    if missing:
        raise InputError(
            f"{file} is not of {model}: {len(missing)} of {len(needed)} tensors are missing or of "
            f"another shape, first {missing[0]}",
            fix="Name the `model` that the weights are of, with its size.",
        )
    network.load_state_dict(own | fit)


def _require(weights: str | None, model: str) -> None:
    name = model.partition(":")[2] or model
    fix = (
        f"Fetch model.safetensors of {name} yourself ({_WHERE}/{name}; its page says the licence), "
        'and name the file: weights = "FOLDER/model.safetensors" in [embed.options].'
    )
    if weights is None:
        raise SettingsError(
            f"{WHO}: no weights are named for {model}, and annoloop downloads nothing", fix=fix
        )
    file = Path(weights).expanduser()
    if "://" in weights or not file.is_file():
        raise SettingsError(
            f"{WHO}: there are no weights {file.absolute()}, and annoloop downloads nothing",
            fix=fix,
        )


def _sdk() -> tuple[Any, Any]:
    try:
        import timm
        import torch
    except ImportError as error:
        raise DependencyError(
            f"{WHO} does not import: {error}", fix="Install it: `pip install 'annoloop[timm]'`."
        ) from error
    return torch, timm
