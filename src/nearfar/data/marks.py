"""Marks: a number for each sample that tells its content from any other's, whatever file or row it
comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.data.content.pixels.streamed import Streamed
from nearfar.rows import pieces_of

MOST_BYTES = 4 << 30
"""Of larger sets only the middle of each sample is looked at."""
_MIDDLE = 1 << 12
_BLOCK_BYTES = 1 << 24

Marks = NDArray[np.int64]


def is_small(content: Any, count: int) -> bool:
    """Whether ``count`` samples are few enough to be looked at as a whole; what is no tensor is."""
    return not _is_array(content) or count * _bytes_of_one(content) <= MOST_BYTES


def marks_of(content: Any, rows: NDArray[np.int64], *, whole: bool) -> Marks:
    """A mark (M,) for each of some samples: equal for equal content, and for other content hardly
    ever.

    In plain words, with w the 64-bit words of a sample and k fixed odd keys, all modulo 2^64::

        mark = sum over i of mixed(w[i] * k[i]) * k[i], mixed(y) = y xor (y >> 32)

    Args:
        content: (N, ...) of any type, or any other kind of ``nearfar.rows``, whose samples always
            count as a whole.
        rows: (M,) which samples.
        whole: whether all of each sample counts, or its middle 4,096 bytes.

    Source: after Lemire and Kaser 2014, "Strongly Universal String Hashing is Fast" (multilinear
        hashing), with a shift between.
    """
    if not _is_array(content):
        return _marks_of_pieces(content, rows)
    size = _bytes_of_one(content)
    start, length = (0, size) if whole or size <= _MIDDLE else ((size - _MIDDLE) // 2, _MIDDLE)
    words = -(-max(length, 1) // 8)
    keys = _keys(words)
    found = np.zeros(len(rows), dtype=np.int64)
    block = max(1, _BLOCK_BYTES // max(size, 1))
    for first in range(0, len(rows), block):
        chosen = content.index_select(0, torch.from_numpy(rows[first : first + block])).contiguous()
        raw = chosen.numpy().view(np.uint8).reshape(len(chosen), size)[:, start : start + length]
        padded = np.ascontiguousarray(raw)
        if length != words * 8:
            padded = np.zeros((len(raw), words * 8), dtype=np.uint8)
            padded[:, :length] = raw
        products = padded.view(np.uint64) * keys
        products ^= products >> np.uint64(32)
        products *= keys
        found[first : first + block] = products.sum(axis=1, dtype=np.uint64).view(np.int64)
    return found


def _is_array(content: Any) -> bool:
    """Whether the samples are rows of one array, in memory or decoded when they are taken."""
    return isinstance(content, Tensor | Streamed)


def _marks_of_pieces(content: Any, rows: NDArray[np.int64]) -> Marks:
    """A mark for each sample that is no row of one tensor, by a digest of all it holds."""
    found = np.zeros(len(content), dtype=np.int64)
    for row, pieces in enumerate(pieces_of(content)):
        digest = hashlib.blake2b(digest_size=8)
        for piece in pieces:
            digest.update(repr((tuple(piece.shape), piece.dtype)).encode())
            digest.update(np.ascontiguousarray(piece.cpu().numpy()).tobytes())
        found[row] = np.frombuffer(digest.digest(), dtype=np.int64)[0]
    return found[rows]


def marks_of_texts(texts: Sequence[str]) -> Marks:
    """A mark (N,) for each text."""
    digests = (
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for text in texts
    )
    return np.frombuffer(b"".join(digests), dtype=np.int64).copy()


def together(first: Marks, second: Marks) -> Marks:
    """Marks of pairs from those of their parts."""
    left = first.view(np.uint64)
    right = second.view(np.uint64)
    mixed = left * np.uint64(0x9E3779B97F4A7C15) ^ (right + (left >> np.uint64(29)))
    return mixed.view(np.int64)


def _bytes_of_one(content: Any) -> int:
    return int(np.prod(content.shape[1:], dtype=np.int64)) * int(content.element_size())


def _keys(count: int) -> NDArray[np.uint64]:
    """Fixed odd numbers.

    Source: Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators"
        (SplitMix64).
    """
    state = (np.arange(1, count + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (state ^ (state >> np.uint64(31))) | np.uint64(1)
