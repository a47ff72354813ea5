"""Texts as token ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nearfar.rows.generic import concatenating, mapping, select, selecting, shaping


@dataclass(frozen=True)
class Tokens:
    """Padded texts, or other sequences of numbered things.

    Attributes:
        ids: (N, L) int64 token numbers.
        mask: (N, L) bool, true where there is a token and false where there is padding.
    """

    ids: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: Any) -> Tokens:
        return Tokens(self.ids[rows], self.mask[rows])

    def to(self, device: torch.device | str) -> Tokens:
        return Tokens(self.ids.to(device), self.mask.to(device))


@concatenating.register
def _(first: Tokens, views: Sequence[Tokens]) -> Tokens:
    return Tokens(torch.cat([v.ids for v in views]), torch.cat([v.mask for v in views]))


@selecting.register
def _(content: Tokens, index: Tensor) -> Tokens:
    return Tokens(select(content.ids, index), select(content.mask, index))


@mapping.register
def _(content: Tokens, change: Callable[[Tensor], Tensor]) -> Tokens:
    return Tokens(change(content.ids), change(content.mask))


@shaping.register
def _(content: Tokens) -> Any:
    return Tokens, content.ids.shape[1:]
