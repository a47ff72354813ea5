"""The fixed head: scaling coordinates down, without training, keeps what augmentation destroys."""

from __future__ import annotations

from collections.abc import Mapping

from nearfar.claims.claim import Claim
from nearfar.claims.fixed_head import probed, trained

KAPPA = {"fixed head": 1.2, "no head": 1.0}


def measure(arm: str, seed: int) -> Mapping[str, float]:
    return probed(trained(seed, kappa=KAPPA[arm]).encode, seed)


CLAIM = Claim(
    statement="A head that is never trained and only scales coordinates down helps as a trained one does, compared with no head.",
    first="fixed head",
    second="no head",
    metric="digit",
    measure=measure,
    setting="As for fixed-head: colour-digits whose views lose the digit with probability 0.7; kappa 1.2 against 1; 135 steps of 128.",
)
