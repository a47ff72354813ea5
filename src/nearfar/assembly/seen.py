"""How a trained encoder or method sees other data than its own: normalised as in training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from nearfar.data.spec import Spec
from nearfar.views import plain_view


def view_of(trained: Spec, spec: Spec) -> Callable[[Any], Any]:
    """From raw samples to what a trained encoder or method takes.

    Statistics are those of training, shapes those of the data. Where samples had several parts in
    training and the data are bare, they are taken for its first part of that modality.

    Args:
        trained: Of the data that the encoder or method was built for.
        spec: Of the data that are looked at.
    """
    return plain_view(as_trained(trained, spec))


def as_trained(trained: Spec, spec: Spec) -> Spec:
    """The spec of data with the statistics of training, and with as many values of each node."""
    if spec.parts:
        parts = {
            name: as_trained(trained.parts.get(name, trained), part)
            for name, part in spec.parts.items()
        }
        return dataclasses.replace(spec, parts=parts)
    own = trained.of(spec.modality) or trained
    nodes = {name: own.nodes.get(name, width) for name, width in spec.nodes.items()}
    return dataclasses.replace(spec, mean=own.mean, std=own.std, nodes=nodes)
