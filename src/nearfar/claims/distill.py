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


@cache
def teacher(seed: int) -> Encoder:
    """A larger encoder that SimCLR has trained on the same digits for twice as long."""
    return pretrained("simclr", digits(), TEACHER, seed=seed).encoder


def student(arm: str, method: str, seed: int, settings: Mapping[str, Any]) -> dict[str, float]:
    """What the small encoder has learned, by SimCLR or from the teacher.

    Args:
        arm: ``ALONE``, or another name for the distilled student.
        method: By which it is distilled.
        seed: Of teacher and student.
        settings: Of the method.
    """
    if arm == ALONE:
        return probes(pretrained("simclr", digits(), STUDENT, seed=seed), digits(), seed=seed)
    parts: Any = {"teacher": copy.deepcopy(teacher(seed))}
    made = pretrained(method, digits(), STUDENT, seed=seed, settings=settings, parts=parts)
    return probes(made, digits(), seed=seed)


def measure(arm: str, seed: int) -> Mapping[str, float]:
    return student(arm, "distill", seed, {})


CLAIM = Claim(
    statement="A small student that is drawn to a larger teacher's features and maps learns more "
    "than the same student pretrained alone.",
    first=TAUGHT,
    second=ALONE,
    metric="augmented_knn",
    measure=measure,
    setting="",
    tuning="",
)
