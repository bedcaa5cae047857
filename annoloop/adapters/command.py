"""The trainer that is any program: data as files, everything else as environment variables.

docs/trainers.md is the contract, with a complete example.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from annoloop.core.documents import coco_document, read_detections, yolo_lines, yolo_yaml
from annoloop.errors import DependencyError, InputError, SettingsError, TrainerError
from annoloop.images import place
from annoloop.ports import Progress
from annoloop.records import Detection, LabeledImage, ModelCard

MANIFEST, LOG = "command.json", "log.txt"
FORMAT = "annoloop-command-1"

_TAIL_LINES, _TAIL_BYTES = 15, 8192
_LOOK_EVERY = 0.5


class CommandTrainer:
    """Runs `command` to train and to predict.

    `command` is split like a shell would, but no shell runs; `timeout` is in seconds for each run,
    None for no limit; `cwd` is the folder to run in, by default the current one.
    """

    def __init__(
        self,
        command: str | Sequence[str],
        *,
        timeout: float | None = None,
        cwd: str | None = None,
    ) -> None:
        try:
            words = shlex.split(command) if isinstance(command, str) else list(command)
        except ValueError as error:
            raise SettingsError(
                f"trainer 'command': {command!r} cannot be split into words: {error}",
                fix='Close the quotes, or give a list: command = ["python", "train.py"].',
            ) from error
        if not words or not all(isinstance(word, str) and word for word in words):
            raise SettingsError(
                f"trainer 'command': {command!r} names no program",
                fix='Name one in annoloop.toml, [train.options]: command = "python train.py".',
            )
        if timeout is not None and not timeout > 0:
            raise SettingsError(
                f"trainer 'command': timeout = {timeout} is not above 0",
                fix="Give seconds, or leave it out for no limit.",
            )
        self._words = words
        self._timeout = timeout
        self._cwd = cwd

    def fit(
        self,
        images: Sequence[LabeledImage],
        *,
        classes: Sequence[str],
        folder: Path,
        seed: int,
        progress: Progress,
    ) -> ModelCard:
        """Write `folder`/data, run the program with ANNOLOOP_TASK=fit, keep `folder`/model.

        Raises TrainerError without images or boxes, for an exit code other than 0, a run over the
        time limit and an empty model folder; DependencyError for a program that is not there.
        """
        started = time.perf_counter()
        boxes = sum(not label.ignored for image in images for label in image.labels)
        if not boxes:
            raise TrainerError(
                f"none of the {len(images)} training images holds a box",
                fix="Annotate images that show at least one object.",
            )
        folder = folder.absolute()
        data, model = folder / "data", folder / "model"
        for old in (data, model, folder / "predict"):
            shutil.rmtree(old, ignore_errors=True)
        for old in (folder / MANIFEST, folder / LOG):
            old.unlink(missing_ok=True)
        _write_data(data, images, classes)
        model.mkdir()
        variables = {
            "ANNOLOOP_TASK": "fit",
            "ANNOLOOP_DATA": str(data),
            "ANNOLOOP_MODEL": str(model),
            "ANNOLOOP_SEED": str(seed),
            "ANNOLOOP_CLASSES": json.dumps(list(classes)),
        }
        self._run(variables, folder / LOG, progress)
        if not model.is_dir() or not any(model.iterdir()):
            raise TrainerError(
                f"{shlex.join(self._words)} ended well but left nothing in {model}",
                fix="Write the model, or a note of where it is, into the folder ANNOLOOP_MODEL.",
            )
        _write_json(folder / MANIFEST, {"format": FORMAT, "classes": list(classes)})
        details = {"command": self._words, "images": len(images), "boxes": boxes, "seed": seed}
        return ModelCard("command", str(folder), time.perf_counter() - started, details)

    def predict(
        self,
        folder: Path,
        images: Sequence[LabeledImage],
        *,
        classes: Sequence[str],
        progress: Progress,
    ) -> Iterator[tuple[str, tuple[Detection, ...]]]:
        """Run the program once with ANNOLOOP_TASK=predict for all images; check what it wrote.

        Raises TrainerError like `fit`, and for detections that are missing or wrong, naming the
        row; InputError for an image file that is gone.
        """
        folder = folder.absolute()
        _check_manifest(folder / MANIFEST, classes)
        if not images:
            return iter(())
        asked = folder / "predict"
        shutil.rmtree(asked, ignore_errors=True)
        asked.mkdir()
        _write_json(asked / "images.json", _asked(images, asked / "images"))
        out = asked / "detections.json"
        variables = {
            "ANNOLOOP_TASK": "predict",
            "ANNOLOOP_MODEL": str(folder / "model"),
            "ANNOLOOP_IMAGES": str(asked / "images.json"),
            "ANNOLOOP_OUT": str(out),
            "ANNOLOOP_CLASSES": json.dumps(list(classes)),
        }
        self._run(variables, folder / LOG, progress)
        found = read_detections(_read_json(out), images, classes=classes, source=str(out))
        return iter([(i.sample_id, one) for i, one in zip(images, found, strict=True)])

    def _run(self, variables: Mapping[str, str], log: Path, progress: Progress) -> None:
        """Run the program to its end, its output added to the log; kill its whole group if not."""
        what = f"{variables['ANNOLOOP_TASK']}: {shlex.join(self._words)}"
        with log.open("ab") as output:
            output.write(f"== {what}\n".encode())
            output.flush()
            start = output.tell()
            try:
                process = subprocess.Popen(
                    self._words,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self._cwd,
                    env={**os.environ, **variables},
                    start_new_session=True,
                )
            except OSError as error:
                raise DependencyError(
                    f"{what}: the program cannot be started: {error}",
                    fix="Install it, or correct `command` and `cwd` in [train.options].",
                ) from error
            try:
                code = self._wait(process, log, start, progress)
            except BaseException:  # whatever ends us early must not leave a training run behind
                _kill(process)
                raise
        tail = _tail(log, start)
        if code is None:
            raise TrainerError(
                f"{what}: still running after {self._timeout:g} seconds, and was stopped{tail}",
                fix=f"Raise `timeout` in [train.options], or see {log} for what it waited for.",
            )
        if code:
            how = f"ended with exit code {code}" if code > 0 else f"was killed by signal {-code}"
            raise TrainerError(f"{what}: {how}{tail}", fix=f"Mend the program; its log is {log}.")
        progress(1, 1, what)

    def _wait(
        self, process: subprocess.Popen[bytes], log: Path, start: int, progress: Progress
    ) -> int | None:
        """The exit code, or None if the time ran out; tells the last line of the log meanwhile."""
        end = None if self._timeout is None else time.monotonic() + self._timeout
        while True:
            left = _LOOK_EVERY if end is None else min(_LOOK_EVERY, end - time.monotonic())
            try:
                return process.wait(timeout=max(left, 0))
            except subprocess.TimeoutExpired:
                if end is not None and time.monotonic() >= end:
                    _kill(process)
                    return None
            progress(0, 1, (_tail(log, start, lines=1) or "running").strip())


def _kill(process: subprocess.Popen[bytes]) -> None:
    # Started as the leader of its own group, so that its data loaders end with it.
    with contextlib.suppress(ProcessLookupError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _tail(log: Path, start: int, *, lines: int = _TAIL_LINES) -> str:
    """The last lines that the program wrote, each on its own line; nothing if it wrote nothing, or
    if it removed its log."""
    if not log.is_file():
        return ""
    with log.open("rb") as stream:
        end = stream.seek(0, os.SEEK_END)
        stream.seek(max(start, end - _TAIL_BYTES))
        text = stream.read().decode("utf-8", errors="replace")
    last = [line for line in text.splitlines() if line.strip()][-lines:]
    return "".join(f"\n  | {line}" for line in last)


def _write_data(data: Path, images: Sequence[LabeledImage], classes: Sequence[str]) -> None:
    """annotations.json (COCO) and data.yaml, images/, labels/ (YOLO) of the same images."""
    names = [f"images/{image.sample_id}{Path(image.path).suffix}" for image in images]
    (data / "images").mkdir(parents=True)
    (data / "labels").mkdir()
    for image, name in zip(images, names, strict=True):
        place(image.file, data / name)
        label_file = data / "labels" / f"{image.sample_id}.txt"
        label_file.write_text(yolo_lines(image), encoding="utf-8")
    _write_json(data / "annotations.json", coco_document(images, classes=classes, names=names))
    (data / "data.yaml").write_text(yolo_yaml(classes), encoding="utf-8")


def _asked(images: Sequence[LabeledImage], copies: Path) -> list[dict[str, Any]]:
    """What ANNOLOOP_IMAGES lists; images that lie in remote storage are fetched into `copies`."""
    rows = []
    for number, image in enumerate(images, start=1):
        if "://" in image.file:
            file = copies / f"{image.sample_id}{Path(image.path).suffix}"
            place(image.file, file)
        else:
            file = Path(image.file).absolute()
            if not file.is_file():
                raise InputError(f"{file}: there is no such file", fix="Correct the path.")
        rows.append(
            {
                "id": number,
                "sample_id": image.sample_id,
                "file": str(file),
                "width": image.width,
                "height": image.height,
            }
        )
    return rows


def _write_json(file: Path, document: object) -> None:
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TrainerError(
            f"{file}: the program ended well but wrote no detections",
            fix="Write them to the file that ANNOLOOP_OUT names; [] if there is none.",
        ) from None
    except OSError as error:
        raise TrainerError(
            f"{file} cannot be read: {error}",
            fix="Write the detections to a plain file of this name.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise TrainerError(
            f"{file} is not JSON: {error}", fix="Write one JSON list of detections."
        ) from error


def _check_manifest(file: Path, classes: Sequence[str]) -> None:
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainerError(
            f"{file.parent} holds no model of the trainer 'command': {error}",
            fix="Use the trainer that made the model, or train again: `annoloop train`.",
        ) from error
    known = manifest.get("classes") if isinstance(manifest, dict) else None
    if known != list(classes):
        raise TrainerError(
            f"the model in {file.parent} was trained for the classes {known}, not {list(classes)}",
            fix="Train again: `annoloop train`.",
        )
