"""Where the objects of an image are: the first principal axis of a frozen encoder's tokens, and a
threshold along it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nearfar.losses.instance.view_quality import foreground_threshold, principal_axis


class Foreground(nn.Module):
    """What is foreground among the tokens of images; ``fit`` it once.

    Attributes:
        mean: (K,) of the encoder's output, taken off all tokens: what all have in common would
            drown their differences.
        axis: (K,), objects on its high side; unit length once fitted.
        threshold: projection above which a token is foreground.

    Source: Li et al. 2024 (GenView), section 3.2 and authors' code.
    """

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.axis: Tensor
        self.threshold: Tensor
        self.register_buffer("mean", torch.zeros(dimension))
        self.register_buffer("axis", torch.zeros(dimension))
        self.register_buffer("threshold", torch.zeros(()))

    @torch.no_grad()
    def fit(self, maps: Tensor) -> None:
        """Axis and threshold from feature maps (N, K, h, w) of many images; the sign is such that
        the middle of images lies high.
        """
        height, width = maps.shape[2:]
        self.mean.copy_(maps.mean((0, 2, 3)))
        tokens = self.tokens(maps)
        axis = principal_axis(tokens.flatten(0, 1))
        along = (tokens @ axis).view(-1, height, width)
        top = height // 4
        left = width // 4
        middle = along[:, top : height - top, left : width - left].mean()
        sign = 1.0 if middle >= along.mean() else -1.0
        self.axis.copy_(sign * axis)
        self.threshold.fill_(foreground_threshold(sign * along))

    def tokens(self, maps: Tensor) -> Tensor:
        """Feature maps (N, K, h, w) as tokens (N, h * w, K)."""
        return maps.flatten(2).mT - self.mean

    def share(self, tokens: Tensor) -> Tensor:
        """Share of foreground among tokens (N, L, K), (N,) in [0, 1]."""
        return (tokens @ self.axis > self.threshold).to(tokens.dtype).mean(1)
