"""Views of samples with several images of one scene: all of them are cropped and turned alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from torch import Tensor

from nearfar import modalities
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.ranges import checked, whole_number
from nearfar.rows import Parts
from nearfar.views.draws import rand
from nearfar.views.made import Made
from nearfar.views.parts import check_parts

__all__ = ["Aligned", "AlignedViews", "factor_of"]


@dataclass(frozen=True)
class Aligned:
    """One crop and one turn for all images of a sample.

    Images may differ in size by whole factors: ``extra["factor"]`` of a part's spec says how many
    times smaller it is than the scene. Crops begin where a pixel of the smallest image begins, so
    that all crops show the same piece of the scene. Parts that are no images are seen whole.

    Attributes:
        size: Side of the square crop in pixels of the scene. Scenes that are smaller are taken as
            large as they are; the side is rounded down to a multiple of all factors.
        turns: Whether the crop is mirrored left and right, up and down and along its diagonal, each
            with probability 1/2. Data of which the spec says that they are not to be mirrored are
            left as they are.
    """

    size: Annotated[int, whole_number()]
    turns: bool = True

    def side(self, spec: Spec) -> int:
        """The crop's side in pixels of the scene, for data of this spec."""
        checked(Annotated[int, whole_number()], "The size of crops", self.size)
        height, width, unit = _scene(spec)
        return min(self.size, height, width) // unit * unit

    def maker(self, spec: Spec, settings: Any = None) -> AlignedViews:
        """What makes these views.

        Args:
            spec: Of samples with several parts, at least one of them an image.
            settings: None: there are no strengths.

        Raises:
            UserError: If there is no image, images are not of one scene, or settings are given.
        """
        if settings is not None:
            raise UserError(
                "Aligned views have no strengths that could be set; leave the settings out."
            )
        side = self.side(spec)
        if not side:
            raise UserError(
                f"A crop of {self.size} pixels is smaller than one pixel of the smallest image of "
                f"{spec.name}; choose a larger crop."
            )
        mirrored = self.turns and all(part.extra.get("flip", True) for part in _images(spec))
        return AlignedViews(spec, side, mirrored)


@dataclass(frozen=True)
class AlignedViews:
    """``views(samples, generator)``: ``Parts`` of raw samples to one ``Parts`` of views.

    Attributes:
        spec: Of the data.
        side: Of the crop, in pixels of the scene.
        turns: Whether it is mirrored.
    """

    spec: Spec
    side: int
    turns: bool

    def __call__(self, samples: Parts, generator: torch.Generator) -> Made:
        parts = check_parts(samples, self.spec)
        height, width, unit = _scene(self.spec)
        draws = rand((5, len(parts)), generator, axis=1)
        top = (draws[0] * ((height - self.side) // unit + 1)).long() * unit
        left = (draws[1] * ((width - self.side) // unit + 1)).long() * unit
        mirrored = draws[2:] < (0.5 if self.turns else 0.0)
        made = {}
        for name, part in self.spec.parts.items():
            value = parts[name]
            if _is_image(part):
                factor = factor_of(part)
                side = self.side // factor
                value = _turned(_cropped(value, top // factor, left // factor, side), mirrored)
                part = _of_side(part, side)
            made[name] = modalities.plain_of(part, value)
        return Made([Parts(made)])


def factor_of(part: Spec) -> int:
    """How many times smaller than its scene an image is."""
    return int(part.extra.get("factor", 1))


def _is_image(part: Spec) -> bool:
    """Whether views of a part are crops of a picture."""
    return modalities.get(part.modality).has_boxes


def _images(spec: Spec) -> list[Spec]:
    return [part for part in spec.parts.values() if _is_image(part)]


def _scene(spec: Spec) -> tuple[int, int, int]:
    """Height and width of the scene, and the largest factor of an image.

    Raises:
        UserError: If there is no image, or images are not of one scene.
    """
    sizes: Mapping[str, tuple[int, int, int]] = {
        name: (part.shape[1] * factor_of(part), part.shape[2] * factor_of(part), factor_of(part))
        for name, part in spec.parts.items()
        if _is_image(part)
    }
    if len({size[:2] for size in sizes.values()}) != 1:
        told = ", ".join(f"{name} {high} x {wide}" for name, (high, wide, _) in sizes.items())
        raise UserError(
            f"The images of a sample of {spec.name} show scenes of these sizes: {told or 'none'}; "
            "expected one or more images of one scene."
        )
    unit = max(size[2] for size in sizes.values())
    for name, (_, _, factor) in sizes.items():
        if unit % factor:
            raise UserError(
                f"The image {name} of {spec.name} is {factor} times smaller than its scene, which "
                f"does not divide the largest factor, {unit}; choose factors that divide another."
            )
    height, width, _ = next(iter(sizes.values()))
    return height, width, unit


def _cropped(images: Tensor, top: Tensor, left: Tensor, side: int) -> Tensor:
    """(N, C, side, side) of (N, C, H, W), each from its own corner (N,)."""
    places = torch.arange(side, device=images.device)
    rows = top.to(images.device)[:, None] + places
    columns = left.to(images.device)[:, None] + places
    numbers = torch.arange(len(images), device=images.device)
    found = images.movedim(1, 3)[numbers[:, None, None], rows[:, :, None], columns[:, None, :]]
    return found.movedim(3, 1).contiguous()


def _turned(images: Tensor, mirrored: Tensor) -> Tensor:
    """Square images mirrored left and right, up and down, and along the diagonal, where the rows of
    ``mirrored`` (3, N) say so.
    """
    across, down, diagonal = mirrored.to(images.device)[:, :, None, None, None]
    images = torch.where(across, images.flip(3), images)
    images = torch.where(down, images.flip(2), images)
    return torch.where(diagonal, images.transpose(2, 3), images)


def _of_side(part: Spec, side: int) -> Spec:
    return replace(part, shape=(part.shape[0], side, side))
