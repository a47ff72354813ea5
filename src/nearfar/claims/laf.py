"""LAF: alignment with the encoder as it was keeps what is not to be forgotten."""

from __future__ import annotations

import copy
from functools import cache

from nearfar.claims.claim import Claim
from nearfar.claims.harness import Training, digits, pretrained, tiny_convnet
from nearfar.data.prepare import prepared
from nearfar.data.samples import Source
from nearfar.evaluation.features import predicted
from nearfar.methods.labels.classifier import Classifier
from nearfar.methods.labels.laf import ROLES
from nearfar.methods.method import Method
from nearfar.results.classes import Classes
from nearfar.views import ImageViewSettings, plain_view

WHOLE = "LAF"
UNLEARNING = "unlearning alone"
SETTINGS = {WHOLE: {"align": True}, UNLEARNING: {"align": False}}
FIRST = Training(steps=300, batch_size=64, encoder=tiny_convnet, views=ImageViewSettings())


@cache
def forgetful_digits(seed: int) -> Source:
    """The digits, of which one class, by the seed, is to be forgotten."""
    return prepared(digits(), (f"forget:name={seed % 10}",), seed=seed)


@cache
def finished(seed: int) -> Method:
    """The classifier that both arms start from."""
    return pretrained("classifier", forgetful_digits(seed), FIRST, seed=seed)


def measure(arm: str, seed: int) -> dict[str, float]:
    """Test accuracy of the remaining classes minus that of the forgotten one, which decides, and
    both.
    """
    return unlearned(arm, forgetful_digits(seed), finished(seed), seed=seed, steps=240)


def unlearned(
    arm: str, source: Source, classifier: Method, *, seed: int, steps: int
) -> dict[str, float]:
    """The figures of a copy of a finished classifier that has unlearned what the source names."""
    part = copy.deepcopy(classifier)
    assert isinstance(part, Classifier)
    training = Training(
        steps=steps,
        batch_size=64,
        learning_rate=5e-4,
        optimizer="adam",
        weight_decay=0.0,
        encoder=lambda _: part.encoder,
        views=ImageViewSettings(),
    )
    parts = {"classifier": part}
    method = pretrained("laf", source, training, seed=seed, settings=SETTINGS[arm], parts=parts)
    return told(method, source)


def told(method: Method, source: Source) -> dict[str, float]:
    """Test accuracy of the classes to keep and of the one to forget, and their difference."""
    test = source.test
    assert test is not None
    assert test.label is not None
    found = predicted(method.predict, test, plain_view(method.spec))
    assert isinstance(found, Classes)
    right = (found.label == test.label).double()
    forgotten = test.group["role"] == ROLES.index("forget")
    kept = float(right[~forgotten].mean())
    left = float(right[forgotten].mean())
    return {"remaining minus forgotten": kept - left, "remaining": kept, "forgotten": left}


CLAIM = Claim(
    statement="A classifier that unlearns one class in the space of embeddings keeps the others "
    "if its embeddings are aligned with those of the encoder as it was, and loses them otherwise.",
    first=WHOLE,
    second=UNLEARNING,
    metric="remaining minus forgotten",
    measure=measure,
    setting="digits; three convolutions trained as a classifier for 300 steps of 64, then 240 "
    "steps of 32 samples to forget (one class, in turn by the seed) and 32 that remain, Adam at "
    "0.0005 for the unlearning and 0.001 for the alignment along a cosine, without labels. The "
    "number is the test accuracy of the nine remaining classes minus that of the forgotten one. "
    "The paper forgets classes, random samples and wrong labels of CIFAR and others.",
    tuning="None; the rates are those of the method's recipe for small data. On seed 0 they gave "
    "0.988 against -1.000.",
)
