"""Were test samples trained on? Told by the samples' content, whatever file, split or column they
come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch

from nearfar.rows import Graphs, Nodes, Parts, Ragged, sample_shape, tensors_of

_BLOCK = 1024


def trained_on(train: Any, test: Any) -> int:
    """How many test samples are equal to some training sample in every value.

    Of samples of several parts beside samples of one kind, the part of that kind is compared;
    samples of different kinds or shapes are never equal.

    Args:
        train: N samples with ``take``.
        test: M samples with ``take``.

    Returns:
        A count from 0 to M.
    """
    one = train.take(torch.arange(1))
    other = test.take(torch.arange(1))
    known = set(_digests(train, _part_like(one, other)))
    return sum(digest in known for digest in _digests(test, _part_like(other, one)))


def _part_like(sample: Any, other: Any) -> str | None:
    """The name of the part that can be compared with samples that have no parts; None: all."""
    if not isinstance(sample, Parts) or isinstance(other, Parts):
        return None
    kind = sample_shape(other)[0]
    return next((name for name, part in sample.items() if sample_shape(part)[0] is kind), None)


def _digests(samples: Any, part: str | None) -> Iterator[bytes]:
    """A fingerprint of each sample, in order."""
    for rows in torch.split(torch.arange(len(samples)), _BLOCK):
        block = samples.take(rows)
        block = block if part is None else block[part]
        for sample in sample_bytes(block):
            yield hashlib.blake2b(sample, digest_size=16).digest()


def sample_bytes(block: Any) -> Iterator[bytes]:
    """The bytes of each sample's values, with their types and shapes in front."""
    if isinstance(block, Nodes):
        raise TypeError("the nodes of one graph are no separate samples")
    if isinstance(block, Graphs | Ragged):
        for row in range(len(block)):
            yield from _bytes_of(block[row : row + 1])
        return
    if isinstance(block, Parts):
        parts = [sample_bytes(part) for part in block.values()]
        yield from (b"".join(sample) for sample in zip(*parts, strict=True))
        return
    arrays = [tensor.cpu().numpy() for tensor in tensors_of(block)]
    kind = repr([(array.dtype, array.shape[1:]) for array in arrays[:1]]).encode()
    for values in zip(*arrays[:1], strict=True):
        yield kind + b"".join(value.tobytes() for value in values)


def _bytes_of(sample: Any) -> Iterator[bytes]:
    arrays = [tensor.cpu().numpy() for tensor in tensors_of(sample)]
    kind = repr([(array.dtype, array.shape) for array in arrays]).encode()
    yield kind + b"".join(array.tobytes() for array in arrays)
