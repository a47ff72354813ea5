"""Files of several slices or frames: medical volumes, pages of TIFF files, videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from nearfar.data.cache import file_facts
from nearfar.data.content.clips import Clips
from nearfar.data.content.files.broken import Broken
from nearfar.data.content.files.encoded import Encoded, Page, UnreadableError
from nearfar.data.content.files.medical import Scan, dicom_scan, nifti_scan
from nearfar.data.content.files.tiff import pages_of
from nearfar.data.content.files.video import frames_in
from nearfar.data.content.pictures import Pictures
from nearfar.data.options import DataOptions
from nearfar.data.readers.endings import DICOM_ENDINGS, ending_of
from nearfar.data.tables.names import as_texts
from nearfar.data.tables.table import Table

__all__ = ["pages_in", "scans_in", "videos_in"]

FRAMES = 8
"""Of a video that are looked at unless a number is given."""
Found = TypeVar("Found")
VOLUME = "volume"
PATIENT = "patient"


@dataclass
class _Stack:
    """The slices of one volume.

    Attributes:
        name: Of the volume.
        slices: In order.
        names: Of the slices.
        patient: Whose it is, or "".
    """

    name: str
    slices: list[Encoded] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    patient: str = ""


def pages_in(paths: Sequence[Path], ids: Sequence[str], name: str, options: DataOptions) -> Table:
    """TIFF files whose pages are samples, or clips, as ``options.volumes`` says."""
    stacks = []
    for path, one in zip(paths, ids, strict=True):
        count = pages_of(path)
        pages: list[Encoded] = [Page(path, n) for n in range(count)] if count > 1 else [path]
        names = [f"{one}#{n + 1}" for n in range(count)] if count > 1 else [one]
        stacks.append(_Stack(one, pages, names))
    return _table(stacks, paths, name, options)


def scans_in(paths: Sequence[Path], ids: Sequence[str], name: str, options: DataOptions) -> Table:
    """NIfTI and DICOM files, whose slices are samples unless ``options.volumes`` says "whole".

    DICOM files of one series are one volume, in the order of their places.
    """
    scans: list[tuple[str, Scan | str]] = []
    for path, one in zip(paths, ids, strict=True):
        read = dicom_scan if ending_of(path) in DICOM_ENDINGS else nifti_scan
        scans.append((one, _read(read, path)))
    volumes: dict[str, list[tuple[str, Scan | str]]] = {}
    for one, scan in scans:
        key = one if isinstance(scan, str) else scan.volume or one
        volumes.setdefault(key, []).append((one, scan))
    stacks = [_stack(members) for members in volumes.values()]
    if options.volumes == "first":
        stacks = [replace(one, slices=one.slices[:1], names=one.names[:1]) for one in stacks]
    table = _table(stacks, paths, name, options)
    left = Counter(scan.note for _, scan in scans if isinstance(scan, Scan) and scan.note)
    table.notes += [f"In {count} of {len(paths)} files {what}." for what, count in left.items()]
    slices = sum(len(stack.slices) for stack in stacks)
    if options.volumes is None and slices > len(stacks):
        table.notes.append(
            f"The {len(stacks):,} volumes of {name} are read as {slices:,} slices, a sample each; "
            "those of one volume stay on one side of the split. --volumes whole reads each volume "
            "as one clip of its slices."
        )
    return table


def videos_in(paths: Sequence[Path], ids: Sequence[str], name: str, options: DataOptions) -> Table:
    """Videos as clips of evenly chosen frames."""
    count = options.frames or FRAMES
    frames = [_read(lambda path: frames_in(path, count), path) for path in paths]
    clips: list[Sequence[Encoded]] = [
        [Broken(one)] * count if isinstance(one, str) else one for one in frames
    ]
    content = Clips(
        lambda rows: [clips[row] for row in rows],
        ids,
        ("video", count, tuple(file_facts(paths))),
        name,
        np.full(len(paths), count),
    )
    notes = [
        f"{count} evenly chosen frames of each video of {name} are taken; --frames takes another "
        "number."
    ]
    return Table(name, list(ids), content, notes=notes)


def _read(read: Callable[[Path], Found], path: Path) -> Found | str:
    """What is read of a file, or why it cannot be."""
    try:
        return read(path)
    except UnreadableError as error:
        return str(error)


def _stack(members: list[tuple[str, Scan | str]]) -> _Stack:
    """The volume to which some files belong."""
    ordered = sorted(
        members, key=lambda one: (one[1].order if isinstance(one[1], Scan) else 0.0, one[0])
    )
    found = _Stack(members[0][0])
    for one, scan in ordered:
        if isinstance(scan, str):
            found.slices.append(Broken(scan))
            found.names.append(one)
            continue
        several = len(scan.slices) > 1
        found.slices += scan.slices
        found.names += [f"{one}#{n + 1}" if several else one for n in range(len(scan.slices))]
        found.patient = scan.patient
    return found


def _table(
    stacks: Sequence[_Stack], paths: Sequence[Path], name: str, options: DataOptions
) -> Table:
    facts = ("slices", tuple(file_facts(paths)))
    patients = [stack.patient for stack in stacks]
    if options.volumes == "whole":
        clips = Clips(
            lambda rows: [stacks[row].slices for row in rows],
            [stack.name for stack in stacks],
            facts,
            name,
            np.array([len(stack.slices) for stack in stacks]),
        )
        table = Table(name, as_texts([stack.name for stack in stacks]), clips)
        counts = [1] * len(stacks)
    else:
        flat = [one for stack in stacks for one in stack.slices]
        ids = as_texts([one for stack in stacks for one in stack.names])
        content = Pictures(lambda rows: [flat[row] for row in rows], ids, facts, name)
        table = Table(name, ids, content)
        counts = [len(stack.slices) for stack in stacks]
        if max(counts) > 1:
            names = np.array([stack.name for stack in stacks], dtype=object)
            table.columns = {VOLUME: np.repeat(names, counts)}
            table.groups = (VOLUME,)
    if all(patients):
        whose = np.repeat(np.array(patients, dtype=object), counts)
        table.columns = {PATIENT: whose, **table.columns}
        table.groups = (PATIENT, *table.groups)
    return table
