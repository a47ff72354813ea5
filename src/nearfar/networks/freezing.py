"""Encoders of which the part that is nearest to the input stays as it is."""

from __future__ import annotations

from nearfar.errors import UserError
from nearfar.networks.encoder import Encoder


def freeze_depths(encoder: Encoder, count: int) -> None:
    """Hold the parameters of the first depths of an encoder still.

    Batch norms in them go on to normalise by each batch, and to average its statistics.

    Args:
        encoder: Changed in place; ``by_depth`` says what its depths are.
        count: Of depths, at least 0.

    Raises:
        UserError: If nothing of it would learn.

    Example:
        >>> from nearfar import networks
        >>> from nearfar.data.spec import Spec
        >>> encoder = networks.build("perceptron", Spec("mine", "image", (1, 8, 8), 10))
        >>> freeze_depths(encoder, 1)
        >>> [any(one.requires_grad for one in depth) for depth in encoder.by_depth()]
        [False, True]
    """
    depths = encoder.by_depth()
    if count and count >= len(depths):
        raise UserError(
            f"Option freeze is {count}, but the encoder has {len(depths)} depths; expected at most "
            f"{len(depths) - 1}, so that some of it learns."
        )
    for depth in depths[:count]:
        for parameter in depth:
            parameter.requires_grad_(False)
