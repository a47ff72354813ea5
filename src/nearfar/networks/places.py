"""Features of places: what an encoder gives for each cell of an image, step of a series, point or
token, before it pools them.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.networks.encoder import Encoder, TokenEncoder


def places_of(encoder: Encoder, example: Any) -> Callable[[Any], Tensor] | None:
    """From samples in plain view to the features of their places, (N, C, ...).

    What stands after the channels is the grid of places: (rows, columns) of images, one axis of
    series, points, and tokens of texts. A transformer over images whose grid is not known has a
    square one.

    Args:
        encoder: In evaluation mode.
        example: A sample in plain view, on which the encoder is tried.

    Returns:
        None for an encoder without places.
    """
    if isinstance(encoder, TokenEncoder):
        return _on_a_grid(encoder, encoder.grid)
    with torch.no_grad(), contextlib.suppress(UserError):
        encoder.feature_map(example)
        return encoder.feature_map
    with torch.no_grad(), contextlib.suppress(UserError):
        length = encoder.tokens(example).shape[1]
        is_image = isinstance(example, Tensor) and example.ndim == 4
        return _on_a_grid(encoder, (math.isqrt(length),) * 2 if is_image else (length,))
    return None


def _on_a_grid(encoder: Encoder, grid: tuple[int, ...]) -> Callable[[Any], Tensor]:
    return lambda x: torch.unflatten(encoder.tokens(x).mT, 2, grid)
