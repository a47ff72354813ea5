"""Smaller learning rates for layers of the encoder that are nearer to its input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import nn

from nearfar.errors import UserError
from nearfar.networks.encoder import Encoder


def decayed_by_depth(
    groups: Sequence[dict[str, Any]], encoder: Encoder, decay: float
) -> list[dict[str, Any]]:
    """The groups of a method, each divided by the depth of the encoder's parameters.

    Of an encoder of L depths, the rate of depth l = 1 ... L is multiplied by ``decay`` ** (L - l).
    What is not the encoder's (heads) keeps its rate, as the last depth does. Of each group the
    largest rate comes first.

    Args:
        groups: As ``method.parameter_groups()`` gives them.
        encoder: Whose ``by_depth`` says the order.
        decay: In (0, 1].

    Raises:
        UserError: If ``by_depth`` does not hold each of the encoder's parameters once.

    Source: Clark et al. 2020 (ELECTRA); Bao et al. 2022 (BEiT).
    """
    depths = encoder.by_depth()
    _check_whole(encoder, depths)
    power = {p: len(depths) - 1 - place for place, depth in enumerate(depths) for p in depth}
    found: list[dict[str, Any]] = []
    for group in groups:
        parts: dict[int, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            parts.setdefault(power.get(parameter, 0), []).append(parameter)
        scale = group.get("learning_rate_scale", 1.0)
        found += [
            {**group, "params": parts[n], "learning_rate_scale": scale * decay**n}
            for n in sorted(parts)
        ]
    return found


def _check_whole(encoder: Encoder, depths: Sequence[Sequence[nn.Parameter]]) -> None:
    counts = Counter(parameter for depth in depths for parameter in depth)
    for name, parameter in encoder.named_parameters():
        if counts.pop(parameter, 0) != 1:
            raise UserError(
                f"by_depth() of {type(encoder).__name__} holds the parameter {name} not at all or "
                "several times; it must hold each parameter of the encoder once."
            )
    if counts:
        raise UserError(
            f"by_depth() of {type(encoder).__name__} holds parameters that are not the encoder's; "
            "it must hold each parameter of the encoder once."
        )
