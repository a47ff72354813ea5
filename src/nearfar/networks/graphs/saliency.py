"""How much scores of graphs depend on each node: the gradient times the input."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["saliency"]


def saliency(scores: Callable[[Tensor], Tensor], x: Tensor, graph: Tensor, graphs: int) -> Tensor:
    """The length of each node's gradient times its input, by graph at most 1.

        v_i = |x_i * dS / dx_i|, divided by the largest of its graph;  S: the sum of all scores

    Args:
        scores: From nodes (M, D) to scores of any shape.
        x: (M, D).
        graph: (M,) int64, the graph of each node.
        graphs: Number of graphs.

    Returns:
        (M,) from 0 to 1.

    Example:
        >>> x = torch.tensor([[2.0], [4.0]])
        >>> saliency(lambda x: 3 * x, x, torch.tensor([0, 0]), 1)
        tensor([0.5000, 1.0000])

    Source: Simonyan et al. 2014, "Deep Inside Convolutional Networks", times the input.
    """
    with torch.enable_grad():
        given = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(scores(given).sum(), given)
    length: Tensor = (slope * x.detach()).norm(dim=1)
    most: Tensor = length.new_zeros(graphs).scatter_reduce(0, graph, length, "amax")
    return length / most[graph].clamp(min=torch.finfo(length.dtype).tiny)
