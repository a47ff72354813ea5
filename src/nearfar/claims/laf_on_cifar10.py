"""LAF on photographs: alignment with the encoder as it was keeps what is not to be forgotten."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from nearfar.claims.claim import Claim
from nearfar.claims.files import loaded
from nearfar.claims.harness import Training, pretrained, thin_convnet
from nearfar.claims.laf import FIRST, UNLEARNING, WHOLE, told, unlearned
from nearfar.data.prepare import prepared
from nearfar.data.samples import Source
from nearfar.methods.method import Method

CHOSEN = 3000
"""Training images."""
TRAINING: Training = replace(FIRST, steps=1000, encoder=thin_convnet(24, 48, 64))
STEPS = 240


@cache
def forgetful(seed: int) -> Source:
    """Photographs, of which one class, by the seed, is to be forgotten."""
    source = loaded("cifar10", limit=CHOSEN)
    chosen = source.spec.classes[seed % len(source.spec.classes)]
    return prepared(source, (f"forget:name={chosen}",), seed=seed)


@cache
def finished(seed: int) -> Method:
    """The classifier that both arms start from."""
    return pretrained("classifier", forgetful(seed), TRAINING, seed=seed)


def measure(arm: str, seed: int) -> dict[str, float]:
    """As for digits, and what the classifier knew before."""
    before = told(finished(seed), forgetful(seed))
    found = unlearned(arm, forgetful(seed), finished(seed), seed=seed, steps=STEPS)
    return {
        **found,
        "remaining before": before["remaining"],
        "forgotten before": before["forgotten"],
    }


CLAIM = Claim(
    statement="A classifier of photographs that unlearns one class in the space of embeddings "
    "keeps the others if its embeddings are aligned with those of the encoder as it was, and loses "
    "them otherwise.",
    first=WHOLE,
    second=UNLEARNING,
    metric="remaining minus forgotten",
    measure=measure,
    seeds=3,
    setting="CIFAR-10, 3,000 training photographs and all 10,000 test photographs; three "
    "convolutions of 24, 48 and 64 channels trained as a classifier for 1,000 steps of 64, then "
    "240 steps of 32 samples to forget (one class, in turn by the seed) and 32 that remain, Adam "
    "at 0.0005 for the unlearning and 0.001 for the alignment along a cosine, without labels: all "
    "as on digits. The number is the test accuracy of the nine remaining classes minus that of the "
    "forgotten one. The paper trains ResNet-18 on all photographs until 83 %.",
    tuning="None; rates and steps of the unlearning are those of the claim on digits.",
)
