"""VISReg: three terms recover from collapsed embeddings where a test of normality hardly pulls."""

from __future__ import annotations

from collections.abc import Mapping

from nearfar.claims.claim import Claim
from nearfar.claims.harness import Training, augmented_knn, digits, labelled, pretrained

SETTINGS: Mapping[str, dict[str, float]] = {
    "visreg": {"trade": 0.6, "directions": 64},
    "lejepa": {"trade": 0.05, "directions": 64},
}
SHARED: dict[str, float] = {"local": 0, "hidden": 128, "projection": 32}


def measure(arm: str, seed: int) -> Mapping[str, float]:
    settings = SHARED | SETTINGS[arm]
    method = pretrained(arm, digits(), Training(steps=150), seed=seed, settings=settings)
    train = labelled(method, digits().train)
    return {"augmented_knn": augmented_knn(method, digits(), train, seed=seed)}


CLAIM = Claim(
    statement="Centre, width and shape of a batch, each held by a term of its own, give better "
    "features than one test of normality along as many directions.",
    first="visreg",
    second="lejepa",
    metric="augmented_knn",
    measure=measure,
    setting="Digits of 8 x 8, perceptron, two whole views, embeddings of 32 dimensions, 64 "
    "directions a step, 150 steps of 64; VISReg with lambda 0.6, which the paper takes for small "
    "sets, LeJEPA with its own 0.05; kNN of random views of the test digits. The paper's scale "
    "(ImageNet, vision transformers, small crops) is out of reach here.",
    tuning="None: LeJEPA's setting is that of its own claim, and VISReg takes the paper's values.",
)
