"""What methods on pairs of a degraded and a clean image ask of their data."""

from __future__ import annotations

import torch

from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.networks.encoder import Encoder
from nearfar.networks.restorers.restorer import Restorer
from nearfar.views.image.aligned import factor_of


def expect_enlargeable(encoder: Restorer, spec: Spec) -> None:
    """Refuse data whose clean images are not what the network makes of the degraded ones.

    Raises:
        UserError: If sizes do not fit by the network's factor, channels differ, or the images are
            not seen in [0, 1].
    """
    degraded = spec.parts["degraded"]
    clean = spec.parts["clean"]
    expected = (degraded.shape[0], *(side * encoder.factor for side in degraded.shape[1:]))
    if clean.shape != expected or factor_of(degraded) != encoder.factor * factor_of(clean):
        raise UserError(
            f"Degraded images of {spec.name} are {degraded.size}, and this network makes them "
            f"{' x '.join(map(str, expected))}; the clean ones are {clean.size}: prepare the data "
            f"with --with degrade:bicubic,factor={encoder.factor}, or take a fresh network."
        )
    for name, part in (("degraded", degraded), ("clean", clean)):
        if set(part.mean) - {0.0} or set(part.std) - {1.0}:
            raise UserError(
                f"The {name} images of {spec.name} are normalised by their mean; expected images "
                "in [0, 1], as the preparation degrade gives them."
            )


def expect_maps(features: Encoder, seen: Spec, clean: Spec, side: int) -> None:
    """Refuse an encoder whose feature maps cannot compare crops of the clean images.

    Args:
        features: The encoder.
        seen: Spec of the data that it was trained on.
        clean: Spec of the clean images.
        side: Of the crops, in pixels.

    Raises:
        UserError: If it takes no images, or images of other channels, or has no feature map.
    """
    if len(seen.shape) != 3 or seen.shape[0] != clean.shape[0]:
        raise UserError(
            f"The encoder whose features are compared was trained on {seen.name} "
            f"({seen.modality}, {seen.size}), and the clean images are {clean.size}: give features "
            f"of a run on images of {clean.shape[0]} channels."
        )
    with torch.no_grad():
        features.eval().feature_map(torch.zeros(1, clean.shape[0], side, side))
