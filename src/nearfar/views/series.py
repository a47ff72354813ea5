"""Series views: float32 batches (N, C, T) in, normalised and changed batches out, random parameters
for every sample.

A view is a random crop resampled to the wanted length, then segments are put in another order,
values are scaled by channel, noise is added and a span of time is blanked. All strengths are in
standard deviations of the data.

Sources: Um et al. 2017, "Data augmentation of wearable sensor data for Parkinson's disease
    monitoring using convolutional
neural networks", for jitter, scaling, permutation and cropping; Iwana and Uchida 2021, "An
empirical survey of data augmentation for time series classification with neural networks", for
window slicing with resampling and equal segments; Yue et al. 2022 (TS2Vec) for masking in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.views.along import ViewsAlong, kinds_along
from nearfar.views.draws import rand, randn, rows_drawn, uniform
from nearfar.views.rows import change_rows
from nearfar.views.samples import check_samples, normalise
from nearfar.views.wanted import WantedViews


@dataclass(frozen=True)
class SeriesViewSettings:
    """One distribution of series views, applied in the order of the attributes; the defaults change
    nothing.

    Attributes:
        scale: share of the length that a crop covers, least and most, in (0, 1].
        permute: probability that segments change places.
        segments: most segments, at least 2; each sample draws its number from 2 to this.
        scaling: standard deviation of each channel's factor, about 1.
        noise: standard deviation of the noise added to each value.
        mask: probability that a span is blanked (set to the data's mean).
        masked: share of the length that a blanked span covers, least and most, in [0, 1].

    Raises:
        UserError: for a value outside its range.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    permute: float = 0.0
    segments: int = 5
    scaling: float = 0.0
    noise: float = 0.0
    mask: float = 0.0
    masked: tuple[float, float] = (0.1, 0.3)

    def __post_init__(self) -> None:
        ranges = {
            "permute": (0, 1),
            "mask": (0, 1),
            "segments": (2, 1024),
            "scaling": (0, 1000),
            "noise": (0, 1000),
        }
        for name, (least, most) in ranges.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise UserError(
                    f"The series view setting {name} is {value}: expected a number from {least} to "
                    f"{most}."
                )
        for name in ("scale", "masked"):
            low, high = getattr(self, name)
            if not 0 <= low <= high <= 1 or (name == "scale" and low == 0):
                raise UserError(
                    f"The series view setting {name} is {(low, high)}: expected least and most "
                    "share, from 0 to 1, in that order."
                )


PLAIN = SeriesViewSettings()
CROP = SeriesViewSettings(scale=(0.5, 1.0))
CONTRASTIVE = SeriesViewSettings(scale=(0.5, 1.0), permute=0.2, scaling=0.2, noise=0.1, mask=0.5)
# Eldele et al. 2021 (TS-TCC) pair a weak view (scaling, noise) with a strong one (permutation,
# noise).
WEAK = replace(CONTRASTIVE, permute=0.0, mask=0.0)
STRONG = replace(CONTRASTIVE, permute=0.5)

STYLES = {
    "contrastive": ((CONTRASTIVE,), CONTRASTIVE),
    "weak": ((WEAK,), WEAK),
    "asymmetric": ((WEAK, STRONG), WEAK),
    "crop": ((CROP,), CROP),
    "plain": ((PLAIN,), PLAIN),
}


def series_views(
    spec: Spec,
    wanted: WantedViews,
    settings: SeriesViewSettings | Sequence[SeriesViewSettings] | None = None,
) -> ViewsAlong:
    """The view maker of series; ``settings`` as ``settings_by_view`` takes them."""
    return ViewsAlong(
        spec, kinds_along(spec, wanted, STYLES, SeriesViewSettings, settings), plain_series, augment
    )


def plain_series(samples: Tensor, spec: Spec) -> Tensor:
    """The series themselves, normalised: float32 (N, C, T) to float32 of the same shape.

    Raises:
        UserError: if the samples are not float32 of shape (N, *spec.shape).
    """
    return normalise(check_samples(samples, spec, torch.float32, "values over time").clone(), spec)


def augment(
    series: Tensor, settings: SeriesViewSettings, length: int, generator: torch.Generator
) -> Tensor:
    """One view: normalised (N, C, T) to (N, C, length). All parameters of all samples are drawn at
    once.
    """
    count, channels, steps = series.shape
    share = uniform(count, settings.scale, generator)
    start = uniform(count, (0, 1), generator) * (1 - share) * steps
    whole = settings.scale[0] == 1 and length == steps
    view = series.clone() if whole else crop_and_resample(series, start, share * steps, length)
    if settings.permute > 0:
        rows = rows_drawn(count, settings.permute, generator)
        segments = uniform(count, (2, settings.segments + 1), generator).floor().long()
        priority = rand((count, settings.segments), generator)
        change_rows(
            view, rows, lambda part, index: permute_segments(part, segments[index], priority[index])
        )
    if settings.scaling > 0:
        factor = randn((count, channels, 1), generator)
        view = view * factor.to(view).mul_(settings.scaling).add_(1)
    if settings.noise > 0:
        noise = randn(view.shape, generator)
        view = view.add(noise.to(view), alpha=settings.noise)
    if settings.mask > 0:
        rows = rows_drawn(count, settings.mask, generator)
        span = uniform(count, settings.masked, generator)
        first = uniform(count, (0, 1), generator) * (1 - span)
        change_rows(
            view,
            rows,
            lambda part, index: blank_span(part, first[index] * length, span[index] * length),
        )
    return view


def crop_and_resample(series: Tensor, start: Tensor, width: Tensor, length: int) -> Tensor:
    """A stretch of each series, interpolated linearly to ``length`` steps.

    Args:
        series: (N, C, T).
        start: (N,) where the stretch begins, in steps (0 is the left edge of the first step); need
            not be whole.
        width: (N,) its width in steps, above 0, ending at T at the latest.
    """
    steps = series.shape[2]
    centres = torch.arange(length, device=series.device, dtype=series.dtype) + 0.5
    start, width = (value.to(series)[:, None] for value in (start, width))
    position = (start + centres * width / length - 0.5).clamp(0, steps - 1)
    left = position.floor().long()
    share = (position - left)[:, None]
    taps = (
        tap[:, None].expand(-1, series.shape[1], -1)
        for tap in (left, (left + 1).clamp_max(steps - 1))
    )
    before, after = (series.gather(2, tap) for tap in taps)
    return torch.lerp(before, after, share)


def permute_segments(series: Tensor, segments: Tensor, priority: Tensor) -> Tensor:
    """Cut each series into equal segments and put them in the order of their priorities.

    Args:
        series: (N, C, T).
        segments: (N,) int64, number of segments of each sample; where it does not divide T, lengths
            differ by one.
        priority: (N, most segments) distinct numbers; the segment with the smallest comes first.
    """
    steps = torch.arange(series.shape[2], device=series.device)
    segment = steps * segments.to(series.device)[:, None] // len(steps)
    order = priority.to(series.device).gather(1, segment).argsort(dim=1, stable=True)
    return series.gather(2, order[:, None].expand_as(series))


def blank_span(series: Tensor, start: Tensor, width: Tensor) -> Tensor:
    """Set the steps whose centre lies in [start, start + width) to 0, all channels alike; ``start``
    and ``width`` (N,) in steps.
    """
    centres = torch.arange(series.shape[2], device=series.device) + 0.5
    start, width = (value.to(series.device)[:, None] for value in (start, width))
    blank = (centres >= start) & (centres < start + width)
    return series.masked_fill(blank[:, None], 0.0)
