"""Several heads side by side, and the learned temperature of a pair of their outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from nearfar.losses.instance.multi_head import pair_temperature
from nearfar.networks.heads import mlp
from nearfar.ranges import above, at_least, check_order, whole_number


@dataclass(frozen=True)
class HeadSettings:
    """What methods with several heads and learned temperatures share.

    Attributes:
        heads: C, number of heads.
        lowest: smallest temperature, above 0; the released sketch has 1e-5, with which the loss can
            fall to -1e5.
        highest: largest temperature, above ``lowest``.
        beta: weight of the temperatures' regulariser, at least 0.
    """

    heads: Annotated[int, whole_number(1, 64)] = 3
    lowest: Annotated[float, above(0)] = 0.05
    highest: Annotated[float, above(0)] = 2.0
    beta: Annotated[float, at_least(0)] = 0.1

    def __post_init__(self) -> None:
        check_order(self, "lowest", "highest")


class MultiHead(nn.Module):
    """``count`` heads of one architecture, each with its own weights.

    Args:
        count: C, at least 1.
        make: gives one fresh head, from (N, E) to (N, D).
    """

    def __init__(self, count: int, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(make() for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D), from (N, E), which every head sees, or from (N, C, E), of which each head sees
        its part.
        """
        parts = x.unbind(1) if x.ndim == 3 else [x] * len(self.heads)
        return torch.stack(
            [head(part) for head, part in zip(self.heads, parts, strict=True)], dim=1
        )


class PairTemperature(nn.Module):
    """A temperature for each pair of unit vectors, in [lowest, highest], learned.

        tau(a, b) = lowest + (highest - lowest) sigmoid( <phi(a), phi(b)> )

    with one small network phi for all heads and views. The authors' released sketch has, instead of
    the product, a network for
    each head that sees both vectors at once: ``heads`` above 0 selects it. Only that can make close
    pairs cold: <phi(a), phi(a)> is never negative, so the product gives equal vectors at least the
    middle of the range.

    Args:
        dimension: of the vectors.
        lowest: above 0.
        highest: above ``lowest``.
        hidden: width of the network's hidden layer.
        heads: number C of networks of the released sketch; 0: the shared one.

    Source: Wang et al. 2024, "Adaptive Multi-head Contrastive Learning", section 3.3.
    """

    def __init__(
        self, dimension: int, lowest: float, highest: float, *, hidden: int = 128, heads: int = 0
    ) -> None:
        super().__init__()
        self.lowest = lowest
        self.highest = highest
        sizes = (2 * dimension, hidden, 1) if heads else (dimension, hidden, dimension)
        self.networks = nn.ModuleList(mlp(sizes, hidden_norm=False) for _ in range(max(1, heads)))
        self.joint = heads > 0

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(C, ...) from two tensors (C, ..., dimension) that broadcast with one another."""
        if not self.joint:
            (network,) = self.networks
            return pair_temperature(
                network(first), network(second), lowest=self.lowest, highest=self.highest
            )
        pairs = torch.cat(
            [first + torch.zeros_like(second), second + torch.zeros_like(first)], dim=-1
        )
        logits = torch.stack(
            [network(part) for network, part in zip(self.networks, pairs, strict=True)]
        )
        return pair_temperature(
            logits, torch.ones_like(logits), lowest=self.lowest, highest=self.highest
        )
