"""Dropout whose draws are those of the whole batch, of which each process takes the rows of its own
samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nearfar.batch import Place

_PLACES: list[Place] = []
"""The place of the samples that are passing through the networks, last."""


@contextmanager
def of(place: Place | None) -> Iterator[None]:
    """Within the block, dropout is that of a batch in which this process's samples have this place;
    None: of whatever comes.
    """
    if place is None:
        yield
        return
    _PLACES.append(place)
    try:
        yield
    finally:
        _PLACES.pop()


def here() -> Place | None:
    """The place of the samples that are passing through the networks."""
    return _PLACES[-1] if _PLACES else None


class SyncedDropout(nn.Dropout):
    """PyTorch's dropout of single values, drawn for the whole batch."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        kept = _kept(input, self.p, input.shape[1:]) if self.training else None
        output: Tensor = super().forward(input) if kept is None else input * kept
        return output


class _SyncedChannelDropout(nn.Dropout2d):
    """PyTorch's dropout of whole channels, drawn for the whole batch."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        kept = (
            _kept(input, self.p, (input.shape[1], *[1] * (input.ndim - 2)))
            if self.training
            else None
        )
        output: Tensor = super().forward(input) if kept is None else input * kept
        return output


def synchronise_dropout(module: nn.Module) -> nn.Module:
    """Make every dropout layer in ``module`` draw for the whole batch of all processes; changes and
    returns ``module``.

    On the CPU several processes then draw to the bit what one draws. Layers of other kinds draw for
    their own rows: all processes have the same random state, so that a row draws the same on each.
    """
    for layer in module.modules():
        if type(layer) is nn.Dropout:
            layer.__class__ = SyncedDropout
        elif type(layer) is nn.Dropout2d:
            layer.__class__ = _SyncedChannelDropout
    return module


def _kept(x: Tensor, probability: float, shape: tuple[int, ...]) -> Tensor | None:
    """What to multiply values with, for ``x`` of V views of N samples, view-major; None where that
    is not the layout of ``x``.
    """
    place = here()
    if place is None or not 0 < probability < 1 or not len(place.rows):
        return None
    views, left = divmod(len(x), len(place.rows))
    if left:
        return None
    drawn = torch.empty(views, place.total, *shape, dtype=x.dtype, device=x.device).bernoulli_(
        1 - probability
    )
    return drawn.index_select(1, place.rows.to(x.device)).flatten(0, 1).div_(1 - probability)
