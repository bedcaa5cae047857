"""A detection network of TorchVision for our classes: from scratch, or from a local file."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annoloop.errors import DependencyError, SettingsError, TrainerError
from annoloop.networks import LEAST_SCORE, MOST, NetworkOptions, digest_file

FAMILIES = ("fasterrcnn", "retinanet", "fcos", "ssd")
_OURS = ("weights", "weights_backbone", "num_classes", "min_size", "max_size", "progress")
_WHERE = "https://download.pytorch.org/models"
LEAST_SHARE = 0.5
"""Of the tensors of a network, or of its backbone, that weights have to fit."""


@dataclass(frozen=True, slots=True)
class TorchvisionOptions(NetworkOptions):
    """`weights` is a local file of the same architecture, or of its backbone (ImageNet); None
    trains from scratch. `flip` mirrors half of the images; not where left and right matter."""

    epochs: int = 30
    patience: int = 8
    weights: str | None = None
    learning_rate: float = 2e-4
    flip: bool = True


def sdk() -> tuple[Any, Any]:
    """The modules `torch` and `torchvision`. Raises DependencyError without them."""
    try:
        import torch
        import torchvision
    except ImportError as error:
        raise DependencyError(
            f"trainer 'torchvision' does not import: {error}",
            fix="Install it: `pip install 'annoloop[torchvision]'`.",
        ) from error
    return torch, torchvision


def check_options(options: TorchvisionOptions) -> None:
    """Raise SettingsError for an option that is out of range, or weights that are not there."""
    options.check("torchvision")
    rate = options.learning_rate
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise SettingsError(
            f"trainer 'torchvision': learning_rate = {rate!r} is out of range",
            fix="Choose it from 0 to 1; 0.0002 is a start.",
        )
    for key in options.arguments:
        if key in _OURS:
            raise SettingsError(
                f"trainer 'torchvision': arguments.{key} is set by annoloop",
                fix="Remove it; [train.options] has `weights` and `side`.",
            )
    if options.weights is None:
        return
    file = Path(options.weights).expanduser()
    if "://" in options.weights or not file.is_file():
        name = options.weights.rpartition("/")[2]
        target = Path(name) if "://" in options.weights else file
        raise SettingsError(
            f"trainer 'torchvision': there are no weights {target.absolute()}, and annoloop "
            "downloads nothing",
            fix=f"Fetch {name} yourself (TorchVision publishes its own at {_WHERE}; its "
            "documentation names the file of each model), and name the file; or leave `weights` "
            "out to train from scratch.",
        )


def build(options: NetworkOptions, classes: int) -> Any:
    """The network with new weights, in training mode. Raises SettingsError for an unknown name."""
    _, torchvision = sdk()
    known = architectures(torchvision)
    if options.model not in known:
        near = difflib.get_close_matches(options.model, known, n=3)
        raise SettingsError(
            f"trainer 'torchvision': there is no detector {options.model!r}",
            fix=f"Did you mean {near[0]!r}? " if near else f"Known: {', '.join(known)}.",
        )
    _check_arguments(torchvision, options)
    score = "box_score_thresh" if options.model.startswith("faster") else "score_thresh"
    most = "box_detections_per_img" if options.model.startswith("faster") else "detections_per_img"
    how: dict[str, Any] = {score: LEAST_SCORE, most: MOST}
    if not options.model.startswith("ssd"):
        how |= {"min_size": options.side, "max_size": options.side}
    try:
        return torchvision.models.get_model(
            options.model,
            weights=None,
            weights_backbone=None,
            num_classes=classes + 1,
            **(how | options.arguments),
        )
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"trainer 'torchvision': {options.model} does not take these arguments: {error}",
            fix="Correct [train.options.arguments]; TorchVision's documentation lists them.",
        ) from error


def _check_arguments(torchvision: Any, options: NetworkOptions) -> None:
    """TorchVision takes no notice of arguments that it does not know: a typo must not pass."""
    detection = torchvision.models.detection
    kinds = dict(zip(FAMILIES, ("FasterRCNN", "RetinaNet", "FCOS", "SSD"), strict=True))
    family = next(one for one in FAMILIES if options.model.startswith(one))
    module = getattr(detection, {"fasterrcnn": "faster_rcnn"}.get(family, family))
    known = [*inspect.signature(getattr(module, kinds[family])).parameters]
    known = [one for one in known if one not in (*_OURS, "backbone", "kwargs")]
    for key in options.arguments:
        if key not in [*known, "trainable_backbone_layers"]:
            near = difflib.get_close_matches(key, known, n=1)
            raise SettingsError(
                f"trainer 'torchvision': {options.model} does not take {key}",
                fix=f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}.",
            )


def architectures(torchvision: Any) -> list[str]:
    found = torchvision.models.list_models(module=torchvision.models.detection)
    return sorted(name for name in found if name.startswith(FAMILIES))


def take_weights(torch: Any, network: Any, file: Path) -> tuple[dict[str, Any], str]:
    """Copy what fits; what the manifest keeps of it, and a note for people.

    Raises TrainerError for a file that holds no weights, or that fits too little.
    """
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        state = state.get("model", state)
        state = {key: one for key, one in state.items() if torch.is_tensor(one)}
    except Exception as error:  # torch has many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TrainerError(
            f"{file} cannot be read as weights: {reason}",
            fix="Fetch the file again; it has to be a state dict saved by torch.save.",
        ) from error
    own = network.state_dict()
    body = [key for key in own if key.startswith("backbone.body.")]
    whole = {key: one for key, one in state.items() if _fits(own, key, one)}
    inner = {f"backbone.body.{key}": one for key, one in state.items()}
    inner = {key: one for key, one in inner.items() if _fits(own, key, one)}
    counted = [(whole, len(own), "the network"), (inner, len(body), "the backbone")]
    fit, of, what = max(counted, key=lambda one: len(one[0]) / max(one[1], 1))
    if len(fit) < LEAST_SHARE * max(of, 1):
        raise TrainerError(
            f"{file.name} fits {len(fit)} of the {of} tensors of {what}: it is of another "
            "architecture",
            fix="Name the weights of this `model`, or the `model` of these weights.",
        )
    network.load_state_dict(own | fit)
    for layer in _normalisations(torch, network):
        layer.frozen = True  # their statistics are better than those of a few images
    record = {"weights": file.name, "blake2b": digest_file(file), "tensors": len(fit), "of": of}
    anew = "the rest starts anew, such as what tells classes apart"
    return record, f"{file.name} fits {len(fit)} of {of} tensors of {what}; {anew}"


def set_training(torch: Any, network: Any) -> None:
    """Training mode, in which normalisation that came with weights keeps its statistics."""
    network.train()
    for layer in _normalisations(torch, network):
        if getattr(layer, "frozen", False):
            layer.eval()


def _normalisations(torch: Any, network: Any) -> list[Any]:
    return [one for one in network.modules() if isinstance(one, torch.nn.BatchNorm2d)]


def _fits(own: dict[str, Any], key: str, tensor: Any) -> bool:
    return key in own and own[key].shape == tensor.shape
