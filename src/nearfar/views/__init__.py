"""Views: what a method sees of a sample, made for a whole batch on the batch's device.

``make_views(spec, wanted)`` gives the random views that a method wants, ``plain_view(spec)`` the
sample itself as evaluation sees it. Both dispatch on the modality; the strengths of each are one
frozen dataclass that may be swapped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from nearfar.batch import Tokens
from nearfar.data.spec import Spec
from nearfar.errors import UserError, unknown_name
from nearfar.views.audio import AudioViewSettings, audio_views, plain_audio
from nearfar.views.draws import rand
from nearfar.views.image.settings import ImageViewSettings
from nearfar.views.image.views import image_views, plain_images
from nearfar.views.pairs import pair_views, plain_pairs
from nearfar.views.points import PointViewSettings, plain_points, point_views
from nearfar.views.series import SeriesViewSettings, plain_series, series_views
from nearfar.views.text import TextViewSettings, plain_text, text_views
from nearfar.views.video import plain_video, video_views
from nearfar.views.wanted import WantedViews

__all__ = [
    "AudioViewSettings",
    "ImageViewSettings",
    "PointViewSettings",
    "SeriesViewSettings",
    "TextViewSettings",
    "WantedViews",
    "make_views",
    "plain_view",
]

F = TypeVar("F")
Views = Callable[[Any, torch.Generator], list[Any]]

_MAKERS: dict[str, Callable[[Spec, WantedViews, Any], Views]] = {
    "image": image_views,
    "series": series_views,
    "text": text_views,
    "image-text": pair_views,
    "audio": audio_views,
    "video": video_views,
    "points": point_views,
}
_PLAIN: dict[str, Callable[[Any, Spec], Any]] = {
    "image": plain_images,
    "series": plain_series,
    "text": plain_text,
    "image-text": plain_pairs,
    "audio": plain_audio,
    "video": plain_video,
    "points": plain_points,
}


def make_views(spec: Spec, wanted: WantedViews, *, patches: int = 0, settings: Any = None) -> Views:
    """The function ``views(samples, generator)`` that makes a method's views of a batch.

    The list holds the whole views, the local views, the further views, if ``wanted.boxes`` their
    boxes, for image-text pairs the ``Tokens``, and last, if ``wanted.mask``, noise (N, patches)
    uniform in [0, 1). Parameters are drawn for the whole batch at once on the generator's device,
    which may differ from the samples'; the same generator state gives the same views to the bit.
    Samples: uint8 (N, C, H, W) images, float32 (N, C, T) series, ``Tokens``, a ``Pair`` of images
        and ``Tokens``, float32
    (N, bands, T) log-mel spectrograms, uint8 (N, C, F, H, W) clips or float32 (N, 3, K) points;
    views are float32, normalised by the spec.

    Args:
        spec: of the data.
        wanted: which views.
        patches: number of patches of one sample, for the mask noise.
        settings: instead of the style's preset: the modality's settings (``ImageViewSettings``,
            ``SeriesViewSettings``, ``TextViewSettings``, ``AudioViewSettings``,
            ``PointViewSettings``; for pairs and clips the image's), one for all views or a sequence
            with one for each.

    Raises:
        UserError: for a modality without views or without boxes, an unknown style, settings that do
            not fit, a mask without patches.
    """
    if (wanted.boxes or wanted.centre_distance) and not spec.modality.startswith("image"):
        raise UserError(
            f"This method needs crop boxes, which {spec.modality} views do not have: choose images."
        )
    maker = _known(spec, _MAKERS)(spec, wanted, settings)
    if not wanted.mask:
        return maker
    if patches < 1:
        raise UserError(
            "This method masks patches but the encoder has none: choose a transformer encoder such "
            "as vit-tiny."
        )

    def masked(samples: Any, generator: torch.Generator) -> list[Any]:
        views = maker(samples, generator)
        noise = rand((len(samples), patches), generator)
        first = views[0].ids if isinstance(views[0], Tokens) else views[0]
        return [*views, noise.to(first.device)]

    return masked


def plain_view(spec: Spec) -> Callable[[Any], Any]:
    """The function ``view(samples)`` that gives the samples themselves, normalised, in their full
    size and without chance.

    Raises:
        UserError: for a modality without views.
    """
    plain = _known(spec, _PLAIN)
    return lambda samples: plain(samples, spec)


def _known(spec: Spec, by_modality: dict[str, F]) -> F:
    if spec.modality not in by_modality:
        raise unknown_name("modality", spec.modality, by_modality)
    return by_modality[spec.modality]
