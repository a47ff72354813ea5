"""Heads that guess what was done to an image: which way it was turned, or in which order its tiles
lie.
"""

from __future__ import annotations

from torch import nn

from nearfar.networks.heads import mlp

_TILE = 512
"""Width to which each tile's features are brought by a shared layer."""


def rotation_head(width: int, turns: int, *, dropout: float = 0.5) -> nn.Module:
    """Features (N, width) to logits (N, turns). Source: Kinakh et al. 2021 (ScatSimCLR), authors'
    code.
    """
    return _classifier((width, 512, 128, turns), dropout)


def jigsaw_head(width: int, tiles: int, orders: int, *, dropout: float = 0.5) -> nn.Module:
    """Features (N * tiles, width) of the tiles, sample by sample, to logits (N, orders). Source: as
    ``rotation_head``.
    """
    together = nn.Sequential(nn.Unflatten(0, (-1, tiles)), nn.Flatten())
    return nn.Sequential(
        nn.Linear(width, _TILE),
        nn.ReLU(),
        together,
        _classifier((tiles * _TILE, 4096, orders), dropout),
    )


def _classifier(sizes: tuple[int, ...], dropout: float) -> nn.Module:
    return mlp(
        sizes, hidden_norm=False, activation=lambda: nn.Sequential(nn.ReLU(), nn.Dropout(dropout))
    )
