"""SEED: a small student learns more from a larger teacher's similarities than by itself."""

from __future__ import annotations

from collections.abc import Mapping

from nearfar.claims.claim import Claim
from nearfar.claims.distill import ALONE, SETTING, TAUGHT, student


def measure(arm: str, seed: int) -> Mapping[str, float]:
    return student(arm, "seed", seed)


CLAIM = Claim(
    statement="A small student that has a larger teacher's shares of similarity to past samples "
    "learns more than the same student pretrained alone.",
    first=TAUGHT,
    second=ALONE,
    metric="linear",
    measure=measure,
    setting=SETTING,
    tuning="On the seed 0 the linear accuracy was 0.989 against 0.975 alone with the paper's "
    "temperatures, kNN 0.956 against 0.961, the augmented kNN 0.693 against 0.727. With the "
    "teacher standardised the linear accuracy was 0.978 to 0.981 at teacher temperatures of 0.01, "
    "0.02 and 0.04. The linear probe decides, as in the paper.",
)
