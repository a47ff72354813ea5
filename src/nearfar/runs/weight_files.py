"""A file of another program's weights for an encoder."""

from __future__ import annotations

from pathlib import Path

import safetensors
from safetensors.torch import load_file
from torch import Tensor

from nearfar.errors import UserError, counted
from nearfar.networks.encoder import Encoder
from nearfar.stored import check_file

SUFFIX = ".safetensors"
_COUNTS = "num_batches_tracked"
"""End of the names of counts that batch norm keeps and does not compute with."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name.

    Raises:
        UserError: If there is no such file, or it is damaged.
    """
    check_file(path, f"give a {SUFFIX} file")
    try:
        return load_file(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise UserError(
            f"{path} is no {SUFFIX} file, or is damaged ({error}); write the weights again."
        ) from error


def fill(encoder: Encoder, weights: dict[str, Tensor], misfit: str) -> None:
    """Give an encoder the weights of a file, whose names are checked first.

    A classifier's are left out where the encoder says which they are.

    Args:
        encoder: Changed in place.
        weights: By name, with or without the encoder's ``weights_prefix``.
        misfit: How an error begins.

    Raises:
        UserError: If a weight is missing, unknown or of another shape; names the first.
    """
    prefix = encoder.weights_prefix
    state = encoder.state_dict()
    spare = tuple(f"{one}." for one in encoder.spare_weights)
    given = {
        key if prefix and key.startswith(prefix) else prefix + key: value
        for key, value in weights.items()
        if not key.removeprefix(prefix).startswith(spare)
    }
    missing = [key for key in state if key not in given and not key.endswith(_COUNTS)]
    unexpected = [key for key in given if key not in state]
    if missing or unexpected:
        raise UserError(
            f"{misfit}: {_told(missing, prefix)} of the encoder's "
            f"{_verb(missing, 'is', 'are')} missing in the file, and "
            f"{_told(unexpected, prefix)} of the file's {_verb(unexpected, 'is', 'are')} unknown "
            "to the encoder; name the architecture that the weights are of."
        )
    for key, value in given.items():
        if value.shape != state[key].shape:
            raise UserError(
                f"{misfit}: {key.removeprefix(prefix)} is of shape {tuple(value.shape)} in the "
                f"file and {tuple(state[key].shape)} in the encoder for these data; bring the data "
                "to the channels and size of the weights."
            )
    encoder.load_state_dict({**state, **given})


def _told(keys: list[str], prefix: str) -> str:
    """ "2 weights (first conv1.weight)", or "none"."""
    if not keys:
        return "none"
    return f"{counted(len(keys), 'weight')} (first {keys[0].removeprefix(prefix)})"


def _verb(keys: list[str], one: str, many: str) -> str:
    return one if len(keys) < 2 else many
