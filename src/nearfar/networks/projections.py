"""Linear maps of several parts' features into one space."""

from __future__ import annotations

from torch import Tensor, nn

from nearfar.networks.towers import Towers

OLDER_NAMES = {
    "first_projection.": "projections.by_part.image.",
    "second_projection.": "projections.by_part.text.",
}
"""What the maps of images and texts were called before parts had names."""


class Projections(nn.Module):
    """A linear map for each part of ``Towers``: ``projections(name, features)``.

    Args:
        towers: Whose features are mapped.
        dimension: Of the shared space.
        bias: Whether the maps have one.

    Shapes:
        features: (N, dimension of the part's encoder).
        output: (N, dimension).
    """

    def __init__(self, towers: Towers, dimension: int, *, bias: bool = False) -> None:
        super().__init__()
        self.by_part = nn.ModuleDict(
            {
                name: nn.Linear(towers.part(name).dimension, dimension, bias=bias)
                for name in towers.parts
            }
        )

    def forward(self, name: str, features: Tensor) -> Tensor:
        mapped: Tensor = self.by_part[name](features)
        return mapped
