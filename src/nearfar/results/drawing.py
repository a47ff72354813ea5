"""Pictures as data addresses."""

from __future__ import annotations

import base64
import io

import torch
from PIL import Image
from torch import Tensor

from nearfar.rows.levels import as_bytes

_LARGEST = 64
"""Side in pixels above which a thumbnail is shrunk."""
_LOSSLESS = 40
"""Side up to which PNG is as small as JPEG."""


def image_address(pixels: Tensor, largest: int = _LARGEST) -> str:
    """A data address of one image, shrunk to a side of at most ``largest``.

    Args:
        pixels: Raw pixels (C, H, W). Of more than three channels the first three are drawn, as red,
            green and blue; of two the first.
        largest: In pixels.
    """
    pixels = as_bytes(pixels)
    side = max(pixels.shape[1:])
    if side > largest:
        shape = [max(1, round(n * largest / side)) for n in pixels.shape[1:]]
        pixels = (
            torch.nn.functional.interpolate(pixels[None].float(), size=shape, mode="area")[0]
            .round()
            .to(torch.uint8)
        )
    if pixels.shape[0] not in (1, 3):
        pixels = pixels[: 3 if len(pixels) > 3 else 1]
    array = pixels.cpu().permute(1, 2, 0).numpy()
    kind = "jpeg" if max(pixels.shape[1:]) > _LOSSLESS else "png"
    encoded = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(
        encoded, kind, quality=80
    )
    return f"data:image/{kind};base64," + base64.b64encode(encoded.getvalue()).decode()
