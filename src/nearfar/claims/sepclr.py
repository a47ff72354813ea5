"""SepCLR: the joint entropy drives what is salient out of the common space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import cast

from torch import Tensor

from nearfar import data
from nearfar.claims.claim import Claim
from nearfar.claims.harness import Training, both_parts, linear_accuracy, pretrained, thin_convnet
from nearfar.data.samples import Source
from nearfar.evaluation.features import Labelled
from nearfar.methods.instance.sepclr import SepCLR
from nearfar.views import ImageViewSettings

TRAINING = Training(
    steps=300,
    encoder=thin_convnet(16, 32, 48),
    views=ImageViewSettings(
        scale=(0.75, 1.0), ratio=(0.9, 1.1), jitter=0.8, brightness=0.2, contrast=0.2
    ),
)
WEIGHTS = {"with k-JEM": 10.0, "without": 0.0}


@cache
def striped_digits(label: str) -> Source:
    """Stripes (background), and stripes with a digit (targets), labelled by "target", "digit" or
    "orientation".
    """
    return data.load("striped-digits", label=label)


def measure(arm: str, seed: int) -> Mapping[str, float]:
    method = pretrained(
        "sepclr",
        striped_digits("target"),
        TRAINING,
        seed=seed,
        settings={"joint_entropy_weight": WEIGHTS[arm]},
    )
    assert isinstance(method, SepCLR)
    separate = cast(Callable[[Tensor], tuple[Tensor, Tensor]], method.separate)

    def one_space(place: int, x: Tensor) -> Tensor:
        return separate(x)[place]

    found: dict[str, float] = {}
    for label in ("digit", "orientation"):
        for place, space in enumerate(("common", "salient")):
            train, test = both_parts(partial(one_space, place), striped_digits(label))
            flags = both_parts(lambda x: x.flatten(1)[:, :1], striped_digits("target"))
            targets = (
                _where(rows, flag.labels == 1)
                for rows, flag in zip((train, test), flags, strict=True)
            )
            found[f"{space}_{label}"] = linear_accuracy(*targets, seed=seed)
    return {"difference": found["salient_digit"] - found["common_digit"], **found}


def _where(rows: Labelled, chosen: Tensor) -> Labelled:
    return Labelled(rows.features[chosen], rows.labels[chosen], rows.classes)


CLAIM = Claim(
    statement="Without the joint-entropy term the digit of targets sits in the common space; with "
    "it, in the salient one.",
    first="with k-JEM",
    second="without",
    metric="difference",
    measure=measure,
    setting="Striped digits, 16 dimensions a space, weights 10, 10 and 10 (against 0) on thin "
    "convolutional nets, 300 steps of 64; linear"
    " probe for the targets' digit in the salient space minus that in the common space.",
    tuning=(
        "A first setting gave -0.03 with and -0.01 without the joint entropy; this one was chosen "
        "on seeds from "
        "0."
    ),
)
