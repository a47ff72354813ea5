"""Views of sound: log-mel spectrograms (N, bands, T) in, normalised and changed ones out, random
parameters for every sample.

A view is a crop in time resampled to the wanted length, made louder or quieter, noised, with a span
of time and a range of bands blanked.

Sources: Niizumi et al. 2021, "BYOL for Audio", for crops of the log-mel spectrogram that are
    resized; Park et al. 2019, "SpecAugment",
for masks in time and frequency.
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
from nearfar.views.draws import randn, uniform
from nearfar.views.samples import check_samples, normalise
from nearfar.views.series import blank_span, crop_and_resample
from nearfar.views.wanted import WantedViews

_DECIBEL = math.log(10) / 10
"""In the natural logarithm of a power."""


@dataclass(frozen=True)
class AudioViewSettings:
    """One distribution of views of sound, applied in the order of the attributes; the defaults
    change nothing.

    Attributes:
        scale: share of the time that a crop covers, least and most, in (0, 1].
        gain: most decibels by which the level rises or falls, at least 0.
        noise: standard deviation of the noise added to each value, in deviations of the data, at
            least 0.
        masked_time: most of the time that is blanked, as a share in [0, 1].
        masked_bands: most of the bands that are blanked, as a share in [0, 1].

    Raises:
        UserError: for a value outside its range.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    gain: float = 0.0
    noise: float = 0.0
    masked_time: float = 0.0
    masked_bands: float = 0.0

    def __post_init__(self) -> None:
        for name, most in {"gain": 100, "noise": 1000, "masked_time": 1, "masked_bands": 1}.items():
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise UserError(
                    f"The audio view setting {name} is {value}: expected a number from 0 to {most}."
                )
        low, high = self.scale
        if not 0 < low <= high <= 1:
            raise UserError(
                f"The audio view setting scale is {(low, high)}: expected least and most share, "
                "above 0 to 1, in that order."
            )


PLAIN = AudioViewSettings()
CROP = AudioViewSettings(scale=(0.6, 1.0))
CONTRASTIVE = AudioViewSettings(
    scale=(0.6, 1.0), gain=6.0, noise=0.1, masked_time=0.2, masked_bands=0.2
)
WEAK = replace(CONTRASTIVE, masked_time=0.0, masked_bands=0.0)

STYLES = {
    "contrastive": ((CONTRASTIVE,), CONTRASTIVE),
    "weak": ((WEAK,), WEAK),
    "asymmetric": ((WEAK, CONTRASTIVE), WEAK),
    "crop": ((CROP,), CROP),
    "plain": ((PLAIN,), PLAIN),
}


def audio_views(
    spec: Spec,
    wanted: WantedViews,
    settings: AudioViewSettings | Sequence[AudioViewSettings] | None = None,
) -> ViewsAlong:
    """The view maker of sound; ``settings`` as ``settings_by_view`` takes them."""
    return ViewsAlong(
        spec,
        kinds_along(spec, wanted, STYLES, AudioViewSettings, settings),
        _check,
        partial(augment, spec=spec),
    )


def plain_audio(samples: Tensor, spec: Spec) -> Tensor:
    """The spectrograms themselves, normalised by band: float32 (N, bands, T) to float32 of the same
    shape.

    Raises:
        UserError: if the samples are not float32 of shape (N, *spec.shape).
    """
    return normalise(_check(samples, spec).clone(), spec)


def augment(
    samples: Tensor,
    settings: AudioViewSettings,
    length: int,
    generator: torch.Generator,
    *,
    spec: Spec,
) -> Tensor:
    """One view: log-mel spectrograms (N, bands, T) to normalised (N, bands, length). All parameters
    are drawn at once.
    """
    count, bands, steps = samples.shape
    share = uniform(count, settings.scale, generator)
    start = uniform(count, (0, 1), generator) * (1 - share) * steps
    whole = settings.scale[0] == 1 and length == steps
    view = samples.clone() if whole else crop_and_resample(samples, start, share * steps, length)
    if settings.gain > 0:
        view += (
            _DECIBEL
            * uniform(count, (-settings.gain, settings.gain), generator).to(view)[:, None, None]
        )
    normalise(view, spec)
    if settings.noise > 0:
        noise = randn(view.shape, generator)
        view = view.add(noise.to(view), alpha=settings.noise)
    if settings.masked_time > 0:
        view = blank_span(view, *_span(count, settings.masked_time, length, generator))
    if settings.masked_bands > 0:
        view = blank_span(
            view.mT, *_span(count, settings.masked_bands, bands, generator)
        ).mT.contiguous()
    return view


def _span(count: int, most: float, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Start and width (N,) of a span of up to a share ``most`` of ``size``."""
    width = uniform(count, (0, most), generator) * size
    return uniform(count, (0, 1), generator) * (size - width), width


def _check(samples: Tensor, spec: Spec) -> Tensor:
    return check_samples(samples, spec, torch.float32, "log-mel spectrograms")
