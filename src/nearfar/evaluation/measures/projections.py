"""What a method's heads make of features: the space in which it compares, which can collapse while
the features do not.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.modules.conv import _ConvNd

from nearfar.evaluation.features import View, extract
from nearfar.methods.method import Method
from nearfar.networks.heads import DinoHead
from nearfar.networks.projections import Projections

_MOST = 512  # samples


def mean_cosine(rows: Tensor) -> float:
    """Mean cosine of different rows (N, D), N at least 2: 1 where all point the same way, about 0
    where they fill the sphere.
    """
    unit = normalize(rows.double(), dim=1)
    count = len(unit)
    return float((unit.sum(0).square().sum() - unit.square().sum()) / (count * (count - 1)))


def heads(method: Method) -> dict[str, nn.Module]:
    """The parts of a method that take its encoder's features and learn, by name; of a hosted method
    too.
    """
    found: dict[str, nn.Module] = {}
    for name, part in method.named_children():
        if isinstance(part, Method):
            found |= {f"{name}.{inner}": head for inner, head in heads(part).items()}
        elif isinstance(part, Projections):
            # An encoder of several parts gives the features of its first.
            first = next(iter(part.by_part))
            found[f"{name}.{first}"] = part.by_part[first]
        elif (
            part is not method.encoder
            and not _holds(part, method.encoder)
            and _takes(part) == method.encoder.dimension
            and _takes_features_alone(part)
        ):
            found[name] = part
    return found


def _holds(part: nn.Module, other: nn.Module) -> bool:
    return any(module is other for module in part.modules())


def _takes_features_alone(part: nn.Module) -> bool:
    """Whether a part needs one argument; a decoder that must know which patches stayed needs
    two.
    """
    given = inspect.signature(part.forward).parameters.values()
    needed = [
        one
        for one in given
        if one.default is one.empty and one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    return len(needed) <= 1


def _takes(part: nn.Module) -> int:
    """The width of the first linear layer of a part that learns; 0 for others, for lists of
    networks, and for networks with convolutions, which take maps.
    """
    if isinstance(part, nn.ModuleList | nn.ModuleDict) or not any(
        p.requires_grad for p in part.parameters()
    ):
        return 0
    if any(isinstance(module, _ConvNd) for module in part.modules()):
        return 0
    first = next((module for module in part.modules() if isinstance(module, nn.Linear)), None)
    return 0 if first is None else first.in_features


def _compared(method: Method, head: nn.Module, output: Any) -> Any:
    """What is compared of a head's output: of logits over prototypes the distribution, which may be
    flat however logits point.
    """
    if not isinstance(head, DinoHead):
        return output
    return (output / getattr(method.settings, "student_temperature", 1.0)).softmax(dim=1)


class ProjectionProbe:
    """The mean cosine of different samples in each head's output, always of the same training
    samples.

    Args:
        source: the data.
        view: from samples to what the encoder takes.
        device: of the method.
    """

    def __init__(self, source: Any, view: View, device: torch.device | str = "cpu") -> None:
        count = min(_MOST, len(source.train))
        self.samples = source.train.subset(
            torch.randperm(len(source.train), generator=torch.Generator().manual_seed(0))[:count]
        )
        self.view = view
        self.device = device

    @torch.no_grad()
    def __call__(self, method: Method) -> dict[str, float]:
        """By the head's name; the method is in evaluation mode. Empty where it has none, or
        features of its own making.
        """
        found = heads(method)
        if not found or type(method).encode is not Method.encode or len(self.samples) < 2:
            return {}
        features = extract(method.encode, self.samples, self.view, device=self.device)
        made = {name: _compared(method, head, head(features)) for name, head in found.items()}
        return {
            name: mean_cosine(value)
            for name, value in made.items()
            if isinstance(value, Tensor) and value.ndim == 2
        }
