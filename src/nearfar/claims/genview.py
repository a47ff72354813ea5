"""GenView: pairs whose foreground is not the same lose weight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nearfar.batch import Batch
from nearfar.claims.claim import Claim
from nearfar.claims.harness import digits, tiny_convnet
from nearfar.data.content.arrays import in_memory
from nearfar.data.spec import Spec
from nearfar.losses.instance.view_quality import weights_of
from nearfar.methods.hosted.genview import GenView
from nearfar.training.training_set import LoadedTrainingSet
from nearfar.views import ImageViewSettings

SIDE = 24
DIGIT = 16
WRONG = 0.3
VIEWS = ImageViewSettings(scale=(0.8, 1.0))


def striped(count: int, generator: torch.Generator) -> Tensor:
    """Backgrounds (N, 1, 24, 24) of stripes with random direction, width and phase, values from
    0.05 to 0.45.
    """
    angle, frequency, phase = torch.rand(3, count, 1, 1, 1, generator=generator)
    down, across = torch.meshgrid(
        torch.arange(float(SIDE)), torch.arange(float(SIDE)), indexing="ij"
    )
    along = across * (math.pi * angle).cos() + down * (math.pi * angle).sin()
    return 0.25 + 0.2 * torch.sin((0.5 + frequency) * along + 2 * math.pi * phase)


def composed(images: Tensor, background: Tensor) -> Tensor:
    """Digits (N, 1, 8, 8) in the middle of the backgrounds, uint8."""
    margin = (SIDE - DIGIT) // 2
    opaque = torch.nn.functional.pad(
        interpolate(images, (DIGIT, DIGIT), mode="bilinear"), (margin,) * 4
    )
    return (255 * (background * (1 - opaque) + opaque)).round().to(torch.uint8)


@cache
def pair_weights(seed: int) -> tuple[Tensor, Tensor]:
    """Weights (N,) of pairs under a method that was fitted to composed digits, and which of the
    pairs (N,) are wrong.

    A right pair shows one digit on two backgrounds, a wrong one two digits on one background.
    """
    generator = torch.Generator().manual_seed(seed)
    train = digits().train
    shapes = train.take(torch.arange(len(train))).float() / 255
    background = striped(len(shapes), generator)
    images = composed(shapes, background)
    values = images.float() / 255
    spec = Spec(
        "composed digits",
        "image",
        (1, SIDE, SIDE),
        len(images),
        mean=(float(values.mean()),),
        std=(float(values.std()),),
    )
    torch.manual_seed(seed)
    method = GenView(
        tiny_convnet(spec), spec, GenView.Settings(host_recipe="small", generator_steps=200)
    )
    method.before_epoch(0, LoadedTrainingSet(in_memory(images), method, seed))
    wrong = torch.rand(len(images), generator=generator) < WRONG
    others = shapes[torch.randperm(len(shapes), generator=generator)]
    right_pairs = composed(shapes, striped(len(shapes), generator))
    wrong_pairs = composed(others, background)
    second = torch.where(wrong[:, None, None, None], wrong_pairs, right_pairs)
    views = method.views(VIEWS)([images, second], generator)
    with torch.no_grad():
        quality = method.eval()(Batch(views, torch.arange(len(images))))["quality"]
    return weights_of(quality, sharpness=method.settings.sharpness), wrong


def measure(arm: str, seed: int) -> Mapping[str, float]:
    weight, wrong = pair_weights(seed)
    if arm == "equal weights":
        weight = torch.ones_like(weight)
    correlation = (
        0.0
        if arm == "equal weights"
        else float(torch.corrcoef(torch.stack([weight, wrong.float()]))[0, 1])
    )
    return {
        "weight_of_right_pairs": float(weight[~wrong].mean()),
        "weight_of_wrong_pairs": float(weight[wrong].mean()),
        "correlation_with_wrong": correlation,
    }


CLAIM = Claim(
    statement="Quality weights favour pairs of one object on different backgrounds over pairs of "
    "different objects on one background.",
    first="quality weights",
    second="equal weights",
    metric="weight_of_right_pairs",
    measure=measure,
    setting="Digits on striped backgrounds, 24 x 24, 30 % of the pairs wrong; GenView's own "
    "autoencoder (200 steps) gives the tokens, views"
    " are crops of 80 % and more. Equal weights are 1. What the weights do for accuracy is not "
    "measured.",
    tuning="Setting and metric were chosen on seeds from 0, on which it was measured before.",
)
