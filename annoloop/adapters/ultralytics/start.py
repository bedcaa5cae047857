"""What training starts from: local weights, an architecture, or an earlier model of ours."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annoloop.errors import SettingsError, TrainerError
from annoloop.networks import digest_file, digest_of

_WHERE = "https://github.com/ultralytics/assets/releases"


@dataclass(frozen=True, slots=True)
class Start:
    """`model` is what Ultralytics is told; `record` what the manifest keeps of it."""

    model: str
    record: dict[str, Any]
    notes: tuple[str, ...] = ()


def local_file(model: str) -> str:
    """The file of weights, or the name of an architecture. Raises SettingsError for what would
    have to be downloaded, with what to fetch and where to put it."""
    path = Path(model).expanduser()
    if path.suffix in (".yaml", ".yml") and "://" not in model:
        return str(path)
    if "://" not in model and path.is_file():
        if path.suffix != ".pt":
            raise SettingsError(
                f"trainer 'ultralytics': {path} is neither weights (.pt) nor an architecture "
                "(.yaml)",
                fix="Name a .pt file of Ultralytics; exported models (.onnx, …) cannot be trained.",
            )
        return str(path)
    name = model.rpartition("/")[2] if "://" in model else str(path)
    target = Path(name if Path(name).suffix else f"{name}.pt")
    raise SettingsError(
        f"trainer 'ultralytics': there are no weights {target.absolute()}, and annoloop downloads "
        "nothing",
        fix=f"Fetch {target.name} yourself (Ultralytics publishes its own at {_WHERE}, AGPL-3.0), "
        f'put it there or set model = "FOLDER/{target.name}" in [train.options]; or train from '
        f'scratch: model = "{target.stem}.yaml".',
    )


def inspected(ultralytics: Any, model: str, classes: Sequence[str]) -> tuple[Any, Start]:
    """The trainer class of Ultralytics that fits the model, and the start to train from."""
    scratch = not model.endswith(".pt")
    try:
        kind = ultralytics.RTDETR if scratch and _is_rtdetr(model) else ultralytics.YOLO
        built = kind(model)
    except Exception as error:  # theirs has many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if scratch:
            raise _no_architecture(ultralytics, model, reason) from error
        raise TrainerError(
            f"{model} cannot be read as weights of Ultralytics: {reason}",
            fix="Fetch the file again, or take the weights of the version that is installed "
            f"({ultralytics.__version__}).",
        ) from error
    if built.task != "detect":
        raise SettingsError(
            f"trainer 'ultralytics': {model} is a model for {built.task!r}, not for boxes",
            fix='Name a detection model, such as "yolo11n.pt" or "rtdetr-l.yaml".',
        )
    trainer = built.task_map["detect"]["trainer"]
    if scratch:
        layers = {key: value for key, value in built.model.yaml.items() if key != "yaml_file"}
        record: dict[str, Any] = {"architecture": Path(model).name, "blake2b": digest_of(layers)}
        return trainer, Start(model, record, (f"trained from scratch ({Path(model).name})",))
    known = list(built.names.values())
    record = {"weights": Path(model).name, "blake2b": digest_file(Path(model)), "classes": known}
    if known == list(classes):
        return trainer, Start(model, record)
    same = sum(name in known for name in classes)
    note = (
        f"{Path(model).name} knows {len(known)} classes, {same} of the {len(classes)} here by "
        "name: the layers that tell classes apart start anew for the others"
    )
    return trainer, Start(model, record, (note,))


def _is_rtdetr(model: str) -> bool:
    from ultralytics.nn.tasks import yaml_model_load

    return "RTDETR" in str(yaml_model_load(model)["head"][-1][2])


def _no_architecture(ultralytics: Any, model: str, reason: str) -> SettingsError:
    root = Path(ultralytics.__file__).parent / "cfg" / "models"
    known = sorted(file.name for file in root.rglob("*.yaml"))
    near = difflib.get_close_matches(Path(model).name, known, n=3)
    return SettingsError(
        f"trainer 'ultralytics': {model} is no architecture: {reason}",
        fix=f"Name a .yaml file, or one that comes with Ultralytics: {', '.join(near or known)}.",
    )
