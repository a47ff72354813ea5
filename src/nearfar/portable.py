"""Encoders as programs that run without nearfar: the normalisation in front, one input, one output.

The input "input" is float32: images (N, C, H, W) with pixels in [0, 1], or series (N, C, T) in the units of the data. The output
"features" is float32 (N, D). N is free, the other sizes are those of the data.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nearfar.batch import Pair, Tokens
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.networks.encoder import Encoder
from nearfar.networks.towers import TwoTowers

TOLERANCE = 1e-4
"""Largest difference that a written encoder's features may show, relative to the largest feature where that is above 1."""

Features = Callable[[Any], Tensor]
"""From raw samples to features (N, D)."""


class Portable(nn.Module):
    """A copy of an encoder of images or series with its normalisation in front, on the CPU, in float32 and evaluation mode.

    Args:
        encoder: of two towers the first is taken.
        spec: of the data that the encoder was built for.

    Raises:
        UserError: for any other modality.
    """

    def __init__(self, encoder: Encoder, spec: Spec) -> None:
        super().__init__()
        if isinstance(encoder, TwoTowers):
            encoder, spec = encoder.first, dataclasses.replace(spec, modality="image")
        if spec.modality not in ("image", "series"):
            raise UserError(f"Encoders of {spec.modality} data can be exported as safetensors only; onnx and torch take images and series.")
        self.spec = spec
        self.encoder = copy.deepcopy(encoder)
        shape = (-1, *(1 for _ in spec.shape[1:]))
        self.mean: Tensor
        self.std: Tensor
        mean, std = _moments(spec)
        self.register_buffer("mean", mean.view(shape))
        self.register_buffer("std", std.view(shape))
        self.to("cpu", torch.float32).eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.encoder((x - self.mean) / self.std)
        return features


def write_onnx(model: Portable, path: Path, description: dict[str, Any]) -> None:
    """Write ``model`` as ONNX (opset 17) with the description, as JSON, under the metadata key "nearfar"."""
    onnx = _extra("onnx")
    batch = {0: "samples"}
    with warnings.catch_warnings():
        # the tracing exporter is deprecated in favour of one that needs a further package
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.onnx|nearfar\.portable")
        # what tracing takes for a constant is one: all sizes but the batch's, whose freedom is checked afterwards
        warnings.filterwarnings("ignore", message="Converting a tensor to a Python")
        torch.onnx.export(
            model, (random_samples(model.spec, 2),), path, dynamo=False, opset_version=17,
            input_names=["input"], output_names=["features"], dynamic_axes={"input": batch, "features": batch},
        )
    written = onnx.load(path)
    onnx.helper.set_model_props(written, {"nearfar": json.dumps(description)})
    onnx.save(written, path)


def read_onnx(path: Path) -> Features:
    """The features of an ONNX file, computed by onnxruntime."""
    session = _extra("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"input": x.numpy()})[0])


def write_program(model: Portable, path: Path, description: dict[str, Any]) -> None:
    """Write ``model`` as ``torch.export`` does, with the description as the extra file "nearfar.json"."""
    batch = {0: torch.export.Dim("samples")}
    program = torch.export.export(model, (random_samples(model.spec, 2),), dynamic_shapes=(batch,))
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={"nearfar.json": json.dumps(description)})


def read_program(path: Path) -> Features:
    """The features of a file that ``write_program`` wrote."""
    with path.open("rb") as file:
        module: Features = torch.export.load(file).module()
    return module


def check_features(original: Features, written: Features, spec: Spec) -> None:
    """Compare features of random samples, in batches of other sizes than the exporter saw.

    Raises:
        RuntimeError: if any two differ by more than ``TOLERANCE``.
    """
    for samples in (1, 5):
        x = random_samples(spec, samples)
        with torch.no_grad():
            expected, found = original(x), written(x)
        difference, largest = float((found - expected).abs().max()), float(expected.abs().max())
        if not difference <= TOLERANCE * max(1.0, largest):
            raise RuntimeError(
                f"The exported encoder's features differ from the original's by up to {difference:.2g} where the largest is {largest:.2g}; "
                f"allowed is {TOLERANCE * max(1.0, largest):.1g}."
            )


def random_samples(spec: Spec, samples: int) -> Any:
    """Made-up raw samples of the right shape and scale, always the same."""
    generator = torch.Generator().manual_seed(0)
    if spec.modality == "image-text":
        parts = (dataclasses.replace(spec, modality=part) for part in ("image", "text"))
        return Pair(*(random_samples(part, samples) for part in parts))
    if spec.modality == "text":
        ids = torch.randint(spec.vocabulary, (samples, spec.context), generator=generator)
        return Tokens(ids, torch.ones_like(ids, dtype=torch.bool))
    if spec.modality in ("image", "video"):
        return torch.rand(samples, *spec.shape, generator=generator)
    mean, std = _moments(spec)
    return torch.randn(samples, *spec.shape, generator=generator) * std.view(-1, 1) + mean.view(-1, 1)


def _moments(spec: Spec) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation by channel; 0 and 1 where the spec has none."""
    return torch.tensor(spec.mean or (0.0,)), torch.tensor(spec.std or (1.0,))


def _extra(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"The format onnx needs {module}, which is not installed: pip install 'nearfar[export]'.") from error
