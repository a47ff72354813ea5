"""Views of point clouds: float32 (N, 3, K) in, normalised and changed clouds out, random parameters
for every sample.

A view is a part of the cloud about a random point, thinned out, turned about the vertical (third)
axis, scaled and shaken. Parts and thinned clouds keep the wanted number of points: those that are
left are repeated.

Sources: Qi et al. 2017, "PointNet++", for turning about the vertical, scaling, shaking and random
    dropout of points; Xie et al. 2020,
"PointContrast", for contrast between turned parts of one scene.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.views.along import ViewsAlong, kinds_along
from nearfar.views.draws import rand, randn, uniform
from nearfar.views.samples import check_samples, normalise
from nearfar.views.wanted import WantedViews


@dataclass(frozen=True)
class PointViewSettings:
    """One distribution of views of point clouds, applied in the order of the attributes; the
    defaults change nothing.

    Attributes:
        scale: share of the points that a part about a random one holds, least and most, in (0, 1].
        dropout: most of these that are left out, as a share in [0, 1).
        turn: whether each cloud is turned about the vertical axis by any angle.
        size: most by which sizes change, as a share in [0, 1).
        jitter: standard deviation of each coordinate's shake, in deviations of the data, at least
            0.

    Raises:
        UserError: for a value outside its range.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    dropout: float = 0.0
    turn: bool = False
    size: float = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        for name, (value, most) in {
            "dropout": (self.dropout, 1),
            "size": (self.size, 1),
            "jitter": (self.jitter, 1000),
        }.items():
            if not 0 <= value < most:
                raise UserError(
                    f"The point view setting {name} is {value}: expected a number from 0 to below "
                    f"{most}."
                )
        low, high = self.scale
        if not 0 < low <= high <= 1:
            raise UserError(
                f"The point view setting scale is {(low, high)}: expected least and most share, "
                "above 0 to 1, in that order."
            )


PLAIN = PointViewSettings()
CROP = PointViewSettings(scale=(0.5, 1.0), turn=True)
CONTRASTIVE = PointViewSettings(scale=(0.5, 1.0), dropout=0.5, turn=True, size=0.2, jitter=0.02)
WEAK = replace(CONTRASTIVE, scale=(0.8, 1.0), dropout=0.0)

STYLES = {
    "contrastive": ((CONTRASTIVE,), CONTRASTIVE),
    "weak": ((WEAK,), WEAK),
    "asymmetric": ((WEAK, CONTRASTIVE), WEAK),
    "crop": ((CROP,), CROP),
    "plain": ((PLAIN,), PLAIN),
}


def point_views(
    spec: Spec,
    wanted: WantedViews,
    settings: PointViewSettings | Sequence[PointViewSettings] | None = None,
) -> ViewsAlong:
    """The view maker of point clouds; ``settings`` as ``settings_by_view`` takes them."""
    return ViewsAlong(
        spec,
        kinds_along(spec, wanted, STYLES, PointViewSettings, settings),
        _check,
        partial(augment, spec=spec),
    )


def plain_points(samples: Tensor, spec: Spec) -> Tensor:
    """The clouds themselves, normalised by coordinate: float32 (N, 3, K) to float32 of the same
    shape.

    Raises:
        UserError: if the samples are not float32 of shape (N, *spec.shape).
    """
    return normalise(_check(samples, spec).clone(), spec)


def augment(
    points: Tensor,
    settings: PointViewSettings,
    count: int,
    generator: torch.Generator,
    *,
    spec: Spec,
) -> Tensor:
    """One view: clouds (N, 3, K) to normalised (N, 3, count). All parameters of all samples are
    drawn at once.
    """
    samples = len(points)
    share = uniform(samples, settings.scale, generator)
    view = points.clone()
    if settings.scale[0] < 1 or count != points.shape[2]:
        view = nearest_part(view, uniform(samples, (0, 1), generator), share, count)
    if settings.dropout > 0:
        left = 1 - uniform(samples, (0, settings.dropout), generator)
        view = thinned(view, rand((samples, count), generator), left)
    if settings.turn:
        view = turned(view, uniform(samples, (0, 2 * math.pi), generator))
    if settings.size > 0:
        view = (
            view
            * uniform(samples, (1 - settings.size, 1 + settings.size), generator).to(view)[
                :, None, None
            ]
        )
    normalise(view, spec)
    if settings.jitter > 0:
        shake = randn(view.shape, generator)
        view = view.add(shake.to(view), alpha=settings.jitter)
    return view


def nearest_part(points: Tensor, centre: Tensor, share: Tensor, count: int) -> Tensor:
    """The points nearest to one of them, each as often as it takes to make ``count``.

    Args:
        points: (N, 3, K).
        centre: (N,) in [0, 1): which point is the middle of the part, as a share of K.
        share: (N,) in (0, 1]: of the points that are taken, at least one.
        count: points wanted.
    """
    total = points.shape[2]
    middle = (centre.to(points.device) * total).long()
    distance = (
        (points - points.gather(2, middle[:, None, None].expand(-1, 3, 1))).square().sum(dim=1)
    )
    return _repeated(points, distance.argsort(dim=1, stable=True), share, count)


def thinned(points: Tensor, priority: Tensor, share: Tensor) -> Tensor:
    """A share (N,) of the points, those of least priority (N, K), each as often as it takes to make
    K again.
    """
    return _repeated(
        points, priority.to(points.device).argsort(dim=1, stable=True), share, points.shape[2]
    )


def turned(points: Tensor, angle: Tensor) -> Tensor:
    """Clouds (N, 3, K) turned about the third axis by (N,) radians, x towards y."""
    cos, sin = (value.to(points)[:, None] for value in (angle.cos(), angle.sin()))
    x, y, z = points.unbind(dim=1)
    return torch.stack([cos * x - sin * y, sin * x + cos * y, z], dim=1)


def _repeated(points: Tensor, order: Tensor, share: Tensor, count: int) -> Tensor:
    """The first of ``order`` (N, K), a share of them, evenly repeated or thinned to ``count``."""
    kept = (share.to(points.device) * points.shape[2]).round().clamp(min=1)[:, None]
    place = (
        ((torch.arange(count, device=points.device) + 0.5) * kept / count)
        .long()
        .clamp(max=points.shape[2] - 1)
    )
    return points.gather(2, order.gather(1, place)[:, None].expand(-1, 3, -1))


def _check(samples: Tensor, spec: Spec) -> Tensor:
    return check_samples(samples, spec, torch.float32, "points in space")
