"""Blocks of an encoder whose activations are computed a second time instead of kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from nearfar.batch import Place
from nearfar.networks.encoder import Encoder
from nearfar.training.processes import dropout


class Recomputed(nn.Module):
    """Mixed into the class of a block: of a forward pass with gradient it keeps the inputs alone,
    and makes the rest again in the backward pass.

    The second pass draws the dropout of the first one, and leaves the block's buffers (the running
    statistics of batch norm) as the first one left them, so that a run is the same to the bit.

    Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".
    """

    def forward(self, *inputs: Any, **options: Any) -> Any:
        forward = super().forward
        if not torch.is_grad_enabled():
            return forward(*inputs, **options)
        place = dropout.here()

        def contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
            return nullcontext(), _again(self, place)

        return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts, **options)


def recompute(encoder: Encoder) -> None:
    """Let the encoder's blocks recompute; only their class changes."""
    for block in encoder.opened_blocks():
        if not isinstance(block, Recomputed):
            block.__class__ = _recomputing(type(block))  # type: ignore[arg-type]


@cache
def _recomputing(kind: type[nn.Module]) -> type[nn.Module]:
    return type(kind.__name__, (Recomputed, kind), {})


@contextmanager
def _again(block: nn.Module, place: Place | None) -> Iterator[None]:
    buffers = [(buffer, buffer.detach().clone()) for buffer in block.buffers()]
    try:
        with dropout.of(place):
            yield
    finally:  # the pass is left by an exception as soon as all is there
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
