"""iSogCLR: samples of frequent classes end with larger temperatures than samples of rare ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from nearfar.claims.claim import Claim
from nearfar.claims.harness import Training, digits, pretrained
from nearfar.data.samples import Source
from nearfar.methods.instance.isogclr import ISogCLR

TRAINING = Training(steps=800, batch_size=64)
SIZES = (120, 86, 62, 44, 32, 23, 16, 12, 8, 6)
SETTINGS = {
    "temperature": 0.3,
    "rho": 0.3,
    "gamma": 0.8,
    "beta": 0.5,
    "rate": 0.03,
    "hidden": 128,
    "projection": 64,
}


def measure(arm: str, seed: int) -> Mapping[str, float]:
    rising, falling = (class_temperatures(seed, turned=turned) for turned in (True, False))
    first_half = torch.arange(10) < 5
    frequent = torch.where(first_half, falling, rising)
    rare = torch.where(first_half, rising, falling)
    chosen = frequent if arm == "classes when frequent" else rare
    return {
        "temperature": float(chosen.mean()),
        "classes_with_more_when_frequent": float((frequent > rare).sum()),
    }


@cache
def class_temperatures(seed: int, *, turned: bool) -> Tensor:
    """Mean temperature (10,) of each class after training on digits thinned to a long tail, class 9
    the largest if ``turned``.
    """
    source = long_tailed(SIZES[::-1] if turned else SIZES)
    method = pretrained("isogclr", source, TRAINING, seed=seed, settings=SETTINGS)
    assert isinstance(method, ISogCLR)
    assert source.train.label is not None
    temperature = method.table.get_buffer("temperature")
    return torch.stack([temperature[source.train.label == digit].mean() for digit in range(10)])


def long_tailed(sizes: tuple[int, ...]) -> Source:
    """The digits' training samples thinned to ``sizes``, the first of each class."""
    label = digits().train.label
    assert label is not None
    kept = torch.cat([(label == digit).nonzero()[:size, 0] for digit, size in enumerate(sizes)])
    spec = dataclasses.replace(digits().spec, length=len(kept))
    return dataclasses.replace(digits(), spec=spec, train=digits().train.subset(kept))


CLAIM = Claim(
    statement="Learned for each sample, temperatures are larger in frequent classes than in rare "
    "ones.",
    first="classes when frequent",
    second="classes when rare",
    metric="temperature",
    measure=measure,
    setting="Digits of 8 x 8 thinned to 120 to 6 a class, once with 0 and once with 9 as the "
    "largest class, so that each class is compared"
    " with itself; perceptron, first temperature 0.3, rho 0.3, 800 steps of 64.",
    tuning="Setting and metric were chosen on seeds from 0, on which it was measured before.",
)
