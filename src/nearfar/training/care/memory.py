"""Memory that a step has freed stays with the process, for the next step.

A step on a CPU allocates and frees the same large tensors again and again. By default the C library
gives such memory back at once and the kernel hands out new, zeroed pages one by one when they are
touched, which can take as long as the arithmetic.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_TRIM = -1
_MAP = -3
"""glibc's numbers of the two limits: unused bytes at the heap's end that are given back, and size
from which a block is mapped alone.
"""

_KEEP = {_TRIM: 2**31 - 1, _MAP: 2**30}
_USUAL = {_TRIM: 2**26, _MAP: 2**25}
"""Where glibc's own moving limits end once large blocks have been freed."""

_CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES")


@contextmanager
def freed_memory_kept(device: torch.device) -> Iterator[None]:
    """Within the block, memory that is freed stays with the process, which holds what it needed
    most plus gaps (a fifth more for a small convolutional network at batches of 256); then it is
    returned.

    Does nothing for other devices than CPUs, where the C library is not glibc, or where the
    environment sets these limits.
    """
    library = (
        _glibc()
        if device.type == "cpu" and not any(name in os.environ for name in _CHOSEN)
        else None
    )
    if library is None:
        yield
        return
    _limit(library, _KEEP)
    try:
        yield
    finally:
        _limit(library, _USUAL)
        library.malloc_trim(0)


def _limit(library: Any, limits: dict[int, int]) -> None:
    for name, size in limits.items():
        library.mallopt(name, size)


def _glibc() -> Any:
    """The C library, if it is glibc."""
    try:
        library = ctypes.CDLL("libc.so.6") if sys.platform == "linux" else None
    except OSError:
        return None
    return (
        library
        if hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt")
        else None
    )
