"""The momentum copy of every method that has one moves as its paper says, and rises where it says
so.
"""

from __future__ import annotations

import math

import pytest
import torch

from nearfar.methods import registry
from nearfar.methods.method import Method
from nearfar.targets.momentum import MomentumEncoder
from nearfar.testing.toys import toy

RISING = {"byol", "moco-v3", "dino", "dinov2", "cacr-moco-v3", "pixpro"}
STRAIGHT = {"i-jepa"}
"""These rise to 1 in a straight line."""
CONSTANT = {
    "moco-v2",
    "mochi",
    "feature-transformation",
    "cacr-queue",
    "amcl-moco",
    "directpred",
    "ressl",
}


def _copy_of(method: Method) -> tuple[str, MomentumEncoder] | None:
    return next(
        (
            (name, part)
            for name, part in method.named_children()
            if isinstance(part, MomentumEncoder)
        ),
        None,
    )


def test_every_method_with_a_copy_is_here() -> None:
    found = {name for name in registry.names() if _copy_of(toy(name)[0]) is not None}
    assert found == RISING | STRAIGHT | CONSTANT


@pytest.mark.parametrize("name", sorted(RISING | STRAIGHT | CONSTANT))
def test_the_copy_follows_the_online_network(name: str) -> None:
    """copy <- m copy + (1 - m) online, with m = 1 - (1 - m_0) (1 + cos(pi progress)) / 2 where it
    rises along a cosine.
    """
    method, batch = toy(name)
    found = _copy_of(method)
    assert found is not None
    copied = found[1]
    outputs = method(batch)
    weight = next(copied.parameters())
    online = next(method.encoder.parameters())
    for progress in (0.25, 0.75, 1.0):
        method.progress = progress
        with torch.no_grad():
            online.add_(1.0)
            before = weight.clone()
            method.after_step(outputs)
        start = method.settings.momentum
        momentum = start
        if name in RISING:
            momentum = 1 - (1 - start) * (1 + math.cos(math.pi * progress)) / 2
        elif name in STRAIGHT:
            momentum = start + (1 - start) * progress
        torch.testing.assert_close(
            weight, momentum * before + (1 - momentum) * online, rtol=1e-12, atol=1e-12
        )
