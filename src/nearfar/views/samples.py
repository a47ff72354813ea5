"""Samples as they come from the data: checked against the spec, and normalised by its
statistics.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.errors import UserError


def check_samples(samples: Any, spec: Spec, dtype: torch.dtype, meaning: str) -> Tensor:
    """The samples, if they are what the spec says.

    Args:
        samples: anything.
        spec: of the data.
        dtype: expected.
        meaning: what the values should be, for the error ("raw pixels").

    Raises:
        UserError: if they are not a tensor of that dtype and of shape (N, *spec.shape).
    """
    if isinstance(samples, Tensor) and samples.dtype == dtype and samples.shape[1:] == spec.shape:
        return samples
    found = (
        f"{_name(samples.dtype)} {tuple(samples.shape)}"
        if isinstance(samples, Tensor)
        else f"a {type(samples).__name__}"
    )
    shape = ", ".join(map(str, spec.shape))
    raise UserError(
        f"The samples of {spec.name!r} are {found}: {spec.modality} views expect {meaning}, a "
        f"{_name(dtype)} tensor of shape (N, {shape})."
    )


def check_pixels(samples: Any, spec: Spec, meaning: str) -> Tensor:
    """The samples, if they are raw pixels of the spec's shape: uint8, or uint16 where the data had
    more than 8 bits.

    Args:
        samples: anything.
        spec: of the data.
        meaning: what the values should be, for the error ("raw pixels").

    Raises:
        UserError: as ``check_samples``.
    """
    deep = isinstance(samples, Tensor) and samples.dtype == torch.uint16
    return check_samples(samples, spec, torch.uint16 if deep else torch.uint8, meaning)


def normalise(values: Tensor, spec: Spec) -> Tensor:
    """``(values - spec.mean) / spec.std`` by channel, in place, for floats of shape (N, C, ...).

    Raises:
        UserError: if the spec does not have a mean and a standard deviation for each channel.
    """
    mean, std = _statistics(values, spec)
    return values.sub_(mean).div_(std)


def denormalise(values: Tensor, spec: Spec) -> Tensor:
    """The inverse of ``normalise``, as a new tensor."""
    mean, std = _statistics(values, spec)
    return values * std + mean


def _statistics(values: Tensor, spec: Spec) -> tuple[Tensor, Tensor]:
    channels = values.shape[1]
    if not len(spec.mean) == len(spec.std) == channels:
        found = f"{len(spec.mean)} means and {len(spec.std)} standard deviations"
        raise UserError(
            f"The spec of {spec.name!r} has {found}: expected {channels} of each, one a channel."
        )
    shape = (channels,) + (1,) * (values.dim() - 2)
    mean, std = (values.new_tensor(statistic).view(shape) for statistic in (spec.mean, spec.std))
    return mean, std


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
