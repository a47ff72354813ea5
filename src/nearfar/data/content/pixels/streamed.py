"""Images that are decoded anew whenever they are taken, of sets whose decoded copy would be larger
than the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.rows.generic import mapping, selecting, shaping

__all__ = ["Streamed"]

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Streamed:
    """N images as they are encoded.

    Attributes:
        decode: From numbers (K,) of encoded images to raw pixels (K, C, H, W).
        numbers: (N,) int64, which encoded image each sample is.
        sample: (C, H, W).
        dtype: Of the pixels.
    """

    decode: Callable[[Rows], NDArray[Any]]
    numbers: Tensor
    sample: tuple[int, int, int]
    dtype: torch.dtype

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: Any) -> Any:
        """The pixels of one image by its number; of several the same kind of rows."""
        if isinstance(rows, int):
            return self.index_select(0, torch.tensor([rows]))[0]
        return Streamed(self.decode, self.numbers[rows], self.sample, self.dtype)

    def to(self, device: torch.device | str) -> Streamed:
        """The same: what is taken is moved, batch by batch."""
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.sample)

    @property
    def resident(self) -> bool:
        """Whether all of it can be moved to a device."""
        return False

    def element_size(self) -> int:
        """Bytes of a value."""
        return self.dtype.itemsize

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def index_select(self, axis: int, index: Tensor) -> Tensor:
        """Raw pixels (K, C, H, W) of samples by number; ``axis`` is 0."""
        wanted = self.numbers[index.cpu()].numpy()
        distinct, places = np.unique(wanted, return_inverse=True)
        return torch.from_numpy(self.decode(distinct)[places])


@selecting.register
def _(content: Streamed, index: Tensor) -> Tensor:
    return content.index_select(0, index)


@mapping.register
def _(content: Streamed, change: Callable[[Tensor], Tensor]) -> Streamed:
    """Nothing of it lies in memory but the numbers, which stay."""
    change(content.numbers)
    return content


@shaping.register
def _(content: Streamed) -> Any:
    return Streamed, content.sample
