"""Raw pixels: whole numbers from 0 to 255, or to 65,535 where the data had more than 8 bits."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["PIXELS", "as_bytes", "from_unit", "largest_level", "to_unit"]

PIXELS = (torch.uint8, torch.uint16)
"""The types of raw pixels."""


def largest_level(kind: torch.dtype) -> int:
    """The level of white."""
    return int(torch.iinfo(kind).max)


def to_unit(pixels: Tensor) -> Tensor:
    """Levels as float32 from 0 to 1.

    Example:
        >>> to_unit(torch.tensor([0, 65535], dtype=torch.uint16)).tolist()
        [0.0, 1.0]
    """
    return pixels.to(torch.float32).div_(largest_level(pixels.dtype))


def from_unit(values: Tensor, kind: torch.dtype) -> Tensor:
    """Floats from 0 to 1 as the nearest levels of a type; what lies beyond is clipped."""
    return (values.clamp(0, 1) * largest_level(kind)).round().to(kind)


def as_bytes(pixels: Tensor) -> Tensor:
    """The same pixels as bytes, for pictures."""
    return pixels if pixels.dtype == torch.uint8 else from_unit(to_unit(pixels), torch.uint8)
