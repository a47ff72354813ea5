"""Views of clips that pick frames by their place in time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.rows.levels import to_unit
from nearfar.views.draws import rand, randn
from nearfar.views.image.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
)
from nearfar.views.made import Made
from nearfar.views.samples import check_pixels, normalise

__all__ = ["Triplet", "TripletViews"]

_LEAST_FRAMES = 3
_CLIP_AXES = 4
_LIGHT = 0.2
_HUE = 0.1


@dataclass(frozen=True)
class Triplet:
    """A frame with the one before and the one after it, as they are and in another light.

    The first view is a clip of the three frames, the second the same frames with brightness,
    contrast and saturation changed by up to 0.2 and hue by up to 0.1, alike in all three. A method
    that compares frames compares the first and lets its networks see the second. From longer clips
    the middle frame is drawn.

    Beside the views come "mirrored", (N,) bool, where frames are mirrored left and right, and
    "ties", (N, 2, H, W) standard normal noise that may break ties between the two neighbours.

    Attributes:
        jitter: Whether half of the samples are seen in another light.
        mirror: Whether half of the samples are mirrored.
    """

    jitter: bool = True
    mirror: bool = True

    def maker(self, spec: Spec, settings: Any = None) -> TripletViews:
        """What makes these views.

        Raises:
            UserError: For data that are no clips of three frames or more, or if settings are given.
        """
        if settings is not None:
            raise UserError("Triplets have no strengths that could be set; leave the settings out.")
        if len(spec.shape) != _CLIP_AXES or spec.shape[1] < _LEAST_FRAMES:
            raise UserError(
                f"A frame with its neighbours needs clips of at least {_LEAST_FRAMES} frames; "
                f"{spec.name} holds {spec.modality} data of {spec.size}."
            )
        return TripletViews(spec, self)


@dataclass(frozen=True)
class TripletViews:
    """``views(samples, generator)``: raw frames (N, C, F, H, W) to two float32 (N, C, 3, H, W).

    Attributes:
        spec: Of the data.
        wanted: What is wanted.
    """

    spec: Spec
    wanted: Triplet

    def __call__(self, samples: Tensor, generator: torch.Generator) -> Made:
        clips = check_pixels(samples, self.spec, "raw frames")
        count, _, frames, height, width = clips.shape
        draws = rand((7, count), generator, axis=1)
        ties = randn((count, 2, height, width), generator).to(clips.device)
        mirrored = (draws[0] < (0.5 if self.wanted.mirror else 0.0)).to(clips.device)
        middle = 1 + (draws[1] * (frames - 2)).long().to(clips.device)
        rows = torch.arange(count, device=clips.device)[:, None]
        places = middle[:, None] + torch.arange(-1, 2, device=clips.device)
        three = to_unit(clips.movedim(1, 2)[rows, places])
        three = torch.where(mirrored.view(-1, 1, 1, 1, 1), three.flip(4), three)
        seen = self._lit(three, draws[2:]) if self.wanted.jitter else three.clone()
        spec = replace(self.spec, shape=(self.spec.shape[0], 3, height, width))
        views = [normalise(one.movedim(1, 2).contiguous(), spec) for one in (three, seen)]
        return Made(views, {"mirrored": mirrored, "ties": ties})

    def _lit(self, three: Tensor, draws: Tensor) -> Tensor:
        """(N, 3, C, H, W) with half of the samples in another light, alike in all frames."""
        changed = draws[0] < 0.5
        light = torch.where(changed, 1 + _LIGHT * (2 * draws[1:4] - 1), 1.0)
        hue = torch.where(changed, _HUE * (2 * draws[4] - 1), 0.0)
        frames = three.flatten(0, 1)
        brightness, contrast, saturation = (one.repeat_interleave(3) for one in light)
        frames = adjust_brightness(frames, brightness)
        frames = adjust_contrast(frames, contrast)
        frames = adjust_saturation(frames, saturation)
        frames = adjust_hue(frames, hue.repeat_interleave(3))
        return frames.view_as(three)
