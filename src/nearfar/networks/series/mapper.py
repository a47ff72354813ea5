"""A small mapper from one embedding of a series to another."""

from __future__ import annotations

from torch import Tensor, nn

from nearfar.errors import UserError

__all__ = ["LatentMapper"]


class LatentMapper(nn.Module):
    """A convolution along the embedding, ReLU, and a transposed convolution back.

        m(e) = deconv3,2( ReLU( conv3,2(e) ) ), channels 1 - width - 1

    Args:
        width: Channels between: 64 while training, 1 for the mappers fitted afterwards.

    Source: "Learning Without Augmenting: Unsupervised Time Series Representation Learning via Frame
    Projections" 2025.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.inward = nn.Conv1d(1, width, 3, stride=2, padding=1)
        self.outward = nn.ConvTranspose1d(width, 1, 3, stride=2, padding=1, output_padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) to (N, D), D even."""
        if x.ndim != 2 or x.shape[1] % 2:
            raise UserError(f"A mapper takes embeddings of even width; found {tuple(x.shape)}.")
        made: Tensor = self.outward(self.inward(x[:, None]).relu())[:, 0]
        return made
