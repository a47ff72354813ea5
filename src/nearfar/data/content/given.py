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
from PIL import Image
from torch import Tensor

from nearfar import own
from nearfar.data.cache import remembered, write_blocks
from nearfar.data.cache_folder import cache_folder
from nearfar.data.content.arrays import ReadyArray, ReadyClips
from nearfar.data.content.bounds import check_side
from nearfar.data.content.decode import deep_array, measure, pixels
from nearfar.data.content.files.encoded import MOST_CHANNELS, UnreadableError
from nearfar.data.content.pixels.scaling import resized, to_bytes
from nearfar.data.content.readings import are_last
from nearfar.data.options import DataOptions
from nearfar.data.tables.table import Content, Table
from nearfar.errors import UserError

_CHANNELS = (1, 3)
_SAMPLE_NAMES = ("image", "img", "x", "pixel_values", "series", "text", "sample")
_LABEL_NAMES = ("label", "labels", "y", "target")
_UNIT = 1.01
_NORMALISED = 10.0
"""Floats beyond [0, 1] of which none is larger were normalised."""
_numbers = itertools.count()


class SampleSet:
    """A data set as a table.

    Args:
        data: With ``__len__`` and ``__getitem__``, which gives a sample or (sample, label): a
            picture of Pillow, bytes (C, H, W), (H, W, C) or (H, W), floats (C, H, W) in [0, 1] or
            of a range of their own, whole numbers of 16 bits likewise, bytes (C, F, H, W) of clips,
            floats (C, T) or (T,) of series, or a text; or a dict of both.
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
            return self._picture(sample, row)
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

    def _picture(self, picture: Image.Image, row: int) -> NDArray[Any]:
        """A picture of Pillow, decoded as files are; more than 8 bits are kept."""
        size = self.options.size
        check_side(size)
        try:
            about = measure(picture)
            if about.deep:
                return self._sized(deep_array(picture))
            sides = (about.height, about.width) if size is None else (size, size)
            return pixels(picture, (about.channels, *sides))
        except UnreadableError as error:
            reason = str(error) or "it is damaged"
            raise UserError(
                f"The picture {row} of {self.name} cannot be read: {reason}."
            ) from error

    def _array(self, array: NDArray[Any], row: int) -> NDArray[Any]:
        name = f"Sample {row} of {self.name}"
        if array.dtype == np.uint8 and array.ndim == 2:
            return self._sized(array[None])
        if array.dtype == np.uint8 and array.ndim == 4 and array.shape[0] in _CHANNELS:
            return array
        if array.ndim == 3:
            last = are_last(array.shape, self.options.channels, name)
            image = array.transpose(2, 0, 1) if last else array
            return self._sized(self._checked(image, row))
        if array.ndim in (1, 2):
            return array.reshape(-1, array.shape[-1]).astype(np.float32)
        raise UserError(
            f"{name} has the shape {array.shape} and type {array.dtype}; expected images (C, H, W) "
            f"with C from 1 to {MOST_CHANNELS}, clips (C, F, H, W) of bytes or series (C, T)."
        )

    def _checked(self, image: NDArray[Any], row: int) -> NDArray[Any]:
        """An image (C, H, W) of bytes, of numbers in [0, 1] as bytes, or of its own numbers."""
        if image.dtype.kind != "f":
            return image
        least, most = float(image.min()), float(image.max())
        if 0 <= least <= most <= _UNIT:
            return to_bytes(image.astype(np.float32), (0.0, 1.0))
        if least >= -_NORMALISED and most <= _NORMALISED:
            raise UserError(
                f"The image {row} of {self.name} has values from {least:.3g} to {most:.3g}; "
                "expected bytes, or numbers in [0, 1]: leave the normalisation out, as images "
                "are normalised by the data's own statistics."
            )
        if not np.isfinite(image).all():
            raise UserError(
                f"The image {row} of {self.name} holds values that are missing or infinite; "
                "replace them by numbers."
            )
        return image.astype(np.float32)

    def _sized(self, image: NDArray[Any]) -> NDArray[Any]:
        """An image of the size that was asked for, if any."""
        size = self.options.size
        check_side(size)
        if size is None or image.shape[1:] == (size, size):
            return np.ascontiguousarray(image)
        found = resized(image, (size, size))
        return np.rint(found).astype(image.dtype) if image.dtype.kind in "ui" else found


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
