"""The head that is never trained: it makes later coordinates smaller and smaller."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nearfar.errors import UserError


class Reweighting(nn.Module):
    """z_i = h_i kappa^-i for the coordinates i = 0 .. dimension - 1 of (N, dimension) features.

    Source: Xue et al. 2024, "Investigating the Benefits of Projection Head for Representation
        Learning", section 6.

    Attributes:
        weight: (dimension,), a constant.
    """

    weight: Tensor

    def __init__(self, dimension: int, kappa: float, *, dtype: torch.dtype = torch.float32) -> None:
        """Args:
            dimension: of the features.
            kappa: above 0; 1 changes nothing, above 1 the loss hardly sees late coordinates.
            dtype: of the weights.

        Raises:
            UserError: if kappa is not above 0.
        """
        super().__init__()
        if kappa <= 0:
            raise UserError(
                f"kappa of the fixed head is {kappa}; expected a number above 0, such as 1.05."
            )
        weight = torch.exp(-math.log(kappa) * torch.arange(dimension, dtype=torch.float64))
        self.register_buffer("weight", weight.to(dtype))

    def forward(self, h: Tensor) -> Tensor:
        return h * self.weight
