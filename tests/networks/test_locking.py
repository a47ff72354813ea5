"""Layers from input to output, and that only the last ones learn."""

from __future__ import annotations

import pytest

from nearfar import networks
from nearfar.networks.locking import layer_groups, lock

from .specs import images, texts

PICTURES = images(3, 32, 32)
ENCODERS = [
    ("small-convnet", PICTURES, 4),
    ("vit-tiny", PICTURES, 13),
    ("resnet18", PICTURES, 9),
    (None, texts(), 5),
]


@pytest.mark.parametrize(("name", "spec", "count"), ENCODERS)
def test_every_parameter_is_in_one_layer_in_order(
    name: str | None, spec: object, count: int
) -> None:
    encoder = networks.build(name, spec)
    groups = layer_groups(encoder)
    assert len(groups) == count
    assert [id(p) for group in groups for p in group] == [id(p) for p in encoder.parameters()]
    assert all(any(p.ndim > 1 for p in group) for group in groups)


@pytest.mark.parametrize(("name", "spec", "count"), ENCODERS)
@pytest.mark.parametrize("learning", [0, 2, 99])
def test_only_the_last_layers_learn(
    name: str | None, spec: object, count: int, learning: int
) -> None:
    encoder = networks.build(name, spec)
    lock(encoder, learning=learning)
    learns = [{p.requires_grad for p in group} for group in layer_groups(encoder)]
    still = max(0, count - learning)
    assert learns == [{False}] * still + [{True}] * (count - still)
