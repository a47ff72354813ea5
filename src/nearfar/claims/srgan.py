"""SRGAN: with a critic the fine detail of enlarged images comes nearer to that of real ones."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import cache
from typing import Any

from nearfar.claims.claim import Claim
from nearfar.claims.harness import Training, digits, pretrained
from nearfar.data.prepare import prepared
from nearfar.data.samples import Source
from nearfar.evaluation.features import predicted
from nearfar.evaluation.measures.restoration import detail_ratio, similarities
from nearfar.methods.method import Method
from nearfar.views import plain_view

CRITIC = "critic"
ERROR = "squared error alone"
TRAINING = Training(
    steps=1500,
    batch_size=32,
    learning_rate=1e-3,
    optimizer="adam:beta1=0.9,beta2=0.999",
    weight_decay=0.0,
    encoder="srresnet-small",
    views=None,
)


@cache
def small_digits() -> Source:
    """Digits of 2 x 2 pixels beside the digits of 8 x 8 pixels that they come from."""
    return prepared(digits(), ("degrade:bicubic,factor=4",), seed=0)


@cache
def first_stage(seed: int) -> Method:
    """The enlarger that both arms go on with."""
    return pretrained("srresnet", small_digits(), TRAINING, seed=seed)


def second_stage(arm: str, seed: int) -> Method:
    """The enlarger after as many steps again, with a critic or without."""
    encoder: Any = copy.deepcopy(first_stage(seed).encoder)
    training = replace(TRAINING, encoder=lambda spec: encoder)
    method = "srgan" if arm == CRITIC else "srresnet"
    return pretrained(method, small_digits(), training, seed=seed)


def measure(arm: str, seed: int) -> dict[str, float]:
    """How near the detail is to the truth (the negative distance of its median ratio from 1, in
    logarithms), the ratio itself, and the PSNR of the test images.
    """
    source = small_digits()
    method = second_stage(arm, seed)
    assert source.test is not None
    view = plain_view(source.spec)
    made = predicted(method.predict, source.test, view).pixels / 255
    truth = source.test.content["clean"].float() / 255
    ratio = float(detail_ratio(made, truth).median())
    return {
        "nearness of detail": -abs(math.log(ratio)),
        "detail": ratio,
        "PSNR": float(similarities(made, truth)["PSNR"].mean()),
    }


CLAIM = Claim(
    statement="Training on with a critic brings the fine detail of enlarged images nearer to that "
    "of real images than training on with squared error does, at a lower PSNR.",
    first=CRITIC,
    second=ERROR,
    metric="nearness of detail",
    measure=measure,
    setting="Digits enlarged from 2 x 2 to 8 x 8 pixels by 4 residual blocks of 32 channels, 1,500 "
    "steps of 32 on squared error, then 1,500 steps with the critic or without; nearness is the "
    "negative distance of the median ratio of Laplacian energies from 1, in logarithms. The paper "
    "enlarges photographs by the features of VGG-19 and asks people.",
    tuning="Metric and setting were fixed before any run of this claim.",
    seeds=5,
)
