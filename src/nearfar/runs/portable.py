"""Encoders as programs that run without nearfar: the normalisation in front, one input, one output.

The input "input" is float32: images (N, C, H, W) with pixels in [0, 1], or series (N, C, T) in the
units of the data. The output "features" is float32 (N, D). N is free, the other sizes are those of
the data. A program cannot raise an error of its own, so an image with pixels outside [0, 1], such
as bytes that were not divided by 255, has features that are not a number.
"""

from __future__ import annotations

import copy
import importlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nearfar import modalities, own
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.networks.catalogue import PRETRAINED, TIMM
from nearfar.networks.encoder import Encoder
from nearfar.networks.towers import Towers
from nearfar.rows import Parts

TOLERANCE = 1e-4
"""Largest difference that a written encoder's features may show, relative to the largest feature
where that is above 1.
"""

_SLACK = 0.05
"""How far pixels may lie outside [0, 1]: resizing overshoots a little."""

Features = Callable[[Any], Any]
"""From raw samples to features (N, D), or to a tuple of what is predicted."""


class Portable(nn.Module):
    """A copy of an encoder of images or series with its normalisation in front, on the CPU, in
    float32 and evaluation mode.

    Args:
        encoder: of several parts the first is taken.
        spec: of the data that the encoder was built for.

    Raises:
        UserError: for any other modality.
    """

    outputs: tuple[str, ...] = ("features",)
    """Names of what ``forward`` gives."""

    def __init__(self, encoder: Encoder, spec: Spec) -> None:
        super().__init__()
        if isinstance(encoder, Towers):
            name = next(iter(encoder.parts))
            encoder = encoder.part(name)
            spec = spec.parts[name]
        self._take(spec)
        self.encoder = copy.deepcopy(encoder)
        self.to("cpu", torch.float32).eval().requires_grad_(False)

    def _take(self, spec: Spec) -> None:
        """Keep what samples look like and how they are normalised.

        Raises:
            UserError: For a modality that programs do not take.
        """
        if not modalities.get(spec.modality).exported:
            able = [one for one in modalities.names() if modalities.get(one).exported]
            raise UserError(
                f"Encoders of {spec.modality} data can be exported as safetensors only; onnx and "
                f"torch take {' and '.join(able)} data."
            )
        self.is_bounded = modalities.get(spec.modality).scale > 1
        self.spec = spec
        shape = (-1, *(1 for _ in spec.shape[1:]))
        self.mean: Tensor
        self.std: Tensor
        mean, std = _moments(spec)
        self.register_buffer("mean", mean.view(shape))
        self.register_buffer("std", std.view(shape))

    def forward(self, x: Tensor) -> Any:
        return self.checked(x, self.encoder(self.normalised(x)))

    def normalised(self, x: Tensor) -> Tensor:
        """The samples in plain view."""
        return (x - self.mean) / self.std

    def checked(self, x: Tensor, found: Tensor) -> Tensor:
        """What was found, but NaN for samples that lie outside the range of their kind."""
        if not self.is_bounded:
            return found
        pixels = x.flatten(1)
        is_wrong = (pixels.amin(1) < -_SLACK) | (pixels.amax(1) > 1 + _SLACK)
        return found.masked_fill(is_wrong.view(-1, *(1 for _ in found.shape[1:])), torch.nan)


def takes(spec: Spec) -> str:
    """What the program takes, in a sentence."""
    shape = ", ".join(map(str, ("N", *spec.shape)))
    if modalities.get(spec.modality).scale > 1:
        if "range" in spec.extra:
            least, largest = spec.extra["range"]
            return (
                f"float32 {spec.modality}s ({shape}) with pixels in [0, 1], which the values "
                f"{least:g} to {largest:g} of the data become: (x - {least:g}) / "
                f"{largest - least:g}."
            )
        return (
            f"float32 {spec.modality}s ({shape}) with pixels in [0, 1]; others, such as 0 to 255, "
            "give features that are not a number."
        )
    return f"float32 {spec.modality} ({shape}) in the units of the data."


def loading_lines(format: str, path: Path, name: str, spec: Spec) -> list[str]:  # noqa: A002
    """Three lines of Python that load what was exported.

    Args:
        format: "safetensors", "onnx" or "torch".
        path: of the file or folder.
        name: of the encoder; weights of a timm model load into timm.
        spec: of the data.
    """
    if format == "onnx":
        load = [
            f"session = onnxruntime.InferenceSession({str(path)!r})",
            'features = session.run(None, {"input": x})[0]',
        ]
        return ["import onnxruntime", *load, f"# x: {takes(spec)}"]
    if format == "torch":
        return [
            "import torch",
            f"model = torch.export.load({str(path)!r}).module()",
            "features = model(x)",
            f"# x: {takes(spec)}",
        ]
    if name.startswith(TIMM):
        bare = name.removeprefix(TIMM).removesuffix(PRETRAINED)
        made = f"model = timm.create_model({bare!r}, num_classes=0, in_chans={spec.shape[0]})"
        weights = str(path / "encoder.safetensors")
        return [
            "import timm, safetensors.torch",
            made,
            f"model.load_state_dict(safetensors.torch.load_file({weights!r}))",
        ]
    if own.is_own(name):
        weights = str(path / "encoder.safetensors")
        return [
            "import safetensors.torch",
            "# model: the same module of your own",
            f"model.load_state_dict(safetensors.torch.load_file({weights!r}))",
        ]
    return [
        "from nearfar.runs.encoder_files import load_encoder",
        f"encoder, card = load_encoder({str(path)!r})",
        "features = encoder(x)",
    ]


def write_onnx(model: Portable, path: Path, description: dict[str, Any]) -> None:
    """Write ``model`` as ONNX (opset 17) with the description, as JSON, under the metadata key
    "nearfar".
    """
    onnx = _extra("onnx")
    batch = {0: "samples"}
    with warnings.catch_warnings():
        # the tracing exporter is deprecated in favour of one that needs a further package
        warnings.filterwarnings(
            "ignore", category=DeprecationWarning, module=r"torch\.onnx|nearfar\.runs\.portable"
        )
        # what tracing takes for a constant is one: all sizes but the batch's, whose freedom is
        # checked afterwards
        warnings.filterwarnings("ignore", message="Converting a tensor to a Python")
        torch.onnx.export(
            model,
            (random_samples(model.spec, 2),),
            path,
            dynamo=False,
            opset_version=17,
            input_names=["input"],
            output_names=list(model.outputs),
            dynamic_axes=dict.fromkeys(("input", *model.outputs), batch),
        )
    written = onnx.load(path)
    written.graph.input[0].doc_string = takes(model.spec)
    onnx.helper.set_model_props(written, {"nearfar": json.dumps(description)})
    onnx.save(written, path)


def read_onnx(path: Path) -> Features:
    """What an ONNX file gives, computed by onnxruntime."""
    session = _extra("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(x: Tensor) -> Any:
        found = [torch.from_numpy(one) for one in session.run(None, {"input": x.numpy()})]
        return found[0] if len(found) == 1 else tuple(found)

    return run


def write_program(model: Portable, path: Path, description: dict[str, Any]) -> None:
    """Write ``model`` as ``torch.export`` does, with the description as the extra file
    "nearfar.json".
    """
    batch = {0: torch.export.Dim("samples")}
    program = torch.export.export(model, (random_samples(model.spec, 2),), dynamic_shapes=(batch,))
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={"nearfar.json": json.dumps(description)})


def read_program(path: Path) -> Features:
    """The features of a file that ``write_program`` wrote."""
    with path.open("rb") as file:
        module: Features = torch.export.load(file).module()
    return module


def check_features(original: Features, written: Features, spec: Spec) -> float:
    """Compare features of random samples, in batches of other sizes than the exporter saw.

    Returns:
        The largest difference that was found.

    Raises:
        RuntimeError: if any two differ by more than ``TOLERANCE``.
    """
    worst = 0.0
    for samples in (1, 5):
        x = random_samples(spec, samples)
        with torch.no_grad():
            pairs = zip(_each(written(x)), _each(original(x)), strict=True)
        worst = max(worst, *(_difference(found, expected) for found, expected in pairs))
    return worst


def _each(found: Any) -> tuple[Tensor, ...]:
    return found if isinstance(found, tuple) else (found,)


def _difference(found: Tensor, expected: Tensor) -> float:
    difference = float((found - expected).abs().max())
    largest = float(expected.abs().max())
    if not difference <= TOLERANCE * max(1.0, largest):
        raise RuntimeError(
            "The exported encoder's features differ from the original's by up to "
            f"{difference:.2g} where the largest is {largest:.2g}; "
            f"allowed is {TOLERANCE * max(1.0, largest):.1g}."
        )
    return difference


def random_samples(spec: Spec, samples: int) -> Any:
    """Made-up raw samples of the right shape and scale, always the same."""
    generator = torch.Generator().manual_seed(0)
    raw = modalities.toy_of(spec, samples, generator)
    return _unscaled(raw, spec)


def _unscaled(raw: Any, spec: Spec) -> Any:
    """Raw values divided by their scale, where they are numbers."""
    if isinstance(raw, Parts):
        return Parts({name: _unscaled(raw[name], part) for name, part in spec.parts.items()})
    scale = modalities.get(spec.modality).scale
    return raw.float() / scale if scale > 1 else raw


def _moments(spec: Spec) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation by channel; 0 and 1 where the spec has none."""
    return torch.tensor(spec.mean or (0.0,)), torch.tensor(spec.std or (1.0,))


def _extra(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"The format onnx needs {module}, which is not installed: pip install "
            "'nearfar[export]'."
        ) from error
