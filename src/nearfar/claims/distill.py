"""Distillation by hints: a small student learns more from a larger teacher than by itself."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any

from nearfar.claims.claim import Claim
from nearfar.claims.harness import Training, digits, pretrained, probes, thin_convnet
from nearfar.networks.encoder import Encoder

ALONE = "SimCLR alone"
TAUGHT = "distilled"
TEACHER = Training(steps=400, encoder=thin_convnet(32, 64, 128))
STUDENT = Training(steps=300, encoder=thin_convnet(8, 16, 64))


SETTING = (
    "Digits of 8 x 8: SimCLR trains a convnet of 32, 64 and 128 channels for 400 steps of 64, "
    "which then stands still; the student has 8, 16 and 64 channels and 300 steps of 64, by SimCLR "
    "or from the teacher alone, by the method's small recipe. A linear probe on the plain test "
    "digits decides, as in SEED's paper; the teacher's steps are not counted. The papers distil "
    "networks trained on CIFAR and ImageNet."
)


@cache
def teacher(seed: int) -> Encoder:
    """A larger encoder that SimCLR has trained on the same digits for longer."""
    return pretrained("simclr", digits(), TEACHER, seed=seed).encoder


@cache
def alone(seed: int) -> Mapping[str, float]:
    """What the student learns by SimCLR."""
    return probes(pretrained("simclr", digits(), STUDENT, seed=seed), digits(), seed=seed)


def student(
    arm: str, method: str, seed: int, settings: Mapping[str, Any] | None = None
) -> Mapping[str, float]:
    """What the small encoder has learned, by SimCLR or from the teacher.

    Args:
        arm: ``ALONE``, or ``TAUGHT``.
        method: By which it is distilled.
        seed: Of teacher and student.
        settings: Of the method that differ from its small recipe.
    """
    if arm == ALONE:
        return alone(seed)
    parts: Any = {"teacher": copy.deepcopy(teacher(seed))}
    made = pretrained(method, digits(), STUDENT, seed=seed, settings=settings, parts=parts)
    return probes(made, digits(), seed=seed)


def measure(arm: str, seed: int) -> Mapping[str, float]:
    return student(arm, "distill", seed)


CLAIM = Claim(
    statement="A small student that is drawn to a larger teacher's features and maps learns more "
    "than the same student pretrained alone.",
    first=TAUGHT,
    second=ALONE,
    metric="linear",
    measure=measure,
    setting=SETTING,
    tuning="On the seed 0 the linear accuracy was 0.994 against 0.975 alone, kNN 0.942 against "
    "0.961, the augmented kNN 0.689 against 0.727; with the teacher standardised 0.983 linear, "
    "with the cosine of features alone 0.981. With a student of 16 features it was lower than "
    "alone by each measure (0.925 against 0.931 linear). The linear probe decides, as in SEED's "
    "paper.",
)
