"""Samples that are in memory already."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from nearfar.data.content.bounds import check_side, check_steps
from nearfar.data.content.pictures import bits_of, range_of
from nearfar.data.content.pixels.scaling import levels_of, to_levels
from nearfar.data.content.series import check_finite, fit_lengths
from nearfar.data.options import DataOptions
from nearfar.data.samples import Samples
from nearfar.data.spec import Spec
from nearfar.data.tables.table import Loaded
from nearfar.errors import UserError

_AT_ONCE = 256
"""Images of more than 8 bits that are resized together."""


def in_memory(samples: Any) -> Samples:
    """N raw samples as ``Samples`` with their numbers as ids.

    Args:
        samples: uint8 images (N, C, H, W) or floating-point series (N, C, T), as tensors or arrays;
            or any other kind of ``nearfar.rows``.

    Raises:
        UserError: for any other shape or type.
    """
    content = _checked(samples) if isinstance(samples, Tensor | np.ndarray | list) else samples
    return Samples(content, [str(i) for i in range(len(content))])


def _checked(samples: Any) -> Tensor:
    found = torch.as_tensor(np.asarray(samples) if not isinstance(samples, Tensor) else samples)
    if found.dtype in (torch.uint8, torch.uint16) and found.ndim == 4:
        return found
    if found.is_floating_point() and found.ndim == 3:
        return found.float()
    raise UserError(
        f"Samples have shape {tuple(found.shape)} and type "
        f"{str(found.dtype).removeprefix('torch.')}; "
        "expected uint8 images (N, C, H, W) or floating-point series (N, C, T)."
    )


@dataclass(frozen=True)
class ReadyArray:
    """Content of a ``Table`` that needs no decoding: images (N, C, H, W) or float32 series (N, C,
    T).

    Images that are no uint8 become uint16, scaled by their own range, least to largest value, or by
    that of the data they must be like.

    Attributes:
        array: The samples.
        name: Of the data, for errors.
        ranged: Numbers of the samples whose range counts, the training samples; None: all.
    """

    array: NDArray[Any]
    name: str
    ranged: NDArray[np.int64] | None = None

    @property
    def modality(self) -> str:
        return "image" if self.array.ndim == 4 else "series"

    def ranged_by(self, rows: NDArray[np.int64]) -> ReadyArray:
        """The same samples, whose least and largest value are those of these alone."""
        return replace(self, ranged=rows)

    def load(self, rows: NDArray[np.int64], options: DataOptions, like: Spec | None) -> Loaded:
        chosen = self.array if len(rows) == len(self.array) else self.array[rows]
        readable = np.ones(len(rows), dtype=bool)
        if self.modality == "image":
            check_side(options.size)
            size = (options.size, options.size) if options.size else self.array.shape[2:]
            size = like.shape[1:] if like is not None and len(like.shape) > 1 else size
            notes: list[str] = []
            extra: dict[str, Any] = {}
            if chosen.dtype != np.uint8:
                chosen, values = self._levels(chosen, like)
                extra["range"] = values
                if chosen.dtype != np.uint8:
                    extra["bits"] = 16
                told = f"{values[0]:g} to {values[1]:g}"
                notes.append(
                    f"The images of {self.name} are of type {self.array.dtype}; their range, "
                    f"{told}, was scaled to 0 to {levels_of(chosen.dtype):,} ({chosen.dtype})."
                )
            return Loaded(_covering(torch.from_numpy(chosen), size), readable, notes, extra)
        if options.size is not None:
            check_steps(options.size, "The data option size is")
        broken = np.flatnonzero(~np.isfinite(chosen).all(axis=(1, 2)))
        for place in broken:
            check_finite(chosen[place], f"row {rows[place]} of {self.name}")
        steps = like.shape[-1] if like is not None else options.size
        return Loaded(torch.from_numpy(fit_lengths(chosen, self.name, steps)), readable)

    def _levels(
        self, chosen: NDArray[Any], like: Spec | None
    ) -> tuple[NDArray[Any], tuple[float, float]]:
        """Images as uint16, or as uint8 where those that they must be like had 8 bits; and the
        values that became the least and the largest level."""
        values = range_of(like)
        if values is None:
            counted = self.array if self.ranged is None else self.array[self.ranged]
            values = float(counted.min()), float(counted.max())
        kind = np.uint8 if like is not None and bits_of(like) == 8 else np.uint16
        exact = np.float64 if self.array.dtype.itemsize > 4 else np.float32
        return np.stack([to_levels(one.astype(exact), values, kind) for one in chosen]), values


@dataclass(frozen=True)
class ReadyClips:
    """Clips that were made in memory: uint8 (N, C, F, H, W)."""

    array: NDArray[np.uint8]
    name: str

    @property
    def modality(self) -> str:
        return "video"

    def load(self, rows: NDArray[np.int64], options: DataOptions, like: Spec | None) -> Loaded:
        shape = self.array.shape[1:]
        size = (options.size,) * 2 if options.size else shape[2:]
        wanted = (*shape[:2], *size) if like is None else like.shape
        if wanted != shape:
            told = " x ".join(map(str, shape))
            raise UserError(
                f"The clips of {self.name} are made as {told}; expected no other size: leave out "
                "--size, or choose data of the shape that the encoder was trained on."
            )
        chosen = torch.from_numpy(self.array[rows])
        return Loaded(chosen, np.ones(len(rows), dtype=bool))


def _covering(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize images so that they cover a height and width, and crop the rest off evenly."""
    height, width = size
    if images.shape[2:] == (height, width):
        return images
    scale = max(height / images.shape[2], width / images.shape[3])
    whole = [
        max(least, round(side * scale)) for least, side in zip(size, images.shape[2:], strict=True)
    ]
    if images.dtype == torch.uint8:
        resized = F.interpolate(images, size=whole, mode="bilinear", antialias=True)
    else:
        resized = torch.cat(
            [
                F.interpolate(part.float(), size=whole, mode="bilinear", antialias=True)
                .round_()
                .to(images.dtype)
                for part in torch.split(images, _AT_ONCE)
            ]
        )
    top = (whole[0] - height) // 2
    left = (whole[1] - width) // 2
    return resized[:, :, top : top + height, left : left + width].contiguous()
