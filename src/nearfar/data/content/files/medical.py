"""Medical volumes: NIfTI files by nibabel, DICOM files by pydicom, a slice at a time."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.content.bounds import SUSPICIOUS_BYTES, SUSPICIOUS_RATIO, check_memory
from nearfar.data.content.files.encoded import Header, UnreadableError
from nearfar.errors import UserError

__all__ = ["DicomSlice", "NiftiSlice", "Scan", "dicom_scan", "nifti_scan"]

_MOST_VALUES = 1 << 30


@dataclass(frozen=True)
class Scan:
    """What is known of a file of slices without its values.

    Attributes:
        slices: One or more.
        volume: What tells the volume that they belong to; "" where a file is one.
        patient: Whose it is; "" where it is not said.
        order: Place of the first slice in its volume.
        note: What is left out of the file, in words, or "".
    """

    slices: tuple[DicomSlice | NiftiSlice, ...]
    volume: str = ""
    patient: str = ""
    order: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class NiftiSlice:
    """One slice, along the third axis of a volume that is turned to face the same way as all.

    Attributes:
        path: Of the file.
        number: From 0, from the feet up.
        shape: Of the volume that is turned.
    """

    path: Path
    number: int
    shape: tuple[int, int, int]

    def header(self) -> Header:
        return Header(1, self.shape[1], self.shape[0], np.dtype(np.float32))

    def array(self) -> NDArray[Any]:
        state = self.path.stat()
        volume = _volume(self.path, state.st_mtime_ns, state.st_size)
        return volume[:, ::-1, self.number].T[None]


def nifti_scan(path: Path) -> Scan:
    """The slices of a NIfTI file, of several volumes in it the first one's.

    Raises:
        UnreadableError: If it is broken, has fewer than three axes or is too large.
    """
    with _reading(path, "nibabel"):
        nibabel: Any = importlib.import_module("nibabel")
        image = nibabel.load(path)
        turned = nibabel.as_closest_canonical(image)
        shape = tuple(turned.shape)
        size = np.dtype(image.get_data_dtype()).itemsize * prod(shape)
    if len(shape) < 3:
        raise UnreadableError(f"it has {len(shape)} axes, {_told(shape)}; expected a volume of 3")
    if prod(shape) > _MOST_VALUES or 0 in shape:
        raise UnreadableError(f"it has {prod(shape):,} values; expected 1 to {_MOST_VALUES:,}")
    stored = path.stat().st_size
    if size > SUSPICIOUS_BYTES and size > SUSPICIOUS_RATIO * stored:
        raise UnreadableError(f"it unpacks from {stored:,} to {size:,} bytes")
    sides = (shape[0], shape[1], shape[2])
    slices = tuple(NiftiSlice(path, number, sides) for number in range(shape[2]))
    more = prod(shape[3:])
    note = f"the first of {more} volumes in a file is read" if more > 1 else ""
    return Scan(slices, note=note)


@lru_cache(maxsize=2)
def _volume(path: Path, modified: int, size: int) -> NDArray[np.float32]:
    """The values (X, Y, Z) of a file, which the slices that are read after one another share."""
    with _reading(path, "nibabel"):
        nibabel: Any = importlib.import_module("nibabel")
        turned = nibabel.as_closest_canonical(nibabel.load(path))
        check_memory(4 * prod(turned.shape), f"The volume {path}")
        values = np.asarray(turned.dataobj, dtype=np.float32)
    return values.reshape(*values.shape[:3], -1)[..., 0]


@dataclass(frozen=True)
class DicomSlice:
    """One frame of a DICOM file, in the units that the file says (Hounsfield, say).

    Attributes:
        path: Of the file.
        number: Of the frame, from 0.
        about: What its header says.
    """

    path: Path
    number: int
    about: Header

    def header(self) -> Header:
        return self.about

    def array(self) -> NDArray[Any]:
        with _reading(self.path, "pydicom"):
            pydicom: Any = importlib.import_module("pydicom")
            held = pydicom.dcmread(self.path)
            if "PixelData" not in held:
                raise UnreadableError("it holds no picture")
            found = importlib.import_module("pydicom.pixels").pixel_array(held, index=self.number)
        if found.ndim == 3:
            return np.asarray(found.transpose(2, 0, 1))
        slope = float(held.get("RescaleSlope", 1))
        intercept = float(held.get("RescaleIntercept", 0))
        values = found.astype(np.float32) * slope + intercept
        inverted = held.PhotometricInterpretation == "MONOCHROME1"
        return np.asarray(-values[None] if inverted else values[None])


def dicom_scan(path: Path) -> Scan:
    """The frames of a DICOM file.

    Raises:
        UnreadableError: If it is broken or holds no picture.
    """
    with _reading(path, "pydicom"):
        pydicom: Any = importlib.import_module("pydicom")
        held = pydicom.dcmread(path, stop_before_pixels=True)
        if "Rows" not in held or "Columns" not in held:
            raise UnreadableError("it holds no picture")
        channels = int(held.get("SamplesPerPixel", 1))
        kind = np.dtype(np.float32 if channels == 1 else np.uint8)
        about = Header(channels, int(held.Rows), int(held.Columns), kind)
        frames = int(held.get("NumberOfFrames", 1) or 1)
        place = held.get("ImagePositionPatient")
        order = float(place[2]) if place is not None else float(held.get("InstanceNumber") or 0)
        volume = str(held.get("SeriesInstanceUID", ""))
        patient = str(held.get("PatientID", ""))
    if prod((channels, about.height, about.width, frames)) > _MOST_VALUES or frames < 1:
        raise UnreadableError(f"it states {frames:,} frames of {about.height} x {about.width}")
    slices = tuple(DicomSlice(path, number, about) for number in range(frames))
    return Scan(slices, volume, patient, order)


@contextmanager
def _reading(path: Path, library: str) -> Iterator[None]:
    if importlib.util.find_spec(library) is None:
        raise UserError(f"{path.name} needs {library}: pip install 'nearfar[medical]'.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damage is told once, by us
            yield
    except (UnreadableError, UserError):
        raise
    except Exception as error:  # both libraries raise nearly anything on broken files
        said = " ".join(str(error).split())
        lacking = "decompress" in said or "plugin" in said
        told = "its compression needs a plugin: pip install pylibjpeg" if lacking else ""
        raise UnreadableError(told) from error


def _told(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
