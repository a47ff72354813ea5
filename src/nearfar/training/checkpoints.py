"""Checkpoints for exact resuming: one file each, whole or not at all, and never a pickle."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nearfar.errors import UserError
from nearfar.files import replacing

_NAME = "step-{:08d}.safetensors"
_PATTERN = re.compile(r"step-(\d{8})\.safetensors")
_TREE = "state"


def save_checkpoint(folder: Path, state: Mapping[str, Any], *, keep: int = 2) -> Path:
    """Write ``state`` as the newest checkpoint and remove all but the last ``keep``.

    Args:
        folder: created if needed.
        state: nested dicts, lists and tuples of tensors, numbers, strings, booleans and None; has an int under "step".
        keep: checkpoints that stay, at least 1.

    Raises:
        UserError: if it cannot be written, such as on a full disk; earlier checkpoints stay as they are.
    """
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_flattened(state, tensors))
    path = folder / _NAME.format(state["step"])
    try:
        with replacing(path, overwrite=True) as temporary:
            save_file(tensors, temporary, metadata={_TREE: tree})
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
    except (OSError, SafetensorError) as error:
        raise _unwritten(path, tensors, error) from error
    for old in _all(folder)[:-keep]:
        old.unlink()
    return path


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the most steps, or None; files that were never finished have other names."""
    found = _all(folder)
    return found[-1] if found else None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The state that ``save_checkpoint`` wrote, tensors on the CPU.

    Raises:
        UserError: if the file is damaged, naming an earlier checkpoint if there is one.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tree = json.loads(file.metadata()[_TREE])
            state: dict[str, Any] = _restored(tree, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        earlier = [p for p in _all(path.parent) if p != path]
        mend = f"remove it to resume from {earlier[-1].name}" if earlier else "there is no earlier one, so start the run again"
        raise UserError(f"The checkpoint {path} is damaged ({error}); {mend}.") from error
    return state


def _all(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("step-*.safetensors") if _PATTERN.fullmatch(p.name))


def _unwritten(path: Path, tensors: Mapping[str, Tensor], error: Exception) -> UserError:
    needed = sum(t.numel() * t.element_size() for t in tensors.values()) / 2**20
    full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
    if not full:
        return UserError(f"Cannot write the checkpoint {path}: {error}; earlier checkpoints are untouched.")
    free = shutil.disk_usage(path.parent).free / 2**20
    return UserError(
        f"The disk is full: the checkpoint {path} needs {needed:.0f} MiB and {free:.0f} MiB are free; earlier checkpoints are untouched,"
        " so free some space and --resume the run."
    )


def _flattened(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The same structure as JSON: a tensor becomes {"tensor": its name}, a dict or tuple says that it is one."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().clone(memory_format=torch.contiguous_format).cpu()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[key, _flattened(item, tensors)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_flattened(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_flattened(item, tensors) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint cannot hold a {type(value).__name__}")


def _restored(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_restored(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "tuple" in value:
        return tuple(_restored(item, tensors) for item in value["tuple"])
    return {key: _restored(item, tensors) for key, item in value["dict"]}
