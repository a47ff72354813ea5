"""Shards: .tar files in the layout of WebDataset, in which the files of one sample have one name
and differ in their endings. Nothing is unpacked: a sample's bytes are read where they lie.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.cache import file_facts
from nearfar.data.content.files.opener import (
    expanded,
    facts_of,
    is_address,
    opened,
    part_of_file,
    tars_at,
)
from nearfar.data.content.pictures import Pictures
from nearfar.data.content.recordings import Recordings
from nearfar.data.options import DataOptions
from nearfar.data.readers.endings import kind_of
from nearfar.data.tables.names import as_text
from nearfar.data.tables.table import Content, Table
from nearfar.data.tables.tables import part_of
from nearfar.errors import UserError

__all__ = ["read_shards"]

_LARGEST = 1 << 28
"""Bytes of a file in a shard; larger ones are left out."""
_LARGEST_TEXT = 1 << 20
_CLASS = "cls"
_TEXT = "txt"
_FACTS = "json"


@dataclass
class _Sample:
    """Where the files of one sample lie.

    Attributes:
        shard: Number of the .tar file.
        key: The name that they share.
        files: By ending, where the bytes of each start and how many they are.
    """

    shard: int
    key: str
    files: dict[str, tuple[int, int]] = field(default_factory=dict)


def read_shards(
    data: str, options: DataOptions, name: str = "", paths: Sequence[Path] = ()
) -> Table:
    """Samples of .tar files.

    Of each sample a picture or recording is read, and beside it a class (.cls), a text (.txt) and
    columns (.json). Shards whose names begin or end with train or test are these parts. Samples are
    found by number, so that processes share them and runs go on as with files.

    Args:
        data: A .tar file, an address of one or of a folder of such, or either with a range as in
            ``train-{000..099}.tar``.
        options: How they are read.
        name: Of the data; by default that of the file or folder.
        paths: The .tar files themselves, where ``data`` is a folder here.

    Raises:
        UserError: If a file is no .tar file, is cut off or compressed, or holds no samples.
    """
    shards = tars_at(data) if is_address(data) else expanded(data)
    if paths:
        shards = [str(path) for path in paths]
    samples: list[_Sample] = []
    left_out: Counter[str] = Counter()
    for number, shard in enumerate(shards):
        samples += _indexed(shard, number, left_out)
    kinds = Counter(
        kind for one in samples for ending in one.files if (kind := _kind(ending)) is not None
    )
    if not kinds:
        raise UserError(
            f"{data} holds no pictures and no recordings; expected samples such as 000.jpg with "
            "000.cls beside it."
        )
    kind = max(kinds, key=lambda one: (kinds[one], one == "image"))
    whole = [one for one in samples if any(_kind(ending) == kind for ending in one.files)]
    left_out[f"samples without {'a picture' if kind == 'image' else 'a recording'}"] += len(
        samples
    ) - len(whole)
    name = name or as_text(Path(data.rstrip("/")).stem)
    return _table(name, shards, whole, kind, options, left_out)


def _kind(ending: str) -> str | None:
    found = kind_of(f"a.{ending}")
    return found if found in ("image", "sound") else None


def _indexed(shard: str, number: int, left_out: Counter[str]) -> list[_Sample]:
    """The samples of one shard, in order."""
    found: dict[str, _Sample] = {}
    with opened(shard) as file:
        size = file.seek(0, 2)
        file.seek(0)
        start = file.read(6)
        file.seek(0)
        if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd")):
            raise UserError(f"{shard} is compressed; save it as a plain .tar file.")
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                end = 0
                for member in archive:
                    end = member.offset_data + member.size
                    if end > size:
                        raise tarfile.ReadError("unexpected end of data")
                    _put(member, number, found, left_out)
                if not found and not end:
                    raise tarfile.ReadError("it holds no files")
                if size - end < 2 * tarfile.BLOCKSIZE:
                    raise tarfile.ReadError("unexpected end of data")
        except (tarfile.TarError, EOFError, ValueError) as error:
            reason = str(error)
            cut = "end of data" in reason
            told = "is cut off" if cut else f"cannot be read as .tar ({reason})"
            raise UserError(f"{shard} {told}; check that the file is complete.") from error
    return list(found.values())


def _put(
    member: tarfile.TarInfo, number: int, found: dict[str, _Sample], left_out: Counter[str]
) -> None:
    """Put a file of a shard to the others of its sample."""
    if not member.isreg() or member.issparse():
        if not member.isdir():
            left_out["links and other things in shards that are no files"] += 1
        return
    folder, _, base = member.name.rpartition("/")
    stem, dot, ending = base.partition(".")
    if not dot or not stem or stem.startswith("."):
        left_out["files in shards without an ending"] += 1
        return
    if member.size > _LARGEST:
        left_out[f"files in shards of over {_LARGEST:,} bytes"] += 1
        return
    key = f"{folder}/{stem}" if folder else stem
    sample = found.setdefault(key, _Sample(number, key))
    sample.files[ending.lower()] = (member.offset_data, member.size)


def _table(
    name: str,
    shards: Sequence[str],
    samples: Sequence[_Sample],
    kind: str,
    options: DataOptions,
    left_out: Counter[str],
) -> Table:
    several = len(shards) > 1
    ids = [
        as_text(f"{Path(shards[one.shard]).name}/{one.key}" if several else one.key)
        for one in samples
    ]
    places = [
        next(place for ending, place in one.files.items() if _kind(ending) == kind)
        for one in samples
    ]

    def encoded(rows: NDArray[np.int64]) -> list[bytes]:
        return [part_of_file(shards[samples[row].shard], *places[row]) for row in rows.tolist()]

    facts = (
        "shards",
        tuple(
            facts_of(one) if is_address(one) else tuple(file_facts([Path(one)])) for one in shards
        ),
    )
    content: Content = (
        Pictures(encoded, ids, facts, name)
        if kind == "image"
        else Recordings(encoded, ids, facts, name)
    )
    texts = _texts(shards, samples, _TEXT)
    table = Table(name, ids, content, texts, left_out=left_out)
    table.columns = _columns(shards, samples)
    table.label = "label" if "label" in table.columns else None
    parts = [part_of(Path(shards[one.shard])) for one in samples]
    if all(parts):
        table.part = parts
    return table


def _texts(shards: Sequence[str], samples: Sequence[_Sample], ending: str) -> list[str] | None:
    """A text of each sample, if every sample has one."""
    if not all(ending in one.files for one in samples):
        return None
    return [_read(shards, one, ending) for one in samples]


def _read(shards: Sequence[str], sample: _Sample, ending: str) -> str:
    start, length = sample.files[ending]
    content = part_of_file(shards[sample.shard], start, min(length, _LARGEST_TEXT))
    return content.decode("utf-8", "replace").strip()


def _columns(shards: Sequence[str], samples: Sequence[_Sample]) -> dict[str, NDArray[Any]]:
    """The classes, and what all .json files say in numbers and texts."""
    found: dict[str, NDArray[Any]] = {}
    facts = _texts(shards, samples, _FACTS)
    if facts is not None:
        rows = [_parsed(text, one) for text, one in zip(facts, samples, strict=True)]
        for key in rows[0]:
            values = [row.get(key) for row in rows]
            if all(isinstance(value, str | int | float) for value in values):
                found[key] = np.array(values)
    classes = _texts(shards, samples, _CLASS)
    if classes is not None:
        whole = all(text.lstrip("-").isdigit() and len(text) < 18 for text in classes)
        found["label"] = np.array([int(text) for text in classes] if whole else classes)
    return {
        key: values.astype(object) if values.dtype.kind == "U" else values
        for key, values in found.items()
    }


def _parsed(text: str, sample: _Sample) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"The file {sample.key}.{_FACTS} in a shard is not valid JSON; write it anew."
        ) from error
    return found if isinstance(found, dict) else {}
