"""The blocks of an encoder, as "the last k" of fine-tuning counts them."""

from __future__ import annotations

from torch import nn


def blocks(encoder: nn.Module) -> list[list[nn.Parameter]]:
    """The encoder's parameters in order, in the blocks that "the last k" counts.

    A block is what stands under one number of the first numbered level (a residual block, a
    transformer's block, a convolution), or one unnumbered part; scales and shifts alone, as of a
    norm, belong to the block before them.
    """
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in encoder.named_parameters():
        parts = name.split(".")
        numbered = next((place for place, part in enumerate(parts) if part.isdigit()), None)
        key = (
            ".".join(parts[: numbered + 1])
            if numbered is not None
            else ".".join(parts[:-1] or parts)
        )
        found.setdefault(key, []).append(parameter)
    merged: list[list[nn.Parameter]] = []
    for parameters in found.values():
        if merged and all(parameter.ndim < 2 for parameter in parameters):
            merged[-1] += parameters
        else:
            merged.append(parameters)
    return merged
