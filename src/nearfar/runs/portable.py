"""Encoders as programs that run without nearfar, with the normalisation in front.

What a program takes is named: "input" for images (N, C, H, W) and clips (N, C, F, H, W) with pixels
in [0, 1], for series (N, C, T), log-mel bands (N, M, T) and points (N, 3, K) in the units of the
data; "ids" and "mask" for texts; the nodes' values, "edges" and "sizes" or "seeds" for graphs. The
output "features" is float32 (N, D). N is free, and so are lengths that the encoder takes; other
sizes are those of the data. A program cannot raise an error of its own, so an image with pixels
outside [0, 1], such as bytes that were not divided by 255, has features that are not a number.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
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
from nearfar.rows import Parts, Tokens, from_named_tensors, named_tensors

TOLERANCE = 1e-4
"""Largest difference that a written encoder's features may show, relative to the largest feature
where that is above 1.
"""

SERIES_AXES = 3
"""Axes of a batch of series, bands or points."""
_SLACK = 0.05
"""How far pixels may lie outside [0, 1]: resizing overshoots a little."""

Features = Callable[[Any], Any]
"""From raw samples to features (N, D), or to a tuple of what is predicted."""


class Portable(nn.Module):
    """A copy of an encoder with its normalisation in front, on the CPU, in float32 and evaluation
    mode. It takes the tensors that samples are made of, in the order of ``inputs``.

    Args:
        encoder: of several parts the first is taken.
        spec: of the data that the encoder was built for.

    Raises:
        UserError: for samples that are not made of tensors with names.
    """

    outputs: tuple[str, ...] = ("features",)
    """Names of what ``forward`` gives."""

    any_length = False
    """Whether its program takes samples of other lengths, which is known once that is made."""

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
            UserError: For samples that programs do not take.
        """
        self.spec = spec
        self.example = random_samples(spec, 2)
        try:
            self.inputs = tuple(named_tensors(self.example))
        except TypeError as error:
            raise UserError(
                f"Encoders of {spec.modality} data can be exported as safetensors only: their "
                "samples are not made of tensors with names."
            ) from error
        self.is_bounded = modalities.get(spec.modality).scale > 1
        shape = (-1, *(1 for _ in spec.shape[1:]))
        self.mean: Tensor
        self.std: Tensor
        mean, std = _moments(spec)
        self.register_buffer("mean", mean.view(shape))
        self.register_buffer("std", std.view(shape))

    def forward(self, *tensors: Tensor) -> Any:
        samples = self.samples(tensors)
        return self.checked(samples, self.encoder(self.normalised(samples)))

    def of_samples(self, samples: Any) -> Any:
        """What it gives for raw samples."""
        return self(*self.tensors_of(samples))

    def tensors_of(self, samples: Any) -> tuple[Tensor, ...]:
        """What it takes of raw samples."""
        named = named_tensors(samples)
        return tuple(named[name] for name in self.inputs)

    def samples(self, tensors: Sequence[Tensor]) -> Any:
        """The samples that the tensors are."""
        return from_named_tensors(self.example, dict(zip(self.inputs, tensors, strict=True)))

    def normalised(self, samples: Any) -> Any:
        """The samples in plain view."""
        return (samples - self.mean) / self.std if isinstance(samples, Tensor) else samples

    def checked(self, samples: Any, found: Tensor) -> Tensor:
        """What was found, but NaN for samples that lie outside the range of their kind."""
        if not self.is_bounded:
            return found
        pixels = samples.flatten(1)
        is_wrong = (pixels.amin(1) < -_SLACK) | (pixels.amax(1) > 1 + _SLACK)
        return found.masked_fill(is_wrong.view(-1, *(1 for _ in found.shape[1:])), torch.nan)

    def examples(self) -> list[Any]:
        """Samples to compare programs on: in batches of other sizes than the exporter saw, and
        shorter where lengths are free.
        """
        found = [random_samples(self.spec, count) for count in (1, 5)]
        return [*found, shorter_of(found[-1])] if self.any_length else found


def shorter_of(samples: Any) -> Any:
    """The same samples with half of their length; None for samples without a length."""
    if isinstance(samples, Tokens):
        half = (samples.ids.shape[1] + 1) // 2
        return Tokens(samples.ids[:, :half].contiguous(), samples.mask[:, :half].contiguous())
    if isinstance(samples, Tensor) and samples.ndim == SERIES_AXES:
        return samples[:, :, : (samples.shape[2] + 1) // 2].contiguous()
    return None


def takes(spec: Spec, inputs: Sequence[str]) -> str:
    """What a program of these inputs takes, in a sentence."""
    example = random_samples(spec, 1)
    if isinstance(example, Tokens):
        return (
            "ids: int64 (N, L), numbers of tokens by the run's tokenizer, L up to "
            f"{spec.shape[0]}; mask: bool (N, L), false at padding."
        )
    if not isinstance(example, Tensor):
        named = named_tensors(example)
        kinds = [
            f"{name}: {str(value.dtype).removeprefix('torch.')} {_axes(name, value)}"
            for name, value in named.items()
            if name in inputs
        ]
        return f"{', '.join(kinds)}; M nodes, E edges from line 0 to line 1, N samples."
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
            f"float32 {spec.modality} samples ({shape}) with pixels in [0, 1]; others, such as 0 "
            "to 255, give features that are not a number."
        )
    return f"float32 {spec.modality} samples ({shape}) in the units of the data."


def _axes(name: str, value: Tensor) -> str:
    first = {"edges": "2, E", "sizes": "N", "seeds": "N"}.get(name, "M")
    rest = "" if name == "edges" else "".join(f", {size}" for size in value.shape[1:])
    return f"({first}{rest})"


def loading_lines(
    format: str,  # noqa: A002
    path: Path,
    name: str,
    spec: Spec,
    inputs: Sequence[str] = (),
) -> list[str]:
    """Three lines of Python that load what was exported.

    Args:
        format: "safetensors", "onnx" or "torch".
        path: of the file or folder.
        name: of the encoder; weights of a timm model load into timm.
        spec: of the data.
        inputs: what a program takes, by name.
    """
    is_one = tuple(inputs) == ("input",)
    variables = ["x"] if is_one else inputs
    shown = "x: " if is_one else ""
    pairs = zip(inputs, variables, strict=True)
    fed = ", ".join(f'"{name}": {variable}' for name, variable in pairs)
    if format == "onnx":
        load = [
            f"session = onnxruntime.InferenceSession({str(path)!r})",
            f"features = session.run(None, {{{fed}}})[0]",
        ]
        return ["import onnxruntime", *load, f"# {shown}{takes(spec, inputs)}"]
    if format == "torch":
        return [
            "import torch",
            f"model = torch.export.load({str(path)!r}).module()",
            f"features = model({', '.join(variables)})",
            f"# {shown}{takes(spec, inputs)}",
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


def check_features(original: Features, written: Features, examples: Sequence[Any]) -> float:
    """Compare what two functions give for samples.

    Returns:
        The largest difference that was found.

    Raises:
        RuntimeError: if any two differ by more than ``TOLERANCE``.
    """
    worst = 0.0
    for samples in examples:
        with torch.no_grad():
            pairs = zip(_each(written(samples)), _each(original(samples)), strict=True)
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
