"""Arrays in a .npz file: series (N, C, T), images or point clouds, with labels and groups beside them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.arrays import ReadyArray
from nearfar.data.labels import LABEL_NAMES
from nearfar.data.points import PointClouds
from nearfar.data.table import Content, Table
from nearfar.errors import UserError

Arrays = Mapping[str, NDArray[Any]]

_SAMPLE_NAMES = ("x", "X", "data", "series", "images", "image", "samples")
_MASK_NAMES = ("mask", "masks", "regions")
_SHORTEST = 8
"""Steps below which a last axis is hardly time."""


def read_npz(path: Path) -> Table:
    """Samples from the array ``x`` (or ``data``, ``series``, ``images``, ``samples``, or the only one with 3 or 4 axes).

    uint8 arrays are images: (N, H, W), (N, H, W, C) or (N, C, H, W). All others are series: (N, T) with one channel,
    (N, C, T), or (N, D, C, T), whose D x C channels are taken together; but (N, K, 3) with 8 points or more are point clouds.
    Arrays of length N with one axis are columns; a column ``activity`` with an array ``activity_names`` beside it is a label, its
    values numbers of those names. An array ``mask`` (or ``masks``, ``regions``) of N images' sizes says what each pixel shows.

    Raises:
        UserError: if the file is broken, needs pickle, or holds no such array.
    """
    arrays = _arrays(path)
    if "edge_index" in arrays:
        raise UserError(f"{path} holds graphs (edge_index), which cannot be read yet; expected series (N, C, T) or uint8 images.")
    key = _sample_key(arrays, path)
    content: Content
    notes: list[str] = []
    if _is_points(arrays[key]):
        x, content = arrays[key], PointClouds(arrays[key], path.name)
    else:
        x, notes = _shaped(arrays[key], f"{key} in {path.name}")
        content = ReadyArray(x, path.name)
    columns = {k: v for k, v in arrays.items() if v.shape == (len(x),) and k != key}
    classes = {k.removesuffix("_names"): v.tolist() for k, v in arrays.items() if k.endswith("_names") and v.ndim == 1}
    named = [k for k in columns if k in classes]
    label = next((k for k in (*LABEL_NAMES, *named) if k in columns), None)
    table = Table(path.stem, [str(i) for i in range(len(x))], content, None, columns, label=label, classes=classes)
    table.notes += notes
    mask = next((arrays[name] for name in _MASK_NAMES if name in arrays), None)
    if mask is not None and x.ndim == 4 and mask.shape == (len(x), *x.shape[2:]) and mask.dtype.kind in "ub":
        table.annotations["regions"] = mask.astype(np.uint8)
    if "split" in columns:
        table.part = [str(value) for value in columns["split"]]
    if arrays.get("sampling_rate", x).ndim == 0:
        table.extra["sampling_rate"] = float(arrays["sampling_rate"])
    return table


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except ValueError as error:
        if "pickle" in str(error):
            raise UserError(f"{path} holds Python objects, which could run code when loaded; save plain numbers and strings.") from error
        raise UserError(f"{path} cannot be read as .npz ({error}); check that the file is complete.") from error
    except (OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise UserError(f"{path} cannot be read as .npz ({error}); check that the file is complete.") from error


def _sample_key(arrays: Arrays, path: Path) -> str:
    numeric = {k: v for k, v in arrays.items() if v.dtype.kind in "fiu"}
    for name in _SAMPLE_NAMES:
        if name in numeric and numeric[name].ndim >= 2:
            return name
    deep = [k for k, v in numeric.items() if v.ndim in (3, 4)]
    if len(deep) == 1:
        return deep[0]
    there = ", ".join(f"{k} {v.shape}" for k, v in list(arrays.items())[:8]) or "nothing"
    raise UserError(
        f"{path} has no array of samples: expected x with shape (N, C, T) for series or (N, H, W, C) uint8 for images; found {there}."
    )


def _is_points(x: NDArray[Any]) -> bool:
    return x.dtype.kind == "f" and x.ndim == 3 and x.shape[2] == 3 and x.shape[1] >= _SHORTEST


def _shaped(x: NDArray[Any], name: str) -> tuple[NDArray[Any], list[str]]:
    """As uint8 (N, C, H, W) or float32 (N, C, T)."""
    if x.dtype == np.uint8 and x.ndim >= 3:
        return _as_images(x, name), []
    if x.ndim > 4 or x.shape[-1] < _SHORTEST:
        raise UserError(
            f"The array {name} has shape {x.shape}; expected (N, C, T) with at least {_SHORTEST} time steps in the last axis, or (N, K, 3)"
            " for points."
        )
    notes = []
    if x.ndim == 4:
        notes.append(f"The {x.shape[1]} x {x.shape[2]} series of each sample of {name} are taken as {x.shape[1] * x.shape[2]} channels.")
    return x.reshape(len(x), -1, x.shape[-1]).astype(np.float32), notes


def _as_images(x: NDArray[Any], name: str) -> NDArray[Any]:
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[1] in (1, 3):
        return x
    if x.ndim == 4 and x.shape[-1] in (1, 3):
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    raise UserError(f"The uint8 array {name} has shape {x.shape}; expected images (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3.")
