"""An ONNX file opened with onnxruntime and held against its manifest: pictures in, rows out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.adapters.onnx.manifest import Manifest
from annoloop.errors import DependencyError, InputError, SettingsError
from annoloop.feeding import Canvas

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


class Network:
    """Pictures (n, height, width, 3) uint8 RGB → rows (n, d) float32, not yet of unit length.

    Raises DependencyError without onnxruntime, InputError for a file that is no model, and
    SettingsError where model and manifest contradict each other.
    """

    def __init__(
        self, file: Path, about: Manifest, *, about_file: Path, threads: int, device: str
    ) -> None:
        self._file, self._about, self._about_file = file, about, about_file
        runtime = _sdk()
        self._session = self._opened(runtime, about.output, threads=threads, device=device)
        self._input = self._chosen("input", self._session.get_inputs(), about.input)
        self._output = self._chosen("output", self._session.get_outputs(), about.output).name
        if self._input.type not in _TYPES:
            raise self._contradiction(
                f"input {self._input.name!r} is {self._input.type}, which no picture is",
                f"Name an input of {', '.join(_TYPES)}.",
            )
        shape = list(self._input.shape)
        if len(shape) != 4:
            raise self._contradiction(
                f"input {self._input.name!r} has the shape {shape}, which is no batch of pictures",
                "Name the input that takes images; export the model with one if it has none.",
            )
        if about.layout == "NHWC":
            shape = [shape[0], shape[3], shape[1], shape[2]]
        self.fixed_batch: int | None = shape[0] if isinstance(shape[0], int) else None
        self._check_channels(shape[1])
        self.canvas = self._canvas(shape[2], shape[3])

    def vectors(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Rows of at most `fixed_batch` pictures, where the model fixes it."""
        fed = self._fed(pictures)
        missing = (self.fixed_batch or len(fed)) - len(fed)
        if missing:
            fed = np.concatenate([fed, np.repeat(fed[-1:], missing, axis=0)])
        try:
            (out,) = self._session.run([self._output], {self._input.name: fed})
        except Exception as error:  # onnxruntime's errors have no common base
            raise InputError(
                f"{self._file} fails on {len(fed)} pictures of {self.canvas.width} × "
                f"{self.canvas.height}: {_first_line(error)}",
                fix=f"Correct size and layout in {self._about_file}, or use a smaller batch.",
            ) from error
        return self._pooled(np.asarray(out), len(fed))[: len(pictures)]

    def _opened(self, runtime: Any, output: str | None, *, threads: int, device: str) -> Any:
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        options.use_deterministic_compute = True
        folder = str(self._file.parent.absolute())
        key = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(key, folder)
        providers = self._providers(runtime, device)
        data = self._file.read_bytes()
        try:
            session = runtime.InferenceSession(data, options, providers=providers)
        except Exception as error:  # onnxruntime's errors have no common base
            raise InputError(
                f"{self._file} is not an ONNX model that onnxruntime can load: "
                f"{_first_line(error)}",
                fix="Export or copy it again; update onnxruntime for a model of a newer opset.",
            ) from error
        known = [one.name for one in session.get_outputs()]
        if output is None or output in known:
            return session
        try:
            return runtime.InferenceSession(
                data + extra_output(output), options, providers=providers
            )
        except Exception as error:
            raise self._contradiction(
                f"the model has no tensor {output!r}; its outputs are {', '.join(known)}",
                "Correct `output`, or leave it out where there is one.",
            ) from error

    def _providers(self, runtime: Any, device: str) -> list[str]:
        there = "CUDAExecutionProvider" in runtime.get_available_providers()
        if device == "cuda" and not there:
            raise DependencyError(
                "device = 'cuda', but this onnxruntime cannot use one",
                fix="Install `onnxruntime-gpu` in place of `onnxruntime`, or use device = 'cpu'.",
            )
        chosen = ["CUDAExecutionProvider"] if there and device != "cpu" else []
        return [*chosen, "CPUExecutionProvider"]

    def _chosen(self, kind: str, known: Any, wanted: str | None) -> Any:
        by_name = {one.name: one for one in known}
        if wanted is None and len(known) == 1:
            return known[0]
        if wanted not in by_name:
            what = f"no {kind} {wanted!r}" if wanted else f"{len(known)} {kind}s"
            raise self._contradiction(
                f"the model has {what}; its {kind}s are {', '.join(by_name)}",
                f"Name one of them as `{kind}`.",
            )
        return by_name[wanted]

    def _check_channels(self, fixed: Any) -> None:
        wanted = 1 if self._about.channels == "GRAY" else 3
        for key in ("mean", "std"):
            if len(getattr(self._about, key)) not in (1, wanted):
                raise self._contradiction(
                    f"{key} has {len(getattr(self._about, key))} numbers for "
                    f"{self._about.channels}",
                    f"Give {wanted}, or one for all.",
                )
        if isinstance(fixed, int) and fixed != wanted:
            raise self._contradiction(
                f"input {self._input.name!r} of shape {self._input.shape} has {fixed} channels in "
                f"the layout {self._about.layout}, but {self._about.channels} is {wanted}",
                "Correct `layout` or `channels`.",
            )

    def _canvas(self, height: Any, width: Any) -> Canvas:
        fixed = tuple(one if isinstance(one, int) else None for one in (width, height))
        size = self._about.size
        if size is None:
            if fixed[0] is None or fixed[1] is None:
                raise self._contradiction(
                    f"the model takes pictures of any size ({self._input.shape})",
                    'Say which: "size": [224, 224].',
                )
            size = fixed[0], fixed[1]
        if any(want not in (have, None) for have, want in zip(size, fixed, strict=True)):
            raise self._contradiction(
                f"size is {size[0]} × {size[1]}, but the model fixes the input shape "
                f"{self._input.shape} ({self._about.layout})",
                "Correct `size` ([width, height]) or `layout`, or leave `size` out.",
            )
        return Canvas(*size, self._about.fit)

    def _fed(self, pictures: NDArray[np.uint8]) -> NDArray[Any]:
        """Pictures as the input wants them: channels, numbers, layout, type."""
        kind = _TYPES[self._input.type]
        values: NDArray[Any] = pictures
        if self._about.channels == "BGR":
            values = pictures[..., ::-1]
        elif self._about.channels == "GRAY":
            weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
            values = (pictures @ weights)[..., None]
        if kind is not np.uint8:
            mean, std = (np.array(v, np.float32) for v in (self._about.mean, self._about.std))
            values = (values * np.float32(1 / self._about.divide) - mean) / std
        if self._about.layout == "NCHW":
            values = values.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values, dtype=kind)

    def _pooled(self, out: NDArray[Any], n: int) -> NDArray[np.float32]:
        """The output as rows; raises SettingsError where the pooling does not fit its shape."""
        how = self._about.pooling
        if out.ndim < 2 or len(out) != n or not np.issubdtype(out.dtype, np.floating):
            raise self._contradiction(
                f"output {self._output!r} is {out.dtype} of shape {list(out.shape)} for {n} "
                "pictures, not a row of numbers for each",
                "Name another tensor as `output`.",
            )
        values = out.astype(np.float32)
        if how == "none":
            return values.reshape(n, -1)
        if values.ndim == 4:  # a map of features: places are what is not the channel
            values = values if self._about.layout == "NHWC" else values.transpose(0, 2, 3, 1)
            values = values.reshape(n, -1, values.shape[3])
        if values.ndim != 3:
            raise self._contradiction(
                f"pooling {how!r} has nothing to pool in output {self._output!r} of shape "
                f"{list(out.shape)}",
                'Use "pooling": "none".',
            )
        if how == "first":
            return np.asarray(values[:, 0])
        parts = {"mean": values.mean(axis=1), "max": values.max(axis=1)}
        return np.concatenate([parts[one] for one in how.split("+")], axis=1)

    def _contradiction(self, problem: str, fix: str) -> SettingsError:
        return SettingsError(f"{self._about_file} and {self._file.name}: {problem}", fix=fix)


def extra_output(name: str) -> bytes:
    """Bytes that, put behind an ONNX file, make an inner tensor one more output of its graph.

    Serialised protobuf messages merge when they are joined, so no library is needed: this is
    ModelProto{7: GraphProto{12: ValueInfoProto{1: name}}}.
    """
    value = _field(1, name.encode())
    return _field(7, _field(12, value))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field; its number is below 16, one byte."""
    length, size = bytearray(), len(content)
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + content


def _sdk() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise DependencyError(
            "embedder 'onnx' needs onnxruntime, which is not installed",
            fix="Install it: `pip install 'annoloop[onnx]'`.",
        ) from error
    return onnxruntime


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
