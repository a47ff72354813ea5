"""Image views: uint8 batches in, normalised float batches out, every sample with random parameters of its own.

A view is a random resized crop with its mirror image and rotation (one resample), then colour jitter, greyscale, blur and
solarisation of the samples that drew them, then normalisation by the data's mean and standard deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.views.choice import settings_by_view
from nearfar.views.draws import rows_drawn, uniform
from nearfar.views.image_blur import gaussian_blur, kernel_size
from nearfar.views.image_colour import colour_jitter, greyscale, solarise
from nearfar.views.image_geometry import resampler
from nearfar.views.image_placement import Placement, place, placements, relative_boxes
from nearfar.views.image_settings import ImageViewSettings, at_least, styles_for
from nearfar.views.rows import change_rows, rows_at_once
from nearfar.views.samples import check_samples, normalise
from nearfar.views.wanted import WantedViews

Size = tuple[int, int]


@dataclass(frozen=True)
class ImageViews:
    """``views(samples, generator)``: uint8 (N, C, H, W) to one float32 (N, C, h, w) for each entry of ``kinds``.

    Attributes:
        spec: of the data.
        kinds: settings and (height, width) of each view: whole, local, further views.
        boxed: of how many views, from the first, the boxes follow as one more view; 0: none.
        centre_distance: least distance of the first two boxes' centres over the image's diagonal; 0: any.

    ``samples`` may also be a sequence with one batch for each view.
    """

    spec: Spec
    kinds: tuple[tuple[ImageViewSettings, Size], ...]
    boxed: int = 0
    centre_distance: float = 0.0

    def __call__(self, samples: Tensor | Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
        several = isinstance(samples, Sequence) and len(samples) == len(self.kinds) and all(isinstance(one, Tensor) for one in samples)
        sources = samples if several else [samples] * len(self.kinds)
        images = [check_samples(one, self.spec, torch.uint8, "raw pixels") for one in sources]
        sides = self.spec.shape[1], self.spec.shape[2]
        placed = placements(
            len(images[0]), sides, [kind for kind, _ in self.kinds], generator, centre_distance=self.centre_distance
        ) if self.boxed or self.centre_distance else [None] * len(self.kinds)
        views = [
            normalise(augment(one, settings, size, generator, placement), self.spec)
            for one, (settings, size), placement in zip(images, self.kinds, placed, strict=True)
        ]
        if self.boxed:
            boxes = [relative_boxes(placement, sides) for placement in placed[: self.boxed] if placement is not None]
            views.append(torch.stack(boxes, dim=1).to(images[0].device))
        return views


def image_views(
    spec: Spec, wanted: WantedViews, settings: ImageViewSettings | Sequence[ImageViewSettings] | None = None
) -> ImageViews:
    """The view maker of images.

    Args:
        spec: of the data, whose ``extra`` may hold facts for the presets, as ``styles_for`` takes them (no mirror images of digits).
        wanted: which views; local views have sides of ``round(local_size * side)``.
        settings: instead of the style's presets, as ``settings_by_view`` takes them.
    """
    _, height, width = spec.shape
    small = (max(1, round(wanted.local_size * height)), max(1, round(wanted.local_size * width)))
    sizes = [(height, width)] * wanted.whole + [small] * wanted.local + [(height, width)] * len(wanted.further)
    styles = styles_for(min(height, width), spec.extra)
    whole, local = wanted.whole_scale and at_least(wanted.whole_scale, spec.extra), at_least(wanted.local_scale, spec.extra)
    wanted = replace(wanted, whole_scale=whole, local_scale=local)
    chosen = settings_by_view(wanted, styles, ImageViewSettings, settings)
    if wanted.boxes:  # a box cannot describe a turned view
        chosen = [replace(one, rotation=0.0) for one in chosen]
    boxed = wanted.whole + wanted.local if wanted.boxes else 0
    return ImageViews(spec, tuple(zip(chosen, sizes, strict=True)), boxed, wanted.centre_distance)


def plain_images(samples: Tensor, spec: Spec) -> Tensor:
    """The images themselves, normalised: uint8 (N, C, H, W) to float32 of the same shape.

    Raises:
        UserError: if the samples are not uint8 of shape (N, *spec.shape).
    """
    return normalise(to_unit(check_samples(samples, spec, torch.uint8, "raw pixels")), spec)


def to_unit(images: Tensor) -> Tensor:
    """uint8 0..255 to float32 0..1."""
    return images.to(torch.float32).div_(255)


def augment(
    images: Tensor, settings: ImageViewSettings, size: Size, generator: torch.Generator, placement: Placement | None = None
) -> Tensor:
    """One view before normalisation: uint8 (N, C, H, W) to float32 (N, C, *size) in [0, 1].

    The parameters of all samples are drawn at once, on the generator's device, then moved to the images' device. ``placement``
    says where the view looks; by default it is drawn here.
    """
    if images.shape[1] != 3:
        settings = replace(settings, saturation=0.0, hue=0.0, grey=0.0)
    placement = placement or place(len(images), (images.shape[2], images.shape[3]), settings, generator)
    view = _placed(images, placement, settings, size, generator)
    if settings.jitter > 0:
        rows = rows_drawn(len(view), settings.jitter, generator)
        colour_jitter(view, rows, *_jitter_parameters(len(view), settings, generator))
    if settings.grey > 0:
        change_rows(view, rows_drawn(len(view), settings.grey, generator), lambda part, _: greyscale(part))
    if settings.blur > 0:
        rows = rows_drawn(len(view), settings.blur, generator)
        sigma = uniform(len(view), settings.sigma, generator)
        change_rows(view, rows[sigma[rows].argsort()], lambda part, index: gaussian_blur(part, sigma[index], kernel_size(size)))
    if settings.solarise > 0:
        change_rows(view, rows_drawn(len(view), settings.solarise, generator), lambda part, _: solarise(part))
    return view


def _placed(images: Tensor, placement: Placement, settings: ImageViewSettings, size: Size, generator: torch.Generator) -> Tensor:
    """Crop, flip and rotation."""
    count, _, height, width = images.shape
    boxes, flipped = placement.boxes, placement.flipped
    if settings.scale[0] == 1 and settings.rotation == 0 and size == (height, width):
        view = to_unit(images)
        change_rows(view, flipped.nonzero().flatten(), lambda part, _: part.flip(3))
        return view
    angle = uniform(count, (-settings.rotation, settings.rotation), generator) if settings.rotation else None
    view = torch.empty(count, images.shape[1], *size, device=images.device)
    block = rows_at_once(images)
    resampled = resampler(boxes.to(view), (height, width), size, flip=flipped, angle=angle)
    for part in (slice(first, first + block) for first in range(0, count, block)):
        torch.div(resampled(images[part].to(torch.float32), part), 255, out=view[part])
    return view


def _jitter_parameters(count: int, settings: ImageViewSettings, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Factors (N, 4) and order (N, 4), distributed as torchvision's ``ColorJitter`` draws them for one image."""
    strengths = (settings.brightness, settings.contrast, settings.saturation)
    limits = [(max(0.0, 1 - strength), 1 + strength) for strength in strengths] + [(-settings.hue, settings.hue)]
    factors = torch.stack([uniform(count, limit, generator) for limit in limits], dim=1)
    order = torch.rand(count, 4, generator=generator, device=generator.device).argsort(1)
    return factors, order
