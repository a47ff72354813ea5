"""One file for exact resume: written beside its name, checked, renamed; the last few are kept."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.files import replacing


def save_checkpoint(folder: Path, state: dict[str, Any], *, keep: int = 2) -> Path:
    """Write ``state`` to ``folder/step-N.pt`` and remove all but the newest ``keep`` checkpoints.

    The file appears under its name only when it is whole and on the disk; until then, and if writing fails, the older
    checkpoints stay.

    Args:
        folder: made if it does not exist.
        state: tensors, numbers, strings, None, and lists, tuples and dicts of these; ``state["step"]`` names the file.
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
        _sync(folder)
    except (OSError, RuntimeError) as error:
        reason = error if isinstance(error, OSError) else error.__context__
        if not isinstance(reason, OSError):
            raise
        raise _not_written(path, state, reason) from error
    for old in _checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the highest step in ``folder``; None if there is none."""
    return next(reversed(_checkpoints(folder)), None)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state that ``save_checkpoint`` wrote, with all tensors on the CPU.

    Raises:
        UserError: if the file is damaged; names the checkpoint before it.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # PyTorch would load flipped bits without a word
            damaged = archive.testzip()
        if damaged is None:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return state
    except (zipfile.BadZipFile, EOFError, RuntimeError, UnpicklingError) as error:
        raise _damaged(path) from error
    raise _damaged(path)


def _checkpoints(folder: Path) -> list[Path]:
    """All checkpoints in ``folder``, the newest last."""
    return sorted(folder.glob("step-*.pt"))


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
        f"The checkpoint {path} could not be written ({reason.strerror}): it needs {_bytes(state) / 1e6:,.1f} MB and"
        f" {free / 1e6:,.1f} MB are free; make room and continue with --resume ({intact})."
    )


def _damaged(path: Path) -> UserError:
    earlier = [other for other in _checkpoints(path.parent) if other < path]
    instead = f"remove it to continue from {earlier[-1].name}" if earlier else "remove it and start the run again"
    return UserError(f"The checkpoint {path} is damaged or no checkpoint at all; {instead}.")


def _bytes(value: Any) -> int:
    """Bytes of all tensors in a nested state."""
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, dict):
        value = list(value.values())
    return sum(_bytes(item) for item in value) if isinstance(value, list | tuple) else 0
