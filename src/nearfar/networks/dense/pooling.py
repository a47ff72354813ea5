"""Generalised means of feature maps."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from nearfar.losses.restoration.inputs import expect_number, expect_pictures
from nearfar.ranges import above

__all__ = ["generalised_mean"]


def generalised_mean(maps: Tensor, power: float = 3.0, *, least: float = 1e-6) -> Tensor:
    """(mean over places of max(maps, least)^power)^(1 / power): the mean for 1, the maximum beyond.

    Args:
        maps: (N, C, H, W).
        power: Above 0.
        least: Floor of the values, above 0.

    Returns:
        (N, C).

    Example:
        >>> import torch
        >>> from nearfar.networks.dense.pooling import generalised_mean
        >>> generalised_mean(torch.tensor([[[[1.0, 3.0]]]]), 1.0)
        tensor([[2.]])

    Source: Radenovic et al. 2019 (GeM); as in SEER's copy detection.
    """
    expect_pictures(maps=(maps, "N C H W"))
    expect_number(Annotated[float, above(0)], power=power, least=least)
    raised = torch.mean(maps.clamp(min=least).pow(power), dim=(2, 3))
    return raised.pow(1 / power)
