"""What the axes of an array of samples mean, told by its name, type and shape; every guess is a
note."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.errors import UserError

POINTS_NAME = "points"
SHORTEST = 8
"""Fewest steps of a last axis that is time, and fewest points of a cloud."""
_TIME_LAST = 2
"""Times as long as the last axis that the one before it must be to be taken as time."""
_NARROW = 4
"""Times as long as wide that bytes must be for a note that they may be no image."""
_IMAGE_NAMES = ("images", "image", "pictures")
_SERIES_NAMES = ("series",)
_CHANNELS = (1, 3)

Shaped = tuple[NDArray[Any], list[str]]


def is_points(x: NDArray[Any], key: str) -> bool:
    """Whether samples are clouds of points (N, K, 3)."""
    if key in (*_IMAGE_NAMES, *_SERIES_NAMES):
        return False
    if key == POINTS_NAME and x.ndim == 3 and x.shape[2] == 3:
        return True
    return x.dtype.kind == "f" and x.ndim == 3 and x.shape[2] == 3 and x.shape[1] >= SHORTEST


def shaped(x: NDArray[Any], key: str, source: str) -> Shaped:
    """Samples as images (N, C, H, W) of their own type or float32 (N, C, T), with notes on how they
    were read.

    Args:
        x: (N, ...) numbers.
        key: name of the array, which may tell what it holds.
        source: where it lies, for notes and errors.

    Raises:
        UserError: for shapes that mean nothing, with those that would.
    """
    name = f"{key} in {source}"
    if (x.dtype == np.uint8 and x.ndim >= 3 and key not in _SERIES_NAMES) or key in _IMAGE_NAMES:
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            raise UserError(
                f"The images {name} hold values that are missing or infinite; replace them by "
                f"numbers."
            )
        return _as_images(x, name), _image_notes(x, key, name)
    if x.ndim == 3 and x.shape[1] >= _TIME_LAST * x.shape[2] and x.shape[1] >= SHORTEST:
        steps, channels = x.shape[1:]
        note = (
            f"{name} of shape {x.shape} is read as {channels} channels of {steps} steps, time "
            f"being the axis before the last; if it holds {steps} channels of {channels} steps, "
            f"save it with one axis more, as (N, 1, {steps}, {channels})."
        )
        return np.ascontiguousarray(x.transpose(0, 2, 1)).astype(np.float32), [note]
    if x.ndim > 4 or x.shape[-1] < SHORTEST:
        raise UserError(
            f"The array {name} has shape {x.shape}; expected (N, C, T) with at least {SHORTEST} "
            f"time steps in the last axis, (N, K, 3)"
            " for points, or for images an array called images, (N, H, W), (N, H, W, C) or (N, C, "
            "H, W) with C 1 or 3."
        )
    return x.reshape(len(x), -1, x.shape[-1]).astype(np.float32), _series_notes(x, name)


def _image_notes(x: NDArray[Any], key: str, name: str) -> list[str]:
    """What to say of bytes that are long and narrow, as hardly any image is."""
    if key in _IMAGE_NAMES or x.ndim != 3 or max(x.shape[1:]) < _NARROW * min(x.shape[1:]):
        return []
    return [
        f"{name} of shape {x.shape} and type uint8 is read as images of {x.shape[1]} x "
        f"{x.shape[2]} "
        "pixels; if it holds series, call the array series or save it as floats."
    ]


def _series_notes(x: NDArray[Any], name: str) -> list[str]:
    if x.ndim == 4:
        many = x.shape[1] * x.shape[2]
        return [
            f"The {x.shape[1]} x {x.shape[2]} series of each sample of {name} are taken as {many} "
            f"channels; if they are images, "
            "call the array images."
        ]
    if x.ndim == 3 and x.shape[1] == x.shape[2]:
        return [
            f"{name} of shape {x.shape} is read as {x.shape[1]} channels of {x.shape[2]} steps; "
            "if they are images, call the array images."
        ]
    if x.ndim == 3 and x.shape[1] > x.shape[2]:
        return [
            f"{name} of shape {x.shape} is read as {x.shape[1]} channels of {x.shape[2]} steps; if "
            f"time is the axis before the last, "
            "exchange the two."
        ]
    return []


def _as_images(x: NDArray[Any], name: str) -> NDArray[Any]:
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[1] in _CHANNELS:
        return x
    if x.ndim == 4 and x.shape[-1] in _CHANNELS:
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    raise UserError(
        f"The array {name} has shape {x.shape} and type {x.dtype}; expected images (N, H, W), (N, "
        f"H, W, C) or (N, C, H, W) with C 1 or 3. "
        "If it holds series, call the array series, with axes (N, C, T)."
    )
