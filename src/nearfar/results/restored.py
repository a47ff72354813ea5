"""Restored images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nearfar.results.result import Result


@dataclass(frozen=True)
class Restored(Result):
    """Images that were enlarged, denoised, deblurred.

    Attributes:
        image: (N, C, H, W) float in [0, 1].
        heads: (N, K, C, H, W) float in [0, 1], where a method gives several; None otherwise.
    """

    image: Tensor
    heads: Tensor | None = None

    @property
    def pixels(self) -> Tensor:
        """uint8 (N, C, H, W)."""
        return (self.image.clamp(0, 1) * 255).round().to(torch.uint8)

    def columns(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        size = " x ".join(map(str, self.image.shape[1:]))
        return {"id": list(ids), "image": [size] * len(ids)}

    def write(self, folder: Path, ids: Sequence[str]) -> list[Path]:
        """One PNG file a sample, named by its id."""
        from PIL import Image

        from nearfar.files import replacing
        from nearfar.results.writing import file_names, refuse_existing

        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / name for name in file_names(ids, ".png")]
        for path in paths:
            refuse_existing(path)
        for path, pixels in zip(paths, self.pixels.cpu(), strict=True):
            array = pixels.permute(1, 2, 0).numpy()
            picture = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array[:, :, :3])
            with replacing(path) as temporary, temporary.open("wb") as file:
                picture.save(file, "png")
        return paths

    def pictures(self, samples: Any = None) -> list[str]:
        from nearfar.results.drawing import image_address

        return [image_address(pixels) for pixels in self.pixels]
