"""Encoders side by side, one for each part of samples with several parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from nearfar.errors import unknown_name
from nearfar.networks.depths import Depths, side_by_side
from nearfar.networks.encoder import Encoder
from nearfar.rows import Parts, Tokens

_OLDER = {"first.": "image", "second.": "text"}
"""What the two towers of images and texts were called before parts had names."""


class Towers(Encoder):
    """An encoder for each part of ``Parts``.

    Called with several parts, it gives the features of its *first* part that is there: that is what
    users of a trained image-text model want by default, and what probes are fitted on. Called with
    bare ``Tokens`` it takes them for the text, called with anything else bare for the first part.
    Methods that compare the parts call ``towers.part(name)`` themselves.

    Attributes:
        parts: The encoders by name, in the order of the parts; their dimensions may differ.

    Example:
        >>> import torch
        >>> from nearfar import modalities, networks
        >>> spec = modalities.get("image+text").toy
        >>> towers = networks.build("small-convnet+text-transformer", spec)
        >>> list(towers.parts), towers.dimension == towers.part("image").dimension
        (['image', 'text'], True)
    """

    def __init__(self, parts: Mapping[str, Encoder]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(dict(parts))
        self.dimension = next(iter(parts.values())).dimension
        self.register_load_state_dict_pre_hook(_renamed)  # type: ignore[no-untyped-call]

    def part(self, name: str) -> Encoder:
        """The encoder of a part.

        Raises:
            UserError: If there is no such part.
        """
        if name not in self.parts:
            raise unknown_name("part", name, list(self.parts))
        encoder = self.parts[name]
        assert isinstance(encoder, Encoder)
        return encoder

    def opened_blocks(self) -> list[nn.Module]:
        return [block for name in self.parts for block in self.part(name).opened_blocks()]

    def by_depth(self) -> Depths:
        return side_by_side([self.part(name).by_depth() for name in self.parts])

    def forward(self, x: Any) -> Tensor:
        name = next(iter(self.parts))
        if isinstance(x, Parts):
            name = next((own for own in self.parts if own in x), name)
            x = x[name]
        elif isinstance(x, Tokens) and "text" in self.parts:
            name = "text"
        features: Tensor = self.parts[name](x)
        return features


def _renamed(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give weights of older files the names that they have now."""
    for older, name in _OLDER.items():
        for key in [key for key in state if key.startswith(prefix + older)]:
            state[f"{prefix}parts.{name}.{key.removeprefix(prefix + older)}"] = state.pop(key)
