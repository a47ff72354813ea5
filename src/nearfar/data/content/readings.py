"""What the axes of an array of samples mean, told by its name, type and shape; what may mean
several things is a question."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.content.files.encoded import MOST_CHANNELS
from nearfar.data.options import DataOptions
from nearfar.data.spec import Spec
from nearfar.errors import UserError

POINTS_NAME = "points"
SMALLEST_SIDE = 8
"""Fewest pixels along a side of what may be a picture."""
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


def is_points(x: NDArray[Any], key: str, options: DataOptions, beside: Iterable[str] = ()) -> bool:
    """Whether samples are clouds of points (N, K, 3) or, where it is said, (N, 3, K).

    Args:
        x: the samples.
        key: name of their array.
        options: what was said of them.
        beside: names of other arrays, which may tell.

    Raises:
        UserError: where they may as well be series: a question with both answers.
    """
    if options.modality is not None or key in (*_IMAGE_NAMES, *_SERIES_NAMES):
        return options.modality == "points"
    if key == POINTS_NAME and x.ndim == 3 and 3 in x.shape[1:]:
        return True
    may_be = x.dtype.kind == "f" and x.ndim == 3 and x.shape[2] == 3 and x.shape[1] >= SHORTEST
    if not may_be or options.likely is not None:
        return may_be and options.likely is not None and options.likely.modality == "points"
    told = " ".join(beside).lower()
    if "point" in told:
        return True
    if "sampling_rate" in told or "channel" in told:
        return False
    raise UserError(
        f"The array {key} of shape {x.shape} may hold clouds of {x.shape[1]} points or series of "
        f"{x.shape[1]} steps in 3 channels; say which with --modality points or --modality series."
    )


def are_last(
    shape: tuple[int, ...], asked: str | None, name: str, likely: Spec | None = None
) -> bool:
    """Whether the channels of an image of three axes are the last of them.

    They are where the last axis is a number of channels, the others sides of a picture, and the
    reverse cannot be.

    Args:
        shape: of one sample.
        asked: "first", "last", or None where it was not said.
        name: of what has the shape, for errors.
        likely: of the encoder that the images are for, whose number of channels answers.

    Raises:
        UserError: where there is no number of channels, or both may be it: a question with both
            answers.
    """
    first = 1 <= shape[0] <= MOST_CHANNELS
    last = 1 <= shape[2] <= MOST_CHANNELS
    if asked is not None:
        if not (last if asked == "last" else first):
            count = shape[2] if asked == "last" else shape[0]
            raise UserError(
                f"{name} of shape {shape} has {count:,} channels where they come {asked}; expected "
                f"1 to {MOST_CHANNELS}."
            )
        return asked == "last"
    if likely is not None and likely.shape and first and last:
        first, last = shape[0] == likely.shape[0], shape[2] == likely.shape[0]
    if likely is None:
        _check_square(shape, name)
    tall = first and min(shape[1:]) >= SMALLEST_SIDE
    flat = last and min(shape[:2]) >= SMALLEST_SIDE
    if tall != flat:
        return flat
    if not tall and (shape[0] in _CHANNELS or shape[2] in _CHANNELS):
        return shape[0] not in _CHANNELS
    if first != last:
        return last
    if not first:
        raise UserError(
            f"{name} holds samples of the shape {shape}; expected images (H, W), (C, H, W) or (H, "
            f"W, C) with C from 1 to {MOST_CHANNELS}, or say that they are clips with --modality "
            "video."
        )
    raise UserError(
        f"{name} holds samples of the shape {shape}, of which the first or the last axis may be "
        f"the channels; say which with --channels first ({shape[0]} channels) or --channels last "
        f"({shape[2]} channels)."
    )


def _check_square(shape: tuple[int, ...], name: str) -> None:
    """Refuse square images of too many channels, of which one would be taken for a side."""
    for count, sides, other in ((shape[0], shape[1:], "last"), (shape[2], shape[:2], "first")):
        if count > MOST_CHANNELS >= sides[0] == sides[1] >= SMALLEST_SIDE:
            raise UserError(
                f"{name} holds samples of the shape {shape}, as it seems square images of "
                f"{count:,} channels in all; expected at most {MOST_CHANNELS}, or --channels "
                f"{other} if {sides[0]} is the number of channels."
            )


def shaped(x: NDArray[Any], key: str, source: str, options: DataOptions | None = None) -> Shaped:
    """Samples as images (N, C, H, W) of their own type or float32 (N, C, T), with notes on how they
    were read.

    Args:
        x: (N, ...) numbers.
        key: name of the array, which may tell what it holds.
        source: where it lies, for notes and errors.
        options: what was said of them.

    Raises:
        UserError: for shapes that mean nothing, with those that would; and for shapes that mean
            several things, with a question that names the answers.
    """
    options = options or DataOptions()
    name = f"{key} in {source}"
    if _are_images(x, key, name, options):
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            raise UserError(
                f"The images {name} hold values that are missing or infinite; replace them by "
                f"numbers."
            )
        return _as_images(x, name, options), _image_notes(x, key, name)
    if options.channels is None and options.likely is not None and x.ndim == 3:
        options = _as_likely(options, x.shape)
    if options.channels is not None and x.ndim == 3:
        first = x.transpose(0, 2, 1) if options.channels == "last" else x
        return np.ascontiguousarray(first).astype(np.float32), []
    if x.ndim == 3 and x.shape[1] >= _TIME_LAST * x.shape[2] and x.shape[1] >= SHORTEST:
        steps, channels = x.shape[1:]
        note = (
            f"{name} of shape {x.shape} is read as {channels} channels of {steps} steps, time "
            f"being the axis before the last; if it holds {steps} channels of {channels} steps, "
            f"say so with --channels first."
        )
        return np.ascontiguousarray(x.transpose(0, 2, 1)).astype(np.float32), [note]
    if x.ndim > 4 or x.shape[-1] < SHORTEST:
        raise UserError(
            f"The array {name} has shape {x.shape}; expected (N, C, T) with at least {SHORTEST} "
            f"time steps in the last axis, (N, K, 3)"
            " for points, or for images an array called images, (N, H, W), (N, H, W, C) or (N, C, "
            f"H, W) with C from 1 to {MOST_CHANNELS}."
        )
    return x.reshape(len(x), -1, x.shape[-1]).astype(np.float32), _series_notes(x, name)


def _as_likely(options: DataOptions, shape: tuple[int, ...]) -> DataOptions:
    """Where the channels of series are by the number of channels that an encoder expects."""
    expected = options.likely.shape[0] if options.likely and options.likely.shape else 0
    if (shape[1] == expected) == (shape[2] == expected):
        return options
    return replace(options, channels="first" if shape[1] == expected else "last")


def _are_images(x: NDArray[Any], key: str, name: str, options: DataOptions) -> bool:
    """Whether an array holds images and no series.

    Raises:
        UserError: where it may hold either: a question with both answers.
    """
    if options.modality is not None or key in _IMAGE_NAMES:
        return options.modality in (None, "image")
    if key in _SERIES_NAMES or x.ndim < 3:
        return False
    if x.dtype == np.uint8:
        return True
    if not _may_be_images(x.shape[1:]):
        return False
    if x.ndim == 4 and x.shape[-1] < SHORTEST:
        return True  # too short to be series
    if options.likely is not None:
        return options.likely.modality == "image"
    raise UserError(
        f"The array {name} has the shape {x.shape} and type {x.dtype}, which may be images or "
        "series; say which with --modality image or --modality series, or call the array images or "
        "series."
    )


def _may_be_images(shape: tuple[int, ...]) -> bool:
    """Whether a sample has the axes of a picture: two sides of nearly one length, and channels."""
    if len(shape) == 2:
        return _are_sides(shape)
    if len(shape) != 3:
        return False
    first = shape[0] <= MOST_CHANNELS and _are_sides(shape[1:])
    return first or (shape[2] <= MOST_CHANNELS and _are_sides(shape[:2]))


def _are_sides(sides: tuple[int, ...]) -> bool:
    return min(sides) >= SMALLEST_SIDE and max(sides) < _NARROW * min(sides)


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


def _as_images(x: NDArray[Any], name: str, options: DataOptions) -> NDArray[Any]:
    if x.ndim == 3:
        return x[:, None]
    if x.ndim != 4:
        raise UserError(
            f"The array {name} has shape {x.shape} and type {x.dtype}; expected images (N, H, W), "
            f"(N, H, W, C) or (N, C, H, W) with C from 1 to {MOST_CHANNELS}. "
            "If it holds series, call the array series, with axes (N, C, T)."
        )
    if are_last(x.shape[1:], options.channels, f"The array {name}", options.likely):
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    return x


def as_clips(x: NDArray[Any], name: str, channels: str | None) -> NDArray[np.uint8]:
    """Clips (N, C, F, H, W) of bytes from (N, F, H, W), (N, C, F, H, W) or (N, F, H, W, C).

    Raises:
        UserError: for other types and axes.
    """
    if x.dtype != np.uint8 or x.ndim not in (4, 5):
        raise UserError(
            f"The array {name} has shape {x.shape} and type {x.dtype}; expected clips of bytes "
            "(N, F, H, W), (N, C, F, H, W) or (N, F, H, W, C)."
        )
    if x.ndim == 4:
        return x[:, None]
    outer = (x.shape[1], *x.shape[3:4], x.shape[4])
    if are_last(outer, channels, f"The array {name}"):
        return np.ascontiguousarray(x.transpose(0, 4, 1, 2, 3))
    return x
