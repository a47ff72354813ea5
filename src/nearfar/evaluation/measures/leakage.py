"""Were test samples trained on? Told by the samples' content, whatever file, split or column they
come from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from nearfar.batch import Pair, Tokens

_BLOCK = 1024


def trained_on(train: Any, test: Any) -> int:
    """How many test samples are equal to some training sample in every value.

    Of pairs beside images (texts) alone the images (texts) are compared; samples of different kinds
    or shapes are never equal.

    Args:
        train: N samples with ``take``.
        test: M samples with ``take``.

    Returns:
        A count from 0 to M.
    """
    kinds = {_kind(samples) for samples in (train, test)}
    part = next((kind for kind in ("second", "first") if kind in kinds), "whole")
    known = set(_digests(train, part))
    return sum(digest in known for digest in _digests(test, part))


def _kind(samples: Any) -> str:
    one = samples.take(torch.arange(1))
    if isinstance(one, Pair):
        return "pair"
    return "second" if isinstance(one, Tokens) else "first"


def _digests(samples: Any, part: str) -> Iterator[bytes]:
    """A fingerprint of each sample, in order."""
    for rows in torch.split(torch.arange(len(samples)), _BLOCK):
        block = samples.take(rows)
        arrays = arrays_of(block, part)
        kind = repr([(array.dtype, array.shape[1:]) for array in arrays]).encode()
        for values in zip(*arrays, strict=True):
            yield hashlib.blake2b(
                kind + b"".join(value.tobytes() for value in values), digest_size=16
            ).digest()


def arrays_of(block: Any, part: str = "whole") -> list[Any]:
    """The arrays (M, ...) whose rows together are the samples."""
    if isinstance(block, Pair):
        parts = {"first": [block.first], "second": [block.second]}.get(
            part, [block.first, block.second]
        )
        return [array for one in parts for array in arrays_of(one, part)]
    content: Tensor = block.ids if isinstance(block, Tokens) else block
    return [content.cpu().numpy()]
