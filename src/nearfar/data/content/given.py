"""A map-style data set of the user's own: gone through once, each sample decoded into a file that
is memory-mapped, so that it need not fit in memory.
"""

from __future__ import annotations

import atexit
import itertools
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from nearfar import own
from nearfar.data.cache import remembered, write_blocks
from nearfar.data.cache_folder import cache_folder
from nearfar.data.content.arrays import ReadyArray, ReadyClips
from nearfar.data.content.bounds import check_side
from nearfar.data.content.decode import covering_box, to_bytes
from nearfar.data.options import DataOptions
from nearfar.data.tables.table import Content, Table
from nearfar.errors import UserError

_CHANNELS = (1, 3)
_SAMPLE_NAMES = ("image", "img", "x", "pixel_values", "series", "text", "sample")
_LABEL_NAMES = ("label", "labels", "y", "target")
_UNIT = 1.01
_numbers = itertools.count()


class SampleSet:
    """A data set as a table.

    Args:
        data: With ``__len__`` and ``__getitem__``, which gives a sample or (sample, label): a
            picture of Pillow, bytes (C, H, W), (H, W, C) or (H, W), floats (C, H, W) in [0, 1],
            bytes (C, F, H, W) of clips, floats (C, T) or (T,) of series, or a text; or a dict of
            both.
        name: For errors, and of the table.
        options: ``size`` resizes images, which may then have several sizes.
    """

    def __init__(self, data: Any, name: str, options: DataOptions) -> None:
        self.data = data
        self.name = name
        self.options = options
        self.labels: list[Any] = []

    def table(self) -> Table:
        """All samples, read now.

        Raises:
            UserError: If the set is empty, a sample cannot be had, or they are not of one kind,
                type and shape.
        """
        count = len(self.data)
        if not count:
            raise UserError(f"The data set {self.name} is empty; expected at least 2 samples.")
        ids = [str(row) for row in range(count)]
        first = self._sample(0)
        self.labels = []
        if isinstance(first, str):
            texts = [str(self._sample(row)) for row in range(count)]
            return self._described(Table(self.name, ids, None, texts))

        def make(file: BinaryIO) -> dict[str, Any]:
            write_blocks(file, (count, *first.shape), first.dtype, self._blocks(count, first))
            return {}

        array, _ = remembered(f"{next(_numbers)}", make, _folder_of(self.data))
        content: Content = (
            ReadyClips(array, self.name) if array.ndim == 5 else ReadyArray(array, self.name)
        )
        return self._described(Table(self.name, ids, content))

    def _described(self, table: Table) -> Table:
        if self.labels and all(one is not None for one in self.labels):
            table.columns = {"label": np.array(self.labels)}
            table.label = "label"
            names = getattr(self.data, "classes", None)
            if isinstance(names, list | tuple) and all(isinstance(one, str) for one in names):
                table.classes = {"label": list(names)}
        return table

    def _blocks(self, count: int, first: NDArray[Any]) -> Iterator[NDArray[Any]]:
        for row in range(count):
            sample = self._sample(row)
            found = "is a text"
            if not isinstance(sample, str):
                found = f"has the shape {sample.shape} and type {sample.dtype}"
            if isinstance(sample, str) or not _are_alike(sample, first):
                raise UserError(
                    f"Sample {row} of {self.name} {found}, and sample 0 has {first.shape} and "
                    f"{first.dtype}; give all one shape and type, or set a size for images."
                )
            yield sample[None]

    def _sample(self, row: int) -> NDArray[Any] | str:
        """A sample as it is kept; its label is put to the others."""
        try:
            found = self.data[row]
        except Exception as error:  # whatever the user's data set raises
            raise UserError(
                f"Sample {row} of {self.name} cannot be had{own.failure(error)}; mend the data set."
            ) from error
        sample, label = self._parts(found, row)
        self.labels.append(label)
        if isinstance(sample, str):
            return sample
        if isinstance(sample, Image.Image):
            upright = ImageOps.exif_transpose(sample)
            pixels = np.asarray(upright.convert("L" if upright.mode in ("1", "L") else "RGB"))
            return self._sized(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))
        array = sample.detach().cpu().numpy() if isinstance(sample, Tensor) else sample
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "uif":
            kind = getattr(array, "dtype", None) or type(sample).__name__
            raise UserError(
                f"Sample {row} of {self.name} is a {kind}; expected a picture, an array of numbers "
                "or a text, alone or with a label behind it."
            )
        return self._array(array, row)

    def _parts(self, found: Any, row: int) -> tuple[Any, Any]:
        if isinstance(found, Mapping):
            sample = next((found[key] for key in _SAMPLE_NAMES if key in found), None)
            if sample is None:
                raise UserError(
                    f"Sample {row} of {self.name} is a dict of {', '.join(map(str, found))}; "
                    f"expected one of {', '.join(_SAMPLE_NAMES)} in it."
                )
            label = next((found[key] for key in _LABEL_NAMES if key in found), None)
        elif isinstance(found, tuple | list):
            if not 1 <= len(found) <= 2:
                raise UserError(
                    f"Sample {row} of {self.name} is a {type(found).__name__} of {len(found)}; "
                    "expected a sample, or (sample, label)."
                )
            sample, label = found[0], found[1] if len(found) == 2 else None
        else:
            sample, label = found, None
        if isinstance(label, Tensor | np.ndarray):
            if label.size != 1 if isinstance(label, np.ndarray) else label.numel() != 1:
                raise UserError(
                    f"The label of sample {row} of {self.name} has the shape "
                    f"{tuple(label.shape)}; expected one number or text."
                )
            label = label.item()
        if not isinstance(label, int | float | str | np.generic | None):
            raise UserError(
                f"The label of sample {row} of {self.name} is a {type(label).__name__}; expected "
                "one number or text."
            )
        return sample, label

    def _array(self, array: NDArray[Any], row: int) -> NDArray[Any]:
        if array.dtype == np.uint8:
            if array.ndim == 2:
                return self._sized(array[None])
            if array.ndim == 3 and array.shape[0] in _CHANNELS:
                return self._sized(array)
            if array.ndim == 3 and array.shape[2] in _CHANNELS:
                return self._sized(array.transpose(2, 0, 1))
            if array.ndim == 4 and array.shape[0] in _CHANNELS:
                return array
        elif array.ndim == 3 and {array.shape[0], array.shape[2]} & set(_CHANNELS):
            least, most = float(array.min()), float(array.max())
            if not 0 <= least <= most <= _UNIT:
                raise UserError(
                    f"The image {row} of {self.name} has values from {least:.3g} to {most:.3g}; "
                    "expected bytes, or numbers in [0, 1]: leave the normalisation out, as images "
                    "are normalised by the data's own statistics."
                )
            first = array if array.shape[0] in _CHANNELS else array.transpose(2, 0, 1)
            return self._sized(to_bytes(first.astype(np.float32), (0.0, 1.0)))
        elif array.ndim in (1, 2):
            return array.reshape(-1, array.shape[-1]).astype(np.float32)
        raise UserError(
            f"Sample {row} of {self.name} has the shape {array.shape} and type {array.dtype}; "
            "expected images (C, H, W) with C 1 or 3, clips (C, F, H, W) of bytes or series (C, T)."
        )

    def _sized(self, image: NDArray[Any]) -> NDArray[Any]:
        """An image of the size that was asked for, if any."""
        size = self.options.size
        check_side(size)
        if size is None or image.shape[1:] == (size, size):
            return np.ascontiguousarray(image)
        box = covering_box((image.shape[2], image.shape[1]), size, size)
        planes = [
            Image.fromarray(np.ascontiguousarray(plane)).resize(
                (size, size), Image.Resampling.BILINEAR, box=box
            )
            for plane in image
        ]
        return np.stack([np.asarray(plane) for plane in planes])


def _are_alike(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype


def _folder_of(data: Any) -> Path:
    """A folder for what is decoded of a data set, removed when the data set or the process ends."""
    above = cache_folder() / "handed"
    try:
        above.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=above))
    except OSError as error:
        raise UserError(
            f"Cannot write decoded data to {above}: {error.strerror or error}; free some space "
            "there or set NEARFAR_CACHE to another folder."
        ) from error
    try:
        weakref.finalize(data, shutil.rmtree, folder, True)
    except TypeError:  # a list, say
        atexit.register(shutil.rmtree, folder, True)
    return folder
