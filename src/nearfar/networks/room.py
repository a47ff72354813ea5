"""Whether networks fit in memory, found out before any memory is taken for them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from nearfar.errors import UserError

_MEMORY = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")
_UNKNOWN = 16 << 30
"""Bytes that are taken for free where the system does not say."""
TRAINED = 4
"""In training each weight has a gradient and two moments of the optimiser beside it."""


def free_bytes() -> int:
    """Bytes of main memory that this process may still take, by what the machine and the process's
    group say.
    """
    found = [size for size in (_of_machine(), _of_group()) if size is not None]
    return min(found) if found else _UNKNOWN


def check_room(
    make: Callable[[], nn.Module], what: str, mend: str, *, count: int = 1, copies: int = 1
) -> None:
    """Refuse networks for which there is no memory.

    They are made without memory for their weights first. Networks that cannot be made so are not
    checked.

    Args:
        make: Makes the networks.
        what: What they are, for the error.
        mend: What to choose instead, for the error.
        count: How many of them there will be.
        copies: How often each weight is kept; ``TRAINED`` where the networks are trained.

    Raises:
        UserError: If there is less memory than they need.
    """
    wanted = _bytes_of(make, copies)
    free = free_bytes()
    if wanted is not None and wanted * count > free:
        raise UserError(
            f"{what} would take {_size(wanted * count)} of memory, and {_size(free)} are free; "
            f"{mend}."
        )


def _bytes_of(make: Callable[[], nn.Module], copies: int) -> float | None:
    """Bytes of weights and buffers; infinity where the number overflows, None where the networks
    cannot be made without memory.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            made = make()
    except UserError:
        return None  # will be raised again when the networks are made
    except (
        Exception
    ) as error:  # whatever a network does that needs values: then it is made as it is, unchecked
        too_large = isinstance(error, OverflowError) or "overflow" in str(error).lower()
        return math.inf if too_large else None
    weights = sum(value.numel() * value.element_size() for value in made.parameters())
    return copies * weights + sum(value.numel() * value.element_size() for value in made.buffers())


def shapes_of(make: Callable[[], nn.Module]) -> dict[str, torch.Size]:
    """The shape of each weight and buffer by its name, without memory for them; nothing where the
    networks cannot be made so.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            made = make()
    except Exception:  # whatever a network does that needs values: it is made, and checked, later
        return {}
    return {name: value.shape for name, value in made.state_dict().items()}


def _size(count: float) -> str:
    return f"{count / 2**30:,.1f} GiB"


def _of_machine() -> int | None:
    try:
        lines = _MEMORY.read_text(encoding="utf-8").splitlines()
        return next(
            int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")
        )
    except (OSError, StopIteration, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _of_group() -> int | None:
    """What the limit of a container leaves; None without one."""
    try:
        limit, used = (
            int((_GROUP / name).read_text(encoding="utf-8"))
            for name in ("memory.max", "memory.current")
        )
    except (OSError, ValueError):
        return None
    return max(0, limit - used)
