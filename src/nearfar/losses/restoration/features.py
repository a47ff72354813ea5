"""Distances of images in the feature maps of a fixed network: L1, squared, Gram matrices, LPIPS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from nearfar.errors import UserError
from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import (
    expect_choice,
    expect_number,
    expect_pictures,
    per_image,
)
from nearfar.ranges import above, at_least

__all__ = [
    "DISTANCES",
    "FeatureDistance",
    "feature_distance",
    "gram",
    "perceptual_distance",
    "pixel_pyramid",
]

DISTANCES = ("l1", "mse", "gram-l1")
"""How two feature maps of one layer may be compared."""
Extractor = Callable[[Tensor], Sequence[Tensor]]


@full_precision
def gram(features: Tensor) -> Tensor:
    """Gram matrices of feature maps: which channels are active at the same places.

        gram_nij = sum_yx features_niyx features_njyx / (C H W)

    Args:
        features: (N, C, H, W).

    Returns:
        (N, C, C).

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.features import gram
        >>> gram(torch.ones(1, 1, 2, 2))
        tensor([[[1.]]])

    Source: Gatys et al. 2016, with Johnson et al. 2016's division by C H W.
    """
    expect_pictures(features=(features, "N C H W"))
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


@full_precision
def feature_distance(
    made: Sequence[Tensor],
    truth: Sequence[Tensor],
    *,
    weights: Sequence[float] | None = None,
    distance: str = "l1",
    reduction: str = "mean",
) -> Tensor:
    """Weighted sum over layers of the distance of two images' feature maps.

        loss = sum_l w_l mean |made_l - truth_l|        (distance "l1")
        loss = sum_l w_l mean (made_l - truth_l)^2      ("mse")
        loss = sum_l w_l mean |gram(made_l) - gram(truth_l)|   ("gram-l1")

    Args:
        made: Feature maps (N, C_l, H_l, W_l) of the made images, one for each layer.
        truth: Feature maps of the true images, of the same shapes.
        weights: One weight a layer, at least 0; None for ones.
        distance: One of ``DISTANCES``.
        reduction: "mean" for a scalar, or "none" for (N,).

    Raises:
        UserError: If the numbers of layers or weights differ, or shapes do not fit.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.features import feature_distance
        >>> feature_distance([torch.ones(1, 2, 2, 2)], [torch.zeros(1, 2, 2, 2)], weights=[0.5])
        tensor(0.5000)

    Source: Johnson et al. 2016, "Perceptual Losses for Real-Time Style Transfer".
    """
    expect_choice("distance", distance, DISTANCES)
    given = [1.0] * len(made) if weights is None else list(weights)
    if not len(made) == len(truth) == len(given) or not made:
        raise UserError(
            f"Expected as many feature maps of made and true images as weights, at least one;"
            f" found {len(made)}, {len(truth)} and {len(given)}."
        )
    total: Tensor | None = None
    for found, expected, weight in zip(made, truth, given, strict=True):
        expect_pictures(made=(found, "N C H W"), truth=(expected, "N C H W"))
        expect_number(Annotated[float, at_least(0)], weight=weight)
        if distance == "gram-l1":
            found, expected = gram(found), gram(expected)
        difference = found - expected
        size = difference.square() if distance == "mse" else difference.abs()
        term = weight * per_image(size, "none")
        total = term if total is None else total + term
    assert total is not None
    return per_image(total, reduction)


@full_precision
def perceptual_distance(
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    weights: Sequence[Tensor],
    *,
    offset: float = 1e-20,
    reduction: str = "mean",
) -> Tensor:
    """LPIPS over given feature maps: squared distance of unit feature vectors, weighted by channel.

        u = f / (||f|| + 1e-10) at each place;  loss = sum_l mean_yx sum_c w_lc (u_lc - v_lc)^2

    Args:
        first: Feature maps (N, C_l, H_l, W_l) of one image, one for each layer.
        second: Feature maps of the other image, of the same shapes.
        weights: (C_l,) weights of the channels, one vector a layer, at least 0.
        offset: Number inside the root of the norm. It keeps the gradient finite where all channels
            are 0; 0 for the published value to the last digit.
        reduction: "mean" for a scalar, or "none" for (N,).

    Raises:
        UserError: If the numbers of layers differ, shapes do not fit or a weight is negative.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.features import perceptual_distance
        >>> one, two = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
        >>> perceptual_distance([one.view(1, 2, 1, 1)], [two.view(1, 2, 1, 1)], [torch.ones(2)])
        tensor(2.)

    Source: Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual
    Metric".
    """
    expect_number(Annotated[float, at_least(0)], offset=offset)
    if not len(first) == len(second) == len(weights) or not first:
        raise UserError(
            f"Expected as many feature maps of both images as weights, at least one;"
            f" found {len(first)}, {len(second)} and {len(weights)}."
        )
    total: Tensor | None = None
    for one, other, weight in zip(first, second, weights, strict=True):
        expect_pictures(first=(one, "N C H W"), second=(other, "N C H W"), weights=(weight, "C"))
        if bool((weight < 0).any()):
            raise UserError("weights holds negative numbers; expected numbers of at least 0.")
        difference = (_unit(one, offset) - _unit(other, offset)).square()
        term = (difference * weight[:, None, None]).sum(dim=1).mean(dim=(1, 2))
        total = term if total is None else total + term
    assert total is not None
    return per_image(total, reduction)


def _unit(features: Tensor, offset: float) -> Tensor:
    return features / ((features.square().sum(dim=1, keepdim=True) + offset).sqrt() + 1e-10)


@full_precision
def pixel_pyramid(image: Tensor, levels: int = 3) -> list[Tensor]:
    """The image and its halves by 2x2 average pooling: the extractor that needs no weights.

    Args:
        image: (N, C, H, W).
        levels: Number of sizes, at least 1; the smallest has at least one pixel.

    Raises:
        UserError: If a side is too short for the levels.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.features import pixel_pyramid
        >>> [tuple(level.shape[2:]) for level in pixel_pyramid(torch.zeros(1, 3, 8, 12), 3)]
        [(8, 12), (4, 6), (2, 3)]

    Source: Burt and Adelson 1983, with a box in place of the Gaussian.
    """
    expect_pictures(image=(image, "N C H W"))
    expect_number(Annotated[int, at_least(1)], levels=levels)
    if min(image.shape[2:]) < 2 ** (levels - 1):
        raise UserError(
            f"{levels} levels need sides of at least {2 ** (levels - 1)} pixels;"
            f" found {tuple(image.shape[2:])}."
        )
    found = [image]
    for _ in range(levels - 1):
        found.append(avg_pool2d(found[-1], 2))
    return found


class FeatureDistance(nn.Module):
    """Distance of two images in the feature maps of a fixed extractor.

    The extractor's parameters do not move and it stays in evaluation mode. Gradient reaches the
    made images, and not the true ones.

    Args:
        extractor: From images (N, C, H, W) to a list of feature maps (N, C_l, H_l, W_l).
        layers: Positions in that list that count; None for all.
        weights: One weight a layer; None for ones.
        distance: One of ``DISTANCES``.
        scale: Factor of the feature maps, above 0; SRGAN takes 1 / 12.75 for VGG-19.
        mean: Subtracted from each channel of the images first; None for nothing.
        deviation: Divides each channel afterwards; None for nothing.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.features import FeatureDistance, pixel_pyramid
        >>> distance = FeatureDistance(pixel_pyramid, distance="mse", weights=(1.0, 1.0, 1.0))
        >>> distance(torch.ones(2, 3, 8, 8), torch.zeros(2, 3, 8, 8))
        tensor([3., 3.])

    Source: Ledig et al. 2017 (SRGAN), equation 5; Johnson et al. 2016.
    """

    mean: Tensor | None
    deviation: Tensor | None

    def __init__(
        self,
        extractor: Extractor,
        layers: Sequence[int] | None = None,
        weights: Sequence[float] | None = None,
        *,
        distance: str = "mse",
        scale: float = 1.0,
        mean: Sequence[float] | None = None,
        deviation: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        expect_choice("distance", distance, DISTANCES)
        expect_number(Annotated[float, above(0)], scale=scale)
        self.extractor = extractor
        self.layers = None if layers is None else tuple(layers)
        self.weights = None if weights is None else tuple(weights)
        self.distance = distance
        self.scale = scale
        self.register_buffer("mean", _of_channels(mean), persistent=False)
        self.register_buffer("deviation", _of_channels(deviation), persistent=False)
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> FeatureDistance:
        """Stay in evaluation mode whatever is asked."""
        super().train(False)
        return self

    def features(self, images: Tensor) -> list[Tensor]:
        """The feature maps that count, (N, C_l, H_l, W_l) each."""
        if self.mean is not None:
            images = images - self.mean
        if self.deviation is not None:
            images = images / self.deviation
        maps = list(self.extractor(images))
        layers = range(len(maps)) if self.layers is None else self.layers
        return [maps[layer] * self.scale for layer in layers]

    def forward(self, made: Tensor, truth: Tensor, reduction: str = "none") -> Tensor:
        """The distance of each pair of images, (N,); a scalar with reduction "mean"."""
        with torch.no_grad():
            expected = self.features(truth)
        return feature_distance(
            self.features(made),
            expected,
            weights=self.weights,
            distance=self.distance,
            reduction=reduction,
        )


def _of_channels(values: Sequence[float] | None) -> Tensor | None:
    return None if values is None else torch.tensor(list(values)).view(1, -1, 1, 1)
