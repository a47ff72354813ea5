"""What methods on pairs of a degraded and a clean image ask of their data."""

from __future__ import annotations

from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.networks.restorers.restorer import Restorer
from nearfar.views.aligned import factor_of


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
