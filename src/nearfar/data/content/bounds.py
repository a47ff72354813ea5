"""How large data may be. What is larger is refused, with its number, before it takes memory."""

from __future__ import annotations

import os

from nearfar.errors import UserError

MOST_PIXELS = 1 << 27
"""Pixels of a picture that is decoded; a JPEG is decoded at a fraction of its size where that is
enough."""
MANY_PIXELS = 1 << 24
"""Pictures with more pixels are decoded one at a time."""
LARGEST_SIDE = 8192
"""Pixels along a side of the images that are trained on."""
MOST_STEPS = 1 << 20
"""Steps of a series, tokens of a text, frames of sound or points of an object."""
RATES = (100, 1_000_000)
"""Samples a second of a recording, least and most."""
MOST_SOUND = 1 << 28
"""Samples of a recording over all channels; at 48,000 a second 93 minutes."""
SUSPICIOUS_RATIO = 200
SUSPICIOUS_BYTES = 1 << 30
"""An archive that unpacks to more than this and to ``SUSPICIOUS_RATIO`` times its size is taken for
a bomb."""


def memory_bytes() -> int:
    """Of this machine; 16 GiB where it does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 16 << 30


def check_memory(wanted: int, what: str) -> None:
    """Refuse what would take more than three quarters of the memory.

    Raises:
        UserError: that names ``what`` and how many bytes it would be.
    """
    most = memory_bytes() * 3 // 4
    if wanted > most:
        raise UserError(
            f"{what} would take {_size(wanted)} of memory; this machine has room for {_size(most)}."
        )


def check_side(size: int | None) -> None:
    """Refuse images that are too large to train on.

    Raises:
        UserError: for a size beyond ``LARGEST_SIDE``.
    """
    if size is not None and size > LARGEST_SIDE:
        raise UserError(
            f"The data option size is {size:,} pixels; expected at most {LARGEST_SIDE:,}."
        )


def check_steps(steps: int, what: str) -> None:
    """Refuse samples that are too long to train on.

    Raises:
        UserError: for more than ``MOST_STEPS``.
    """
    if steps > MOST_STEPS:
        raise UserError(
            f"{what} {steps:,} steps; expected at most {MOST_STEPS:,}; give fewer with --size, or "
            f"shorten them."
        )


def _size(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB"
