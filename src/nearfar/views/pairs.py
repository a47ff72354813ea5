"""Views of image-text pairs: the image views, then the text as one more view.

Texts are not changed: a word less can turn a true caption into a wrong one, and the image has views
enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nearfar.batch import Pair
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.views.image.settings import ImageViewSettings
from nearfar.views.image.views import ImageViews, image_views, plain_images
from nearfar.views.text import plain_text
from nearfar.views.wanted import WantedViews


@dataclass(frozen=True)
class PairViews:
    """``views(samples, generator)``: a ``Pair`` of uint8 images and ``Tokens`` to the image views
    and one ``Tokens``.
    """

    spec: Spec
    images: ImageViews

    def __call__(self, samples: Pair, generator: torch.Generator) -> list[Any]:
        pair = _check(samples, self.spec)
        return [*self.images(pair.first, generator), plain_text(pair.second, self.spec)]


def pair_views(
    spec: Spec,
    wanted: WantedViews,
    settings: ImageViewSettings | Sequence[ImageViewSettings] | None = None,
) -> PairViews:
    """The view maker of image-text pairs; ``wanted`` and ``settings`` are about the images."""
    return PairViews(spec, image_views(spec, wanted, settings))


def plain_pairs(samples: Pair, spec: Spec) -> Pair:
    """A pair of the normalised images and the texts themselves.

    Raises:
        UserError: if the samples are not a ``Pair`` of images as the spec says and ``Tokens``.
    """
    pair = _check(samples, spec)
    return Pair(plain_images(pair.first, spec), plain_text(pair.second, spec))


def _check(samples: Pair, spec: Spec) -> Pair:
    if not isinstance(samples, Pair):
        raise UserError(
            f"The samples of {spec.name!r} are a {type(samples).__name__}: image-text views expect "
            "nearfar.batch.Pair."
        )
    return samples
