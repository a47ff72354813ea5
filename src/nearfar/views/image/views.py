"""Image views: batches of raw pixels in, normalised float batches out, every sample with random
parameters of its own.

A view is a random resized crop with its mirror image and rotation (one resample), then colour
jitter, greyscale, blur and solarisation of the samples that drew them, then normalisation by the
data's mean and standard deviation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, ClassVar

import torch
from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.rows import Whole
from nearfar.rows.levels import largest_level, to_unit
from nearfar.views.choice import settings_by_view
from nearfar.views.draws import rand, rows_drawn, uniform
from nearfar.views.image.blur import gaussian_blur, kernel_size
from nearfar.views.image.colour import colour_jitter, greyscale, solarise
from nearfar.views.image.geometry import resampler
from nearfar.views.image.placement import Placement, place, placements, relative_boxes
from nearfar.views.image.settings import ImageViewSettings, at_least, styles_for
from nearfar.views.made import Made
from nearfar.views.rows import change_rows, rows_at_once
from nearfar.views.samples import check_pixels, normalise
from nearfar.views.wanted import WantedViews

Size = tuple[int, int]


@dataclass(frozen=True)
class ImageViews:
    """``views(samples, generator)``: raw pixels (N, C, H, W) to one float32 (N, C, h, w) for each
    entry of ``kinds``.

    Attributes:
        spec: of the data.
        kinds: settings and (height, width) of each view: whole, local, further views.
        boxed: of how many views, from the first, the boxes come with them; 0: none.
        centre_distance: least distance of the first two boxes' centres over the image's diagonal;
            0: any.

    ``samples`` may also be a sequence with one batch for each view, or whole pictures (``Whole``),
    from all of which the crops are taken.
    """

    spec: Spec
    kinds: tuple[tuple[ImageViewSettings, Size], ...]
    boxed: int = 0
    centre_distance: float = 0.0
    takes_whole: ClassVar[bool] = True

    def __call__(
        self, samples: Tensor | Whole | Sequence[Tensor], generator: torch.Generator
    ) -> list[Tensor]:
        several = (
            isinstance(samples, Sequence)
            and len(samples) == len(self.kinds)
            and all(isinstance(one, Tensor) for one in samples)
        )
        pictures = samples if isinstance(samples, Whole) else None
        sources: Sequence[Any] = [samples] * len(self.kinds)
        if several and isinstance(samples, Sequence):
            sources = samples
        images = (
            [check_pixels(one, self.spec, "raw pixels") for one in sources]
            if pictures is None
            else [pictures.values] * len(self.kinds)
        )
        sides = images[0].shape[2], images[0].shape[3]
        placed = (
            placements(
                len(images[0]),
                sides,
                [kind for kind, _ in self.kinds],
                generator,
                centre_distance=self.centre_distance,
                pictures=pictures,
            )
            if self.boxed or self.centre_distance
            else [None] * len(self.kinds)
        )
        drawn = [
            draw(one, settings, generator, placement, pictures)
            for one, (settings, _), placement in zip(images, self.kinds, placed, strict=True)
        ]
        views: list[Tensor] = []
        for size, group in groupby(range(len(self.kinds)), key=lambda place: self.kinds[place][1]):
            alike = list(group)
            made = normalise(
                make([images[place] for place in alike], [drawn[place] for place in alike], size),
                self.spec,
            )
            views += made.view(len(alike), len(images[0]), *made.shape[1:]).unbind()
        if self.boxed:
            boxes = [
                relative_boxes(placement, sides)
                for placement in placed[: self.boxed]
                if placement is not None
            ]
            return Made(views, {"boxes": torch.stack(boxes, dim=1).to(images[0].device)})
        return views


def image_views(
    spec: Spec,
    wanted: WantedViews,
    settings: ImageViewSettings | Sequence[ImageViewSettings] | None = None,
) -> ImageViews:
    """The view maker of images.

    Args:
        spec: of the data, whose ``extra`` may hold facts for the presets, as ``styles_for`` takes
            them (no mirror images of digits).
        wanted: which views; local views have sides of ``round(local_size * side)``.
        settings: instead of the style's presets, as ``settings_by_view`` takes them.
    """
    _, height, width = spec.shape
    small = (max(1, round(wanted.local_size * height)), max(1, round(wanted.local_size * width)))
    sizes = (
        [(height, width)] * wanted.whole
        + [small] * wanted.local
        + [(height, width)] * len(wanted.further)
    )
    styles = styles_for(min(height, width), spec.extra)
    whole = wanted.whole_scale and at_least(wanted.whole_scale, spec.extra)
    local = at_least(wanted.local_scale, spec.extra)
    wanted = replace(wanted, whole_scale=whole, local_scale=local)
    chosen = settings_by_view(wanted, styles, ImageViewSettings, settings)
    if wanted.boxes:  # a box cannot describe a turned view
        chosen = [replace(one, rotation=0.0) for one in chosen]
    boxed = wanted.whole + wanted.local if wanted.boxes else 0
    return ImageViews(spec, tuple(zip(chosen, sizes, strict=True)), boxed, wanted.centre_distance)


def plain_images(samples: Tensor, spec: Spec) -> Tensor:
    """The images themselves, normalised: raw pixels (N, C, H, W) to float32 of the same shape.

    Raises:
        UserError: if the samples are no raw pixels of shape (N, *spec.shape).
    """
    return normalise(to_unit(check_pixels(samples, spec, "raw pixels")), spec)


def augment(
    images: Tensor, settings: ImageViewSettings, size: Size, generator: torch.Generator
) -> Tensor:
    """One view before normalisation: raw pixels (N, C, H, W) to float32 (N, C, *size) in [0, 1]."""
    return make([images], [draw(images, settings, generator)], size)


@dataclass(frozen=True)
class Drawn:
    """What happens to each of N samples in one view: all that is random, on the generator's device.

    Attributes:
        placement: where the view looks.
        angle: (N,) degrees of rotation; None: none is turned.
        cropped: whether the view is resampled at all where its size is the image's.
        jittered, grey, blurred, solarised: int64 numbers of the samples that drew it, rising.
        factors, order: (N, 4), of the colour jitter.
        sigma: (N,) of the blur.
    """

    placement: Placement
    angle: Tensor | None
    cropped: bool
    jittered: Tensor
    factors: Tensor
    order: Tensor
    grey: Tensor
    blurred: Tensor
    sigma: Tensor
    solarised: Tensor


def draw(
    images: Tensor,
    settings: ImageViewSettings,
    generator: torch.Generator,
    placement: Placement | None = None,
    pictures: Whole | None = None,
) -> Drawn:
    """The parameters of all samples at once; ``placement`` says where the view looks, by default it
    is drawn here, in the shapes of the whole pictures where these are given.
    """
    count, channels, *sides = images.shape
    if channels != 3:
        settings = replace(settings, saturation=0.0, hue=0.0, grey=0.0)
    placement = placement or place(count, (sides[0], sides[1]), settings, generator, pictures)
    limits = (-settings.rotation, settings.rotation)
    angle = uniform(count, limits, generator) if settings.rotation else None
    jittered = _none(generator)
    factors = torch.zeros(count, 4, device=generator.device)
    order = torch.zeros(count, 4, dtype=torch.int64, device=generator.device)
    if settings.jitter > 0:
        jittered = rows_drawn(count, settings.jitter, generator)
        factors, order = _jitter_parameters(count, settings, generator)
    grey = rows_drawn(count, settings.grey, generator) if settings.grey > 0 else _none(generator)
    blurred = _none(generator)
    sigma = torch.ones(count, device=generator.device)
    if settings.blur > 0:
        blurred = rows_drawn(count, settings.blur, generator)
        sigma = uniform(count, settings.sigma, generator)
    solarised = (
        rows_drawn(count, settings.solarise, generator)
        if settings.solarise > 0
        else _none(generator)
    )
    cropped = settings.scale[0] != 1 or settings.rotation != 0 or pictures is not None
    return Drawn(
        placement, angle, cropped, jittered, factors, order, grey, blurred, sigma, solarised
    )


def make(images: Sequence[Tensor], drawn: Sequence[Drawn], size: Size) -> Tensor:
    """Views of one size before normalisation, one after another: from raw pixels (N, C, H, W) each
    to float32 (views N, C, *size) in [0, 1].

    All views go through each operation together, as small images cost more in calls than in
    arithmetic.
    """
    count = len(images[0])
    separate = torch.empty(len(images), count, images[0].shape[1], *size, device=images[0].device)
    for view, one, parameters in zip(separate, images, drawn, strict=True):
        _place_into(view, one, parameters)
    views = separate.flatten(0, 1)

    def rows(of: Callable[[Drawn], Tensor]) -> Tensor:
        return torch.cat(
            [of(parameters) + number * count for number, parameters in enumerate(drawn)]
        )

    def all_of(of: Callable[[Drawn], Tensor]) -> Tensor:
        return torch.cat([of(parameters) for parameters in drawn])

    colour_jitter(
        views,
        rows(lambda one: one.jittered),
        all_of(lambda one: one.factors),
        all_of(lambda one: one.order),
    )
    change_rows(views, rows(lambda one: one.grey), lambda part, _: greyscale(part))
    blurred = rows(lambda one: one.blurred)
    sigma = all_of(lambda one: one.sigma)
    change_rows(
        views,
        blurred[sigma[blurred].argsort()],
        lambda part, index: gaussian_blur(part, sigma[index], kernel_size(size)),
    )
    change_rows(views, rows(lambda one: one.solarised), lambda part, _: solarise(part))
    return views


def _none(generator: torch.Generator) -> Tensor:
    return torch.empty(0, dtype=torch.int64, device=generator.device)


def _place_into(view: Tensor, images: Tensor, drawn: Drawn) -> None:
    """Crop, flip and rotation, written into the view."""
    _, _, height, width = images.shape
    boxes = drawn.placement.boxes
    flipped = drawn.placement.flipped
    size = (view.shape[2], view.shape[3])
    white = largest_level(images.dtype)
    if not drawn.cropped and size == (height, width):
        torch.div(images, white, out=view)
        change_rows(view, flipped.nonzero().flatten(), lambda part, _: part.flip(3))
        return
    block = rows_at_once(images)
    resampled = resampler(boxes.to(view), (height, width), size, flip=flipped, angle=drawn.angle)
    for part in (slice(first, first + block) for first in range(0, len(images), block)):
        torch.div(resampled(images[part].to(torch.float32), part), white, out=view[part])


def _jitter_parameters(
    count: int, settings: ImageViewSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Factors (N, 4) and order (N, 4), distributed as torchvision's ``ColorJitter`` draws them for
    one image.
    """
    strengths = (settings.brightness, settings.contrast, settings.saturation)
    limits = [(max(0.0, 1 - strength), 1 + strength) for strength in strengths] + [
        (-settings.hue, settings.hue)
    ]
    factors = torch.stack([uniform(count, limit, generator) for limit in limits], dim=1)
    order = rand((count, 4), generator).argsort(1)
    return factors, order
