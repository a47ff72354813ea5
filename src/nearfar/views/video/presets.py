"""Views of clips: what the image views do to a frame, done alike to all frames of a clip.

A clip must look through one window in one light: a crop or a tint of each frame's own would
flicker, and motion could not be told from it. So the random state of the first frame is that of
every frame.

Source: Qian et al. 2021, "Spatiotemporal Contrastive Video Representation Learning", temporally
    consistent spatial augmentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.rows.levels import to_unit
from nearfar.views.image.settings import ImageViewSettings
from nearfar.views.image.views import ImageViews, image_views
from nearfar.views.samples import check_pixels, normalise
from nearfar.views.wanted import WantedViews


@dataclass(frozen=True)
class VideoViews:
    """``views(samples, generator)``: raw frames (N, C, F, H, W) to one float32 (N, C, F, h, w) for
    each view of a frame.
    """

    spec: Spec
    frames: ImageViews

    def __call__(self, samples: Tensor, generator: torch.Generator) -> list[Tensor]:
        clips = check_pixels(samples, self.spec, "raw frames")
        state = generator.get_state()
        by_frame = []
        for frame in clips.unbind(dim=2):
            generator.set_state(state)
            by_frame.append(self.frames(frame, generator))
        return [torch.stack(same, dim=2) for same in zip(*by_frame, strict=True)]


def video_views(
    spec: Spec,
    wanted: WantedViews,
    settings: ImageViewSettings | Sequence[ImageViewSettings] | None = None,
) -> VideoViews:
    """The view maker of clips; ``wanted`` and ``settings`` are about their frames."""
    channels, _, *sides = spec.shape
    return VideoViews(
        spec,
        image_views(replace(spec, modality="image", shape=(channels, *sides)), wanted, settings),
    )


def plain_video(samples: Tensor, spec: Spec) -> Tensor:
    """The clips themselves, normalised: raw frames (N, C, F, H, W) to float32 of the same shape.

    Raises:
        UserError: if the samples are no raw frames of shape (N, *spec.shape).
    """
    return normalise(to_unit(check_pixels(samples, spec, "raw frames")), spec)
