"""Arrays in a .npz file: series (N, C, T), images or point clouds, with labels and groups beside
them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.content.arrays import ReadyArray, ReadyClips
from nearfar.data.content.bounds import (
    SUSPICIOUS_BYTES,
    SUSPICIOUS_RATIO,
    check_memory,
    check_steps,
)
from nearfar.data.content.points import PointClouds
from nearfar.data.content.readings import as_clips, is_points, shaped
from nearfar.data.labels import LABEL_NAMES, missing
from nearfar.data.options import DataOptions
from nearfar.data.tables.columns import set_split
from nearfar.data.tables.names import as_text
from nearfar.data.tables.table import Content, Table
from nearfar.errors import UserError

Arrays = Mapping[str, NDArray[Any]]

_SAMPLE_NAMES = ("x", "X", "data", "series", "images", "image", "pictures", "points", "samples")
_MASK_NAMES = ("mask", "masks", "regions")
_NPY = b"\x93NUMPY"
_ZIP = b"PK"


def read_npz(path: Path, options: DataOptions | None = None) -> Table:
    """Samples from the array ``x`` (or ``data``, ``series``, ``images``, ``samples``, or the only
    one with 3 or 4 axes).

    uint8 arrays and arrays called ``images`` are images: (N, H, W), (N, H, W, C) or (N, C, H, W).
    All others are series: (N, T) with one channel, (N, C, T), (N, T, C) where the last axis is much
    the shorter one, or (N, D, C, T), whose D x C channels are taken together; but (N, K, 3) with 8
    points or more are point clouds. Where an array could be read in two ways, a note names the
    reading. Arrays of length N with one axis are columns; a column ``activity`` with an array
    ``activity_names`` beside it is a label, its values numbers of those names. Labels may be
    one-hot (N, C). An array ``mask`` (or ``masks``, ``regions``) of N images' sizes says what each
    pixel shows.

    Raises:
        UserError: if the file is broken, needs pickle, is too large, or holds no such array.
    """
    return read_arrays(_arrays(path), path, options)


def read_array(path: Path, options: DataOptions) -> Table:
    """Samples (N, ...) from a .npy file, as ``read_npz`` reads the array ``x``.

    Raises:
        UserError: as ``read_npz``.
    """
    check_memory(2 * path.stat().st_size, f"{path}, read as an array,")
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} cannot be read as .npy ({reason}).") from error
    return read_arrays({"x": array}, path, options)


def read_arrays(
    arrays: dict[str, NDArray[Any]], path: Path, options: DataOptions | None = None
) -> Table:
    """As ``read_npz`` for arrays that are in memory; ``path`` names them.

    Raises:
        UserError: if there is no array of samples among them.
    """
    if "edge_index" in arrays:
        raise UserError(
            f"{path} holds graphs (edge_index), which cannot be read yet; expected series (N, C, "
            f"T) or uint8 images."
        )
    options = options or DataOptions()
    key = _sample_key(arrays, path)
    _check_samples(arrays[key], key, path)
    content: Content
    if is_points(arrays[key], key, options, arrays):
        x = arrays[key] = _as_points(arrays[key], key, path)
        content = PointClouds(arrays[key], path.name)
        notes = _points_notes(x, key)
    elif options.modality == "video":
        x = as_clips(arrays[key], f"{key} in {path.name}", options.channels)
        content = ReadyClips(x, path.name)
        notes = []
    else:
        x, notes = shaped(arrays[key], key, path.name, options)
        content = ReadyArray(x, path.name)
    columns = {k: v for k, v in arrays.items() if v.shape == (len(x),) and k != key}
    columns.update(_label_columns(arrays, key, len(x), path, notes))
    classes = {
        k.removesuffix("_names"): v.tolist()
        for k, v in arrays.items()
        if k.endswith("_names") and v.ndim == 1
    }
    named = [k for k in columns if k in classes]
    label = next((k for k in (*LABEL_NAMES, *named) if k in columns), None)
    columns = {name: _as_strings(values) for name, values in columns.items()}
    table = Table(
        as_text(path.stem),
        [str(i) for i in range(len(x))],
        content,
        None,
        columns,
        label=label,
        classes=classes,
    )
    mask = next((arrays[name] for name in _MASK_NAMES if name in arrays), None)
    if (
        mask is not None
        and x.ndim == 4
        and mask.shape == (len(x), *x.shape[2:])
        and mask.dtype.kind in "ub"
    ):
        table.annotations["regions"] = mask.astype(np.uint8)
    set_split(table)
    _take_rate(arrays, x, table, path)
    table.notes += [
        *notes,
        *_unused(
            arrays, {key, *columns, *(f"{name}_names" for name in columns), "sampling_rate"}, table
        ),
    ]
    return table


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:
            start = file.read(6)
    except OSError as error:
        raise UserError(f"{path} cannot be opened ({error.strerror or error}).") from error
    if start.startswith(_NPY):
        raise UserError(
            f"{path} is a single array (.npy) and no archive; save it with numpy.savez(path, "
            f"x=array)."
        )
    if not start.startswith(_ZIP):
        raise UserError(
            f"{path} cannot be read as .npz (it does not begin as one); check that the file is "
            f"complete."
        )
    try:
        with path.open("rb") as opened:
            check_archive(path, zipfile.ZipFile(opened))
            opened.seek(0)
            with np.load(opened, allow_pickle=False) as file:
                read = {as_text(key): file[key] for key in file.files}
        return {key: value for key, value in read.items() if isinstance(value, np.ndarray)}
    except UserError:
        raise
    except Exception as error:  # of the archive, of its compression, or of the arrays in it
        if "pickle" in str(error):
            raise UserError(
                f"{path} holds Python objects, which could run code when loaded; save plain "
                f"numbers and strings."
            ) from error
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{path} cannot be read as .npz ({reason}); check that the file is complete."
        ) from error


def check_archive(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse an archive by what its headers say, before anything is unpacked."""
    stored = unpacked = 0
    for member in archive.infolist():
        if member.flag_bits & 1:
            raise UserError(f"{path} is encrypted; save it again without a password.")
        if member.filename.endswith(".npy"):
            _check_header(path, archive, member)
        stored += member.compress_size
        unpacked += member.file_size
    if unpacked > SUSPICIOUS_BYTES and unpacked > SUSPICIOUS_RATIO * stored:
        raise UserError(
            f"{path} unpacks from {stored:,} to {unpacked:,} bytes, as archives that are made to "
            f"fill the memory do; if it is right, "
            "save it with numpy.savez, uncompressed."
        )
    check_memory(2 * unpacked, f"{path}, read as arrays of {unpacked:,} bytes,")


def _check_header(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Refuse an array that states more values than it has room for."""
    with archive.open(member) as file:
        start = io.BytesIO(file.read(1 << 16))
    layout: Any = np.lib.format
    read = (
        layout.read_array_header_1_0
        if layout.read_magic(start) == (1, 0)
        else layout.read_array_header_2_0
    )
    shape, _, kind = read(start)
    stated = prod(shape) * kind.itemsize
    if not kind.hasobject and stated > member.file_size:
        raise UserError(
            f"The array {member.filename} in {path} states the shape {shape}, which is {stated:,} "
            f"bytes, but has {member.file_size:,}; "
            "the file is damaged."
        )


def _sample_key(arrays: Arrays, path: Path) -> str:
    numeric = {k: v for k, v in arrays.items() if v.dtype.kind in "fiu"}
    for name in _SAMPLE_NAMES:
        if name in numeric and numeric[name].ndim >= 2:
            return name
    deep = [k for k, v in numeric.items() if v.ndim in (3, 4)]
    if len(deep) == 1:
        return deep[0]
    there = (
        ", ".join(f"{k} {v.shape} of {v.dtype}" for k, v in list(arrays.items())[:8]) or "nothing"
    )
    raise UserError(
        f"{path} has no array of samples: expected numbers x with shape (N, C, T) for series or "
        f"(N, H, W, C) uint8 for images; "
        f"found {there}."
    )


def _check_samples(x: NDArray[Any], key: str, path: Path) -> None:
    if 0 in x.shape:
        raise UserError(
            f"The array {key} in {path} has shape {x.shape}, an axis of which is empty; expected "
            f"at least one value in each."
        )
    if x.dtype != np.uint8:
        check_steps(max(x.shape[1:]), f"The array {key} in {path} has")


def _as_points(x: NDArray[Any], key: str, path: Path) -> NDArray[Any]:
    """Clouds (N, K, 3)."""
    if x.ndim != 3 or 3 not in x.shape[1:]:
        raise UserError(
            f"The array {key} in {path} has shape {x.shape}; expected points (N, K, 3) or (N, 3, "
            "K)."
        )
    return x if x.shape[2] == 3 else np.ascontiguousarray(x.transpose(0, 2, 1))


def _points_notes(x: NDArray[Any], key: str) -> list[str]:
    if key == "points":
        return []
    count = x.shape[1]
    return [
        f"{key} of shape {x.shape} is read as clouds of {count} points with 3 coordinates; if it "
        f"holds {count} steps of 3 channels, "
        "save it as (N, 3, T)."
    ]


def _label_columns(
    arrays: Arrays, key: str, length: int, path: Path, notes: list[str]
) -> dict[str, NDArray[Any]]:
    """Labels and other columns of shape (N, 1), and labels that are one-hot, as columns (N,).

    Raises:
        UserError: for labels of another number than the samples.
    """
    found: dict[str, NDArray[Any]] = {}
    for name, values in arrays.items():
        if name == key or values.ndim == 0:
            continue
        if values.shape == (length, 1):
            found[name] = values[:, 0]
        elif name in LABEL_NAMES and len(values) != length:
            raise UserError(
                f"The array {name} in {path} has {len(values):,} labels for {length:,} samples in "
                f"{key}; give one for each."
            )
        elif name in LABEL_NAMES and values.ndim == 2 and values.shape[1] > 1:
            if _is_one_hot(values):
                found[name] = values.argmax(axis=1)
                notes.append(
                    f"The labels {name} of shape {values.shape} are one-hot: the place of the one "
                    f"is the class."
                )
            else:
                notes.append(
                    f"The labels {name} of shape {values.shape} are not used: each sample has "
                    f"{values.shape[1]} values that are "
                    "not one-hot; save each as an array of its own, and give their names to "
                    "--label, joined by commas."
                )
    return found


def _is_one_hot(values: NDArray[Any]) -> bool:
    if values.dtype.kind not in "biuf":
        return False
    return bool(np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all())


def _as_strings(values: NDArray[Any]) -> NDArray[Any]:
    """Bytes and dates as text, all else as it is."""
    if values.dtype.kind == "S":
        return np.array(
            [as_text(value.decode("utf-8", "backslashreplace")) for value in values.tolist()],
            dtype=object,
        )
    if values.dtype.kind == "U":
        return np.array([as_text(value) for value in values.tolist()], dtype=object)
    if values.dtype.kind in "mMcV":
        return np.where(missing(values), "", values.astype(str)).astype(object)
    return values


def _take_rate(arrays: Arrays, x: NDArray[Any], table: Table, path: Path) -> None:
    rate = arrays.get("sampling_rate")
    if rate is None or rate.ndim:
        return
    if rate.dtype.kind not in "iuf" or not np.isfinite(rate) or rate <= 0:
        raise UserError(
            f"The sampling_rate in {path} is {as_text(str(rate))}; expected a number of samples a "
            f"second above 0."
        )
    table.extra["sampling_rate"] = float(rate)


def _unused(arrays: Arrays, used: set[str], table: Table) -> list[str]:
    """A sentence on arrays that are neither samples nor columns."""
    left = [
        f"{k} {v.shape}"
        for k, v in arrays.items()
        if k not in used and k not in _MASK_NAMES and k not in LABEL_NAMES
    ]
    table.left_out["arrays that are no columns"] += len(left)
    return (
        [
            f"Arrays that are not used, as they hold no single value for each sample: "
            f"{', '.join(left)}."
        ]
        if left
        else []
    )
