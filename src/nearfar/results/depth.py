"""Depth of every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from nearfar.results.result import Result

_STEPS = 256
"""Of the 16-bit files for one unit of depth, as KITTI's files have."""


@dataclass(frozen=True)
class Depth(Result):
    """How far away each pixel is, in units that are the method's own.

    Attributes:
        depth: (N, H, W) float, above 0.
    """

    depth: Tensor

    def columns(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        flat = self.depth.flatten(1)
        return {
            "id": list(ids),
            "nearest": flat.amin(1).tolist(),
            "median": flat.median(1).values.tolist(),
            "farthest": flat.amax(1).tolist(),
        }

    def write(self, folder: Path, ids: Sequence[str]) -> list[Path]:
        """One 16-bit PNG file a sample, named by its id: 256 times the depth, cut at 65,535."""
        from PIL import Image

        from nearfar.files import replacing
        from nearfar.results.writing import file_names, refuse_existing

        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / name for name in file_names(ids, ".png")]
        for path in paths:
            refuse_existing(path)
        steps = (self.depth.cpu().double() * _STEPS).round().clamp(0, 65535).numpy()
        for path, one in zip(paths, steps.astype(np.uint16), strict=True):
            with replacing(path) as temporary, temporary.open("wb") as file:
                Image.fromarray(one).save(file, "png")
        return paths

    def pictures(self, samples: Any = None) -> list[str]:
        """Near is bright: each picture runs from the nearest to the farthest pixel."""
        from nearfar.results.drawing import image_address

        near = 1 / self.depth
        low = near.flatten(1).amin(1)[:, None, None]
        high = near.flatten(1).amax(1)[:, None, None]
        shades = (near - low) / (high - low).clamp_min(1e-12)
        return [image_address(one) for one in (shades * 255).round().byte()[:, None]]
