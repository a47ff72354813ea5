"""Hold the first layers of a pretrained encoder still and let the last ones learn."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from torch import nn

from nearfar.errors import UserError
from nearfar.networks.encoder import Encoder


def layer_groups(encoder: Encoder) -> list[list[nn.Parameter]]:
    """The encoder's parameters from input to output, a list for each layer: a block of a
    transformer or a residual network, a convolution ... A norm belongs to what comes before it;
    tokens and positions belong to the first layer.
    """
    groups: dict[str, list[nn.Parameter]] = {}
    last = ""
    for name, parameter in encoder.named_parameters():
        module = name.rpartition(".")[0]
        numbered = re.match(
            r".*?\.\d+(?=\.|$)", module
        )  # the outermost list that a layer is a member of
        layer = numbered.group() if numbered else module
        matrix = any(p.ndim > 1 for p in encoder.get_submodule(layer).parameters())
        last = layer if matrix or not last else last
        groups.setdefault(last, []).append(parameter)
    own = groups.pop("", [])
    found = list(groups.values())
    return [own + found[0], *found[1:]] if found else [own]


def lock(encoder: Encoder, *, learning: int = 0) -> None:
    """Let only the last ``learning`` of the ``layer_groups`` learn. Statistics of batch norms are
    still gathered in training.

    Source: Zhai et al. 2022, "LiT: Zero-Shot Transfer with Locked-image text Tuning", for towers
        that are locked altogether.
    """
    groups = layer_groups(encoder)
    for group in groups[: max(0, len(groups) - learning)]:
        for parameter in group:
            parameter.requires_grad_(False)


def lock_towers(
    first: Iterable[Any],
    second: Iterable[Any],
    *,
    texts: bool,
    image_layers: int | None,
    kept: bool,
) -> None:
    """Lock what is pretrained in the encoders of images (``first``) and of texts (``second``), one
    of each for every stage.

    Args:
        first: image encoders.
        second: text encoders.
        texts: whether text encoders are held still altogether.
        image_layers: how many of an image encoder's last layers learn; None: all.
        kept: whether the encoders keep the weights that they were given.

    Raises:
        UserError: if anything is to be locked whose weights are fresh.
    """
    if not kept and (texts or image_layers is not None):
        raise UserError(
            "Locked layers keep the weights they are given, so stages cannot start fresh: set "
            "restart to same."
        )
    for encoder in first if image_layers is not None else ():
        lock(encoder, learning=image_layers or 0)
    for encoder in second if texts else ():
        lock(encoder)
