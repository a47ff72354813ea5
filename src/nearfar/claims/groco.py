"""GroCo's claim: more views of each sample help directly."""

from __future__ import annotations

from collections.abc import Mapping

from nearfar.claims.claim import Claim
from nearfar.claims.harness import Training, digits, pretrained, probes

_VIEWS = {"4 views": 4, "2 views": 2}


def measure(arm: str, seed: int) -> Mapping[str, float]:
    method = pretrained("groco", digits(), Training(steps=400), seed=seed, settings={"views": _VIEWS[arm], "projection": 64})
    return probes(method, digits(), seed=seed)


CLAIM = Claim(
    statement="Trained by sorting, four views of each sample give better features than two.",
    first="4 views",
    second="2 views",
    metric="augmented_knn",
    measure=measure,
    seeds=5,
    setting=(
        "Digits of 8 x 8 pixels, a perceptron, batch 64, 400 steps, 10 negatives; kNN of changed test digits. The paper has ImageNet,"
        " ResNet-50 and batch 1024, and compares at equal epochs too."
    ),
)
