"""The projection head: what augmentation destroys is better preserved before it than after it; and
so by a head that never learns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from nearfar import data
from nearfar.claims.claim import Claim
from nearfar.claims.harness import Training, both_parts, linear_accuracy, pretrained, thin_convnet
from nearfar.data.samples import Source
from nearfar.methods.instance.fixed_head import FixedHead
from nearfar.views import ImageViewSettings

CROPS = ImageViewSettings(scale=(0.5, 1.0), ratio=(0.8, 1.25))
"""Views that leave colours as they are."""
REMOVED = 0.7
UNTRAINED = {"digit_with_fixed_head": 1.2, "digit_without_head": 1.0}
"""For comparison, kappa of heads that are never trained."""


@cache
def colour_digits(label: str) -> Source:
    """A white digit on one of 8 colours, labelled by "digit" or by "colour"."""
    return data.load("colour-digits", label=label)


def without_digit(images: Tensor, generator: torch.Generator) -> Tensor:
    """The colour alone instead of ``REMOVED`` of the images."""
    removed = torch.rand(len(images), generator=generator) < REMOVED
    return torch.where(removed[:, None, None, None], images[:, :, :1, :1], images)


TRAINING = Training(
    steps=135, batch_size=128, encoder=thin_convnet(16, 32, 64), views=CROPS, before=without_digit
)


@cache
def trained(seed: int, **settings: Any) -> FixedHead:
    """The method trained on colour-digits with settings that differ from the defaults."""
    method = pretrained(
        "fixed-head", colour_digits("digit"), TRAINING, seed=seed, settings=settings
    )
    assert isinstance(method, FixedHead)
    return method


def probed(encode: Callable[[Any], Tensor], seed: int) -> dict[str, float]:
    """Accuracy of linear probes for digit and colour."""
    return {
        label: linear_accuracy(*both_parts(encode, colour_digits(label)), seed=seed)
        for label in ("digit", "colour")
    }


def measure(arm: str, seed: int) -> Mapping[str, float]:
    method = trained(seed, head="mlp")
    if arm == "after the head":
        return probed(method.project, seed)
    untrained = {
        name: probed(trained(seed, kappa=kappa).encode, seed)["digit"]
        for name, kappa in UNTRAINED.items()
    }
    return {**probed(method.encode, seed), **untrained}


CLAIM = Claim(
    statement="A feature that augmentation often destroys is easier to read before a trained "
    "projection head than after it.",
    first="before the head",
    second="after the head",
    metric="digit",
    measure=measure,
    setting="Colour-digits, views that lose the digit with probability 0.7, SimCLR with an MLP "
    "head on a thin convolutional net of 64"
    " features, 135 steps of 128; linear probe for the digit.",
    tuning="Setting and metric were chosen on seeds from 0, on which it was measured before.",
)
