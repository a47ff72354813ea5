"""Adapters: small branches beside a frozen block that learn a new domain."""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor, nn

from nearfar.ranges import checked, whole_number

__all__ = ["Adapter", "MultimodalAdapter", "trainable_share"]


class Adapter(nn.Module):
    """s U(ReLU(D(LN x))): down to a few units and up again.

    U begins at 0, so that the adapted network begins as the one that it is added to.

    Args:
        width: Channels of the tokens.
        bottleneck: Units in between.
        scale: s.
        norm: Whether layer norm comes first.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.adapters import Adapter
        >>> bool(Adapter(6, 3)(torch.rand(2, 4, 6)).any())
        False

    Source: Lu et al. 2024 (UniAdapter), its vision branch; as in GLARE 2025.
    """

    def __init__(
        self, width: int, bottleneck: int, *, scale: float = 0.1, norm: bool = True
    ) -> None:
        super().__init__()
        for name, value in (("width", width), ("bottleneck", bottleneck)):
            checked(Annotated[int, whole_number()], name, value)
        self.scale = scale
        self.norm: nn.Module = nn.LayerNorm(width) if norm else nn.Identity()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for parameter in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """What is added to the block's output, (..., width)."""
        last: Tensor = self.up(self.down(self.norm(x)).relu())
        return self.scale * last


class MultimodalAdapter(nn.Module):
    """One way down for all modalities and one way up for each.

    Args:
        width: Channels of the tokens.
        bottleneck: Units in between.
        scale: Factor of the result.
        strict: Start the ways up of vision and of both modalities as the released code does, not
            at 0.
        norm: Whether layer norm comes first.

    Shapes:
        visual, text, multimodal: (..., width) to (..., width), to be added to the block's output.

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.adapters import MultimodalAdapter
        >>> MultimodalAdapter(6, 3).multimodal(torch.rand(2, 4, 6)).shape
        torch.Size([2, 4, 6])

    Source: Lu et al. 2024, "UniAdapter: Unified Parameter-Efficient Transfer Learning for
    Cross-modal Modeling".
    """

    def __init__(
        self,
        width: int,
        bottleneck: int,
        *,
        scale: float = 0.1,
        strict: bool = False,
        norm: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (("width", width), ("bottleneck", bottleneck)):
            checked(Annotated[int, whole_number()], name, value)
        self.scale = scale
        self.norm: nn.Module = nn.LayerNorm(width) if norm else nn.Identity()
        self.norm_both = nn.LayerNorm(width)
        self.down = nn.Linear(width, bottleneck)
        self.up_text = nn.Linear(bottleneck, width)
        self.up_visual = nn.Linear(bottleneck, width)
        self.up_both = nn.Linear(bottleneck, width)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        nn.init.zeros_(self.down.bias)
        at_nought = [self.up_text] if strict else [self.up_text, self.up_visual, self.up_both]
        for layer in at_nought:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def _hidden(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.down(self.norm(x)).relu()
        return hidden

    def visual(self, x: Tensor) -> Tensor:
        """s U_visual(h)."""
        last: Tensor = self.up_visual(self._hidden(x))
        return self.scale * last

    def text(self, x: Tensor) -> Tensor:
        """s U_text(h)."""
        last: Tensor = self.up_text(self._hidden(x))
        return self.scale * last

    def multimodal(self, x: Tensor) -> Tensor:
        """s LN(U_both(h) + U_text(h))."""
        hidden = self._hidden(x)
        last: Tensor = self.norm_both(self.up_both(hidden) + self.up_text(hidden))
        return self.scale * last


def trainable_share(module: nn.Module) -> float:
    """Share of a module's parameters that learn."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in module.parameters()]
    total = sum(size for size, _ in sizes)
    return sum(size for size, learns in sizes if learns) / max(total, 1)
