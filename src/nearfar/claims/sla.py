"""SLA: joint labels of class and rotation classify better than labels alone."""

from __future__ import annotations

import dataclasses
from functools import cache

import torch

from nearfar.claims.claim import Claim
from nearfar.claims.harness import Training, digits, pretrained, tiny_convnet
from nearfar.data.samples import Source
from nearfar.evaluation.splits import stratified
from nearfar.methods.supervised.sla import SLA
from nearfar.views import ImageViewSettings, plain_view

JOINT = "SLA, aggregated"
BASELINE = "baseline"
AUGMENTED = "rotation as augmentation"
SETTINGS = {
    JOINT: {"expansion": "rotation"},
    BASELINE: {"expansion": "none"},
    AUGMENTED: {"expansion": "rotation", "objective": "augmentation"},
}
TRAINING = Training(
    steps=250,
    batch_size=50,
    learning_rate=0.05,
    optimizer="sgd",
    weight_decay=1e-4,
    encoder=tiny_convnet,
    views=ImageViewSettings(),
)


@cache
def few_digits(seed: int) -> Source:
    """About 20 training digits of each class, drawn by the seed; the other training digits are the
    test set.
    """
    source = digits()
    assert source.train.label is not None
    chosen = stratified(source.train.label, 200 / len(source.train), seed=seed)
    train, test = (source.train.subset(rows.nonzero().flatten()) for rows in (chosen, ~chosen))
    return Source(dataclasses.replace(source.spec, length=len(train)), train, test)


def measure(arm: str, seed: int) -> dict[str, float]:
    """Test accuracy."""
    source = few_digits(seed)
    method = pretrained("sla", source, TRAINING, seed=seed, settings=SETTINGS[arm])
    assert isinstance(method, SLA)
    assert source.test is not None
    assert source.test.label is not None
    x = plain_view(source.spec)(source.test.take(torch.arange(len(source.test))))
    predicted = {
        "accuracy": method.probabilities(x),
        "accuracy of single views": method.probabilities(x, aggregate=False),
    }
    return {
        name: float((found.argmax(1) == source.test.label).double().mean())
        for name, found in predicted.items()
    }


CLAIM = Claim(
    statement="One classifier of class and rotation together, averaged over rotations, is more "
    "accurate than a classifier of the class.",
    first=JOINT,
    second=BASELINE,
    metric="accuracy",
    measure=measure,
    setting="digits, 20 labels a class drawn by the seed, tested on the other training digits; 250 "
    "steps of 50 by gradient descent with"
    " momentum, three convolutions, no other augmentation. The paper trains ResNet-32 on CIFAR.",
    tuning="Open in three forms on seeds from 0.",
)
