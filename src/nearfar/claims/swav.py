"""SwAV: without balancing, all samples take one cluster."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nearfar.claims.claim import Claim
from nearfar.claims.harness import Training, digits, features_of, pretrained, probes
from nearfar.methods.clustering import swav

TRAINING = Training(steps=800, batch_size=128)
SETTINGS = {
    "epsilon": 0.03,
    "prototypes": 30,
    "projection": 32,
    "hidden": 128,
    "frozen": 0.25,
    "local": 0,
}


class Unbalanced(swav.SwAV):
    """SwAV with a softmax of each sample's own scores for codes."""

    @torch.no_grad()
    def codes(self, scores: Tensor) -> Tensor:
        return torch.softmax(scores / self.settings.epsilon, dim=2)


def measure(arm: str, seed: int) -> Mapping[str, float]:
    name = "swav" if arm == "balanced codes" else f"{__name__}:Unbalanced"
    method = pretrained(name, digits(), TRAINING, seed=seed, settings=SETTINGS)
    assert isinstance(method, swav.SwAV)
    test = digits().test
    assert test is not None
    with torch.no_grad():
        cluster = method.prototypes(method.projector(features_of(method, test))).argmax(dim=1)
    shares = torch.bincount(cluster, minlength=method.settings.prototypes) / len(cluster)
    found = probes(method, digits(), seed=seed)
    return {
        "cluster_entropy": float(torch.special.entr(shares).sum()),
        "clusters_used": float((shares > 0).sum()),
        **{key: found[key] for key in ("augmented_knn", "effective_rank")},
    }


CLAIM = Claim(
    statement="Codes must be balanced over the prototypes (Sinkhorn): with softmax codes the "
    "clusters collapse into one.",
    first="balanced codes",
    second="softmax codes",
    metric="cluster_entropy",
    measure=measure,
    setting="Digits of 8 x 8, perceptron, two whole crops instead of eight, 30 prototypes, epsilon "
    "0.03, 800 steps of 128; the entropy of"
    " the test samples' nearest prototypes, at most log 30 = 3.4.",
    tuning="Setting and metric were chosen on seeds from 0, on which it was measured before.",
)
