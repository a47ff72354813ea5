"""One file for exact resume: written beside its name, checked, renamed; the last few are kept, each
with its checksum.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.files import replacing, write_text

_PARTS = {"step"}
_HEX = 64
"""Digits of a SHA-256 checksum."""


def save_checkpoint(folder: Path, state: dict[str, Any], *, keep: int = 2) -> Path:
    """Write ``state`` to ``folder/step-N.pt`` and remove all but the newest ``keep`` checkpoints.

    The file appears under its name only when it is whole and on the disk; until then, and if
    writing fails, the older checkpoints stay.

    Args:
        folder: made if it does not exist.
        state: tensors, numbers, strings, None, and lists, tuples and dicts of these;
            ``state["step"]`` names the file.
        keep: at least 1.

    Returns:
        The file.

    Raises:
        UserError: if the file cannot be written, for instance because the disk is full.
    """
    path = folder / f"step-{state['step']:09d}.pt"
    try:
        with replacing(path, overwrite=True) as temporary, temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
            checksum = _checksum(temporary)
            _checksum_of(path).unlink(missing_ok=True)  # of an earlier file of this name
        write_text(_checksum_of(path), f"{checksum}  {path.name}\n", overwrite=True)
        _sync(folder)
    except (OSError, RuntimeError) as error:
        reason = error if isinstance(error, OSError) else error.__context__
        if not isinstance(reason, OSError):
            raise
        raise _not_written(path, state, reason) from error
    for old in _checkpoints(folder)[:-keep]:
        old.unlink()
        _checksum_of(old).unlink(missing_ok=True)
    return path


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the highest step in ``folder``; None if there is none."""
    return next(iter(newest_first(folder)), None)


def newest_first(folder: Path) -> list[Path]:
    """All checkpoints in ``folder``."""
    return list(reversed(_checkpoints(folder)))


def newest_good(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that is not damaged, and what it holds; None if there is no checkpoint.

    Raises:
        UserError: if all are damaged.
    """
    first: UserError | None = None
    for path in newest_first(folder):
        try:
            return path, load_checkpoint(path)
        except UserError as error:
            first = first or error
    if first is not None:
        raise first
    return None


def set_aside(path: Path) -> None:
    """Take a checkpoint that cannot be used out of the row, and keep it under another name."""
    os.replace(path, path.with_name(f"{path.name}.unusable"))
    _checksum_of(path).unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state that ``save_checkpoint`` wrote, with all tensors on the CPU.

    Raises:
        UserError: if the file is damaged; names the checkpoint before it.
    """
    try:
        if _is_whole(path):
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
            if isinstance(state, dict) and state.keys() >= _PARTS:
                return state
    except (
        OSError,
        zipfile.BadZipFile,
        EOFError,
        RuntimeError,
        ValueError,
        UnpicklingError,
    ) as error:
        raise _damaged(path) from error
    raise _damaged(path)


def _is_whole(path: Path) -> bool:
    """Whether no bit has changed since the file was written; PyTorch would load flipped ones
    without a word.
    """
    known = _checksum_of(path)
    if (
        known.is_file()
        and (words := known.read_text(encoding="utf-8", errors="replace").split())
        and len(words[0]) == _HEX
    ):
        return words[0] == _checksum(path)
    with zipfile.ZipFile(path) as archive:  # its own checksums, which do not cover all of it
        return archive.testzip() is None


def _checksum_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checkpoints(folder: Path) -> list[Path]:
    """All checkpoints in ``folder``, the newest last."""
    return sorted(
        path for path in folder.glob("step-*.pt") if path.stem.removeprefix("step-").isdigit()
    )


def _sync(folder: Path) -> None:
    """Put the new name itself on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_written(path: Path, state: dict[str, Any], reason: OSError) -> UserError:
    free = next(shutil.disk_usage(place).free for place in path.parents if place.exists())
    older = latest_checkpoint(path.parent)
    intact = f"{older.name} is intact" if older else "no earlier checkpoint exists"
    return UserError(
        f"The checkpoint {path} could not be written ({reason.strerror}): it needs "
        f"{_bytes(state) / 1e6:,.1f} MB and"
        f" {free / 1e6:,.1f} MB are free; make room and continue with --resume ({intact})."
    )


def _damaged(path: Path) -> UserError:
    earlier = [other for other in _checkpoints(path.parent) if other < path]
    instead = (
        f"remove it to continue from {earlier[-1].name}"
        if earlier
        else "remove it and start the run again"
    )
    return UserError(f"The checkpoint {path} is damaged or no checkpoint at all; {instead}.")


def _bytes(value: Any) -> int:
    """Bytes of all tensors in a nested state."""
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, dict):
        value = list(value.values())
    return sum(_bytes(item) for item in value) if isinstance(value, list | tuple) else 0
