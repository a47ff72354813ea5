"""Samples that a user hands over in Python, brought to what an encoder takes: arrays, pictures,
paths, texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nearfar.data.content.arrays import in_memory
from nearfar.data.content.decode import pixels
from nearfar.data.content.files.encoded import UnreadableError
from nearfar.data.content.pictures import bits_of, range_of
from nearfar.data.content.pixels.scaling import Range, fitted, to_levels
from nearfar.data.content.readings import are_last
from nearfar.data.content.series import fit_lengths, read_series
from nearfar.data.content.tokenizer import Tokenizer
from nearfar.data.samples import Samples
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.rows import Graphs, Nodes, Parts, Tokens


def samples_like(given: Any, spec: Spec, tokenizer: Tokenizer | None = None) -> Samples:
    """What a user hands over as ``Samples`` of the kind and size that an encoder was built for.

    Args:
        given: ``Samples``, ``Tokens``, ``Parts``, ``Graphs`` or ``Nodes``; for images a path, a PIL
            picture, a list of either, or an array (N, C, H, W), (N, H, W, C), (C, H, W), (H, W, C)
            or grey (N, H, W), (H, W), of bytes or of numbers in [0, 1]; for series an array (N, C,
            T) or (C, T), or paths of files; for clips an array (N, C, F, H, W) of bytes or of
            numbers in [0, 1]; for texts a text or a list of them. Arrays of 16 bits hold values as
            files do; samples of a source are given by its ``subset``.
        spec: of the data that the encoder was built for.
        tokenizer: that lay beside an encoder of texts.

    Raises:
        UserError: for anything else; says what was found and what was expected.
    """
    if isinstance(given, Samples):
        return given
    if isinstance(given, Tokens | Parts | Graphs | Nodes):
        return in_memory(given)
    one_or_several = given if isinstance(given, list | tuple) else [given]
    if not len(one_or_several) or (hasattr(given, "__len__") and not len(given)):
        raise UserError("No sample was given; expected at least one.")
    first = one_or_several[0]
    if isinstance(first, Image.Image) and (images := spec.of("image")):
        return in_memory(_stacked([_fitted(picture, images) for picture in one_or_several]))
    if isinstance(first, str | Path):
        return _named(one_or_several, spec, tokenizer)
    if isinstance(first, Tensor | np.ndarray | list | tuple | int | float):
        return _arrays(given, spec)
    raise UserError(f"Samples were given as {type(first).__name__}; expected {_expected(spec)}.")


def _expected(spec: Spec) -> str:
    spec = spec.first
    channels = spec.shape[0] if spec.shape else 0
    rows = "samples as a source gives them"
    kinds = {
        "image": f"images: paths, PIL pictures or an array (N, {channels}, H, W)",
        "series": f"series: paths or an array (N, {channels}, T)",
        "text": "texts",
        "graph": f"graph {rows}",
        "nodes": f"nodes: {rows}",
    }
    shape = ", ".join(map(str, ("N", *spec.shape)))
    return kinds.get(spec.modality, f"{spec.modality} samples as an array ({shape})")


def _named(names: Sequence[Any], spec: Spec, tokenizer: Tokenizer | None) -> Samples:
    """Files of images or series by their paths, or texts."""
    paths = [Path(name) for name in names]
    images = spec.of("image")
    is_text = tokenizer is not None and not any(path.suffix and path.exists() for path in paths)
    if is_text and tokenizer is not None:
        texts = spec.of("text")
        context = 0 if texts is None else texts.context
        return in_memory(tokenizer.encode([str(name) for name in names], context))
    if images is not None:
        return in_memory(_stacked([_read(path, images) for path in paths]))
    if spec.modality == "series":
        return in_memory(
            torch.from_numpy(np.concatenate([_series(path, spec.shape) for path in paths]))
        )
    raise UserError(f"Samples were given as names; expected {_expected(spec)}.")


def _stacked(found: Sequence[NDArray[Any]]) -> Tensor:
    return torch.from_numpy(np.stack(found))


def _read(path: Path, spec: Spec) -> NDArray[Any]:
    if path.is_dir():
        raise UserError(
            f"{path} is a folder; give its files, or embed the whole folder with "
            "nearfar.embed(run, data=...)."
        )
    try:
        return pixels(path, _sides(spec), range_of(spec), deep=bits_of(spec) > 8)
    except UnreadableError as error:
        reason = str(error) or (
            "it is damaged or no image" if path.is_file() else "there is no such file"
        )
        raise UserError(
            f"Cannot read the image {path}: {reason}; give an image file that exists."
        ) from error


def _series(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    try:
        series = read_series(path)
    except (OSError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"Cannot read the series {path}: {reason}; expected a column of numbers for each "
            "channel."
        ) from error
    if len(series) != shape[0]:
        raise UserError(
            f"The series {path} has {len(series)} channels; the encoder expects {shape[0]}."
        )
    return np.asarray(fit_lengths([series], str(path), shape[1]))


def _sides(spec: Spec) -> tuple[int, int, int]:
    channels, height, width = spec.shape
    return channels, height, width


def _fitted(picture: Image.Image, spec: Spec) -> NDArray[Any]:
    """A picture as (C, H, W), decoded as files are."""
    if not isinstance(picture, Image.Image):
        raise UserError(
            f"One of the samples is a {type(picture).__name__}; expected PIL pictures throughout."
        )
    try:
        return pixels(picture, _sides(spec), range_of(spec), deep=bits_of(spec) > 8)
    except UnreadableError as error:
        raise UserError(
            f"One of the pictures cannot be used: {str(error) or 'it is damaged'}; give others."
        ) from error


def _check_levels(given: Any, spec: Spec) -> None:
    """Refuse a tensor of 16 bits where it may hold what files hold or what ``take`` gave.

    Raises:
        UserError: Names both.
    """
    first = spec.of("image") or spec.first
    is_deep = isinstance(given, Tensor) and given.dtype == torch.uint16
    if is_deep and bits_of(first) > 8 and range_of(first) is not None:
        raise UserError(
            "A tensor of uint16 may hold samples as a source's take gives them, scaled already, or "
            "values as files hold them; give samples of a source by its subset(rows), and values "
            "as a NumPy array."
        )


def _arrays(given: Any, spec: Spec) -> Samples:
    _check_levels(given, spec)
    try:
        array = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    except ValueError as error:
        raise UserError(
            f"The samples have different shapes; expected {_expected(spec)}."
        ) from error
    if array.dtype.kind not in "biuf":
        raise UserError(f"The samples are an array of {array.dtype}; expected {_expected(spec)}.")
    images = spec.of("image")
    if images is not None:
        return in_memory(torch.from_numpy(_images(array, images)))
    if spec.modality in ("graph", "nodes"):
        raise UserError(f"The samples are an array; expected {_expected(spec)}.")
    if spec.modality == "video":
        clips = torch.from_numpy(_clips(array, spec))
        return Samples(clips, [str(number) for number in range(len(clips))])
    return in_memory(torch.from_numpy(_values(array, spec)))


def _clips(array: NDArray[Any], spec: Spec) -> NDArray[Any]:
    """Clips as raw pixels (N, C, F, H, W) of the spec's shape."""
    batch = _batch(array, spec)
    deep = bits_of(spec) > 8
    if batch.dtype == np.uint8:
        return batch.astype(np.uint16) * np.uint16(257) if deep else np.ascontiguousarray(batch)
    values = _checked_range(batch, range_of(spec))
    return to_levels(batch.astype(np.float64), values, np.uint16 if deep else np.uint8)


def _batch(array: NDArray[Any], spec: Spec) -> NDArray[Any]:
    """One or several samples as several, with the shape of the spec's."""
    batch = array[None] if array.ndim == len(spec.shape) else array
    if batch.shape[1:] != spec.shape:
        raise UserError(
            f"The samples have the shape {array.shape}; expected {_expected(spec)} with samples of "
            f"{spec.shape}."
        )
    return batch


def _values(array: NDArray[Any], spec: Spec) -> NDArray[np.float32]:
    """Samples that are numbers, with the shape of the spec's."""
    batch = _batch(array, spec)
    if not np.isfinite(batch).all():
        raise UserError("The samples hold values that are not finite; fill the gaps first.")
    return np.ascontiguousarray(batch, dtype=np.float32)


def _images(array: NDArray[Any], spec: Spec) -> NDArray[Any]:
    """Images of any size and order of axes as raw pixels (N, C, H, W) of the spec's size."""
    shape = _sides(spec)
    batch = _channels_first(array, shape[0], spec)
    values = range_of(spec)
    if batch.dtype != np.uint8:
        values = _checked_range(batch, values)
    if batch.shape[1] == 1 and shape[0] > 1:
        batch = np.repeat(batch, shape[0], axis=1)
    deep = bits_of(spec) > 8
    return np.stack([fitted(one, shape, values, deep=deep) for one in batch])


def _channels_first(array: NDArray[Any], channels: int, spec: Spec) -> NDArray[Any]:
    """As (N, C, H, W) with C the encoder's channels, or 1 for grey images."""
    counts = (channels, 1)
    if array.ndim == 2:
        return array[None, None]
    if array.ndim == 3:
        if array.shape[0] == channels:
            return array[None]
        if array.shape[2] in counts:
            return array.transpose(2, 0, 1)[None]
        return array[:, None]
    if array.ndim == 4 and array.shape[1] == array.shape[3] == channels:
        last = are_last(array.shape[1:], None, "The samples")
        return array.transpose(0, 3, 1, 2) if last else array
    if array.ndim == 4 and array.shape[1] in counts:
        return array
    if array.ndim == 4 and array.shape[3] in counts:
        return array.transpose(0, 3, 1, 2)
    raise UserError(f"The samples have the shape {array.shape}; expected {_expected(spec)}.")


def _checked_range(batch: NDArray[Any], values: Range | None) -> Range:
    """The range of pixels that are no bytes: that of the data that the encoder was trained on, or
    [0, 255] of whole numbers and [0, 1] of others.
    """
    if not np.isfinite(batch).all():
        raise UserError(
            "The images hold values that are not finite; expected bytes, or numbers in [0, 1]."
        )
    if values is not None:
        return values
    if batch.dtype.kind in "iu" and batch.min() >= 0 and batch.max() <= 255:
        return 0.0, 255.0
    if batch.dtype.kind == "f" and batch.min() >= 0 and batch.max() <= 1:
        return 0.0, 1.0
    raise UserError(
        f"The images are of type {batch.dtype} with values from {batch.min():g} to {batch.max():g};"
        " expected bytes from 0 to 255, or numbers in [0, 1]."
    )
