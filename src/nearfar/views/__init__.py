"""Views: what a method sees of a sample, made for a whole batch on the batch's device.

``wanted.maker(spec)`` gives what makes the random views that a method wants, ``plain_view(spec)``
the sample itself as evaluation sees it. How is the affair of the modality's file; the strengths of
each are one frozen dataclass that may be swapped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nearfar import modalities
from nearfar.data.spec import Spec
from nearfar.views.audio import AudioViewSettings
from nearfar.views.choice import Strengths
from nearfar.views.image.settings import ImageViewSettings
from nearfar.views.made import Made, Views, Wanted
from nearfar.views.own.transforms import EachSample
from nearfar.views.own.views import OwnViews
from nearfar.views.points import PointViewSettings
from nearfar.views.series import SeriesViewSettings
from nearfar.views.text import TextViewSettings
from nearfar.views.wanted import WantedViews

__all__ = [
    "AudioViewSettings",
    "EachSample",
    "ImageViewSettings",
    "Made",
    "OwnViews",
    "PointViewSettings",
    "SeriesViewSettings",
    "Strengths",
    "TextViewSettings",
    "Views",
    "Wanted",
    "WantedViews",
    "make_views",
    "plain_view",
]


def make_views(spec: Spec, wanted: Wanted, *, settings: Any = None) -> Views:
    """The function ``views(samples, generator)`` that makes a method's views of a batch.

    Parameters are drawn for the whole batch at once on the generator's device, which may differ
    from the samples'; the same generator state gives the same views to the bit.

    Args:
        spec: Of the data.
        wanted: Which views.
        settings: Instead of the style's preset: the modality's settings (``ImageViewSettings``,
            ``SeriesViewSettings``, ``TextViewSettings``, ``AudioViewSettings``,
            ``PointViewSettings``; for clips the image's), one for all views or a sequence with one
            for each; for several parts by the part's name.

    Raises:
        UserError: For a modality without views or without boxes, an unknown style, or settings that
            do not fit.
    """
    return wanted.maker(spec, settings)


def plain_view(spec: Spec) -> Callable[[Any], Any]:
    """The function ``view(samples)`` that gives the samples themselves, normalised, in their full
    size and without chance.

    Raises:
        UserError: For an unknown modality.
    """
    modalities.get(spec.modality)
    return lambda samples: modalities.plain_of(spec, samples)
