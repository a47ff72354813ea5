"""Condensation: a few made images whose gradients are those of a whole data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from nearfar.errors import unknown_name

__all__ = ["condensation_loss", "condensation_mode", "gradient_distance"]

_LEAST = 1e-6
"""Added to each product of lengths."""

Mode = Literal["collective", "by-class"]


def gradient_distance(
    synthetic: Sequence[Tensor], real: Sequence[Tensor], *, kind: str = "rows"
) -> Tensor:
    """How far two gradients of the same parameters are apart.

        rows     sum over parameters of two axes or more, over their rows a, b (the first axis):
                 1 - a . b / (|a| |b| + 1e-6)
        squared  |a - b|^2 over all numbers
        cosine   1 - a . b / (|a| |b| + 1e-6) over all numbers

    Args:
        synthetic: Gradients of the made images, by parameter.
        real: Gradients of real images, in the same order and shapes.
        kind: "rows", "squared" or "cosine".

    Example:
        >>> import torch
        >>> a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
        >>> gradient_distance([a], [b]), gradient_distance([a], [b], kind="squared")
        (tensor(1.), tensor(5.))

    Source: Zhao et al. 2021, "Dataset Condensation with Gradient Matching", equation 10, in the
    authors' code.
    """
    if kind not in ("rows", "squared", "cosine"):
        raise unknown_name("kind of gradient distance", kind, ["rows", "squared", "cosine"])
    shapes = [tuple(one.shape) for one in synthetic]
    if not shapes or shapes != [tuple(one.shape) for one in real]:
        found = f"{len(shapes)} of shapes {shapes[:3]} and {[tuple(one.shape) for one in real][:3]}"
        raise ValueError(
            f"Two gradients must have the same parameters, at least one; found {found}."
        )
    if kind == "rows":
        pairs = [
            (a.flatten(1), b.flatten(1)) for a, b in zip(synthetic, real, strict=True) if a.ndim > 1
        ]
        if not pairs:
            return torch.stack([0 * one.sum() for one in synthetic]).sum()
        return torch.stack([_apart(a, b).sum() for a, b in pairs]).sum()
    one, other = (torch.cat([part.flatten() for part in parts]) for parts in (synthetic, real))
    return (one - other).square().sum() if kind == "squared" else _apart(one, other)


def condensation_loss(
    synthetic: Sequence[Tensor],
    real: Sequence[Tensor],
    parameters: Sequence[Tensor],
    *,
    mode: Mode = "collective",
    kind: str = "rows",
) -> Tensor:
    """Made images must give the gradient that real ones give.

        by-class    sum over classes c of distance( grad l_c(made), grad l_c(real) )
        collective  distance( grad mean_c l_c(made), grad mean_c l_c(real) )

    In the collective form what all classes have in common cancels and contrasts remain.

    Args:
        synthetic: Mean cross-entropy of the made images of each class, with their graph.
        real: Mean cross-entropy of real images of each class; their gradients are constants.
        parameters: Of the network.
        mode: "collective" (DCC) or "by-class" (DC).
        kind: As in ``gradient_distance``.

    Example:
        >>> import torch
        >>> w, x = torch.ones(1, 2, requires_grad=True), torch.ones(2, requires_grad=True)
        >>> made, real = (w @ x).square().sum(), (w @ torch.tensor([1.0, -3.0])).sum()
        >>> condensation_loss([made], [real], [w])
        tensor(1.4472, grad_fn=<SumBackward0>)

    Source: Lee et al. 2022, "Dataset Condensation with Contrastive Signals", equations 5 and 6;
    Zhao et al. 2021.
    """
    if mode not in ("collective", "by-class"):
        raise unknown_name("mode of condensation", mode, ["collective", "by-class"])
    if not synthetic or len(synthetic) != len(real):
        raise ValueError(f"Losses of the same classes; found {len(synthetic)} and {len(real)}.")
    if mode == "collective":
        pairs = [(torch.stack(tuple(synthetic)).mean(), torch.stack(tuple(real)).mean())]
    else:
        pairs = list(zip(synthetic, real, strict=True))
    distances = []
    for made, given in pairs:
        wanted = torch.autograd.grad(given, parameters, retain_graph=True)
        found = torch.autograd.grad(made, parameters, create_graph=True)
        distances.append(gradient_distance(found, [one.detach() for one in wanted], kind=kind))
    return torch.stack(distances).sum()


def condensation_mode(
    outer: int, inner: int, *, outer_warmup: int = 250, inner_warmup: int = 10
) -> Mode:
    """The form of ``condensation_loss`` at a step: collective once either warm-up is over.

    >>> condensation_mode(0, 0), condensation_mode(250, 0), condensation_mode(0, 10)
    ('by-class', 'collective', 'collective')

    Source: Lee et al. 2022, section 4.2.
    """
    return "collective" if outer >= outer_warmup or inner >= inner_warmup else "by-class"


def _apart(a: Tensor, b: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(a, dim=-1) * torch.linalg.vector_norm(b, dim=-1)
    return 1 - (a * b).sum(dim=-1) / (lengths + _LEAST)
