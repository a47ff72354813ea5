"""Transforms of other libraries, called on a sample at a time, and the seeds of what they draw."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from nearfar.errors import UserError
from nearfar.rows.levels import as_bytes, to_unit

_SAMPLEWISE = ("torchvision.", "kornia.", "albumentations.")
"""Libraries whose transforms see a sample at a time here."""
_FROM_PICTURES = {"ToTensor", "PILToTensor"}
"""Transforms that take pictures of Pillow alone."""


@dataclass(frozen=True)
class EachSample:
    """Marks a function as one of a single sample, in place of one of a batch.

    Attributes:
        transform: From a raw sample, such as a uint8 tensor (C, H, W), to a view of it.

    Example:
        >>> flipped = EachSample(lambda image: image.flip(2))
        >>> flipped.transform(torch.arange(3)[None, None]).tolist()
        [[[2, 1, 0]]]
    """

    transform: Callable[[Any], Any]


def is_samplewise(one: Any) -> bool:
    """Whether something is a transform of a sample: marked as one, or of a library of such."""
    if isinstance(one, EachSample):
        return True
    parts = list(one.modules()) if isinstance(one, nn.Module) else [one]
    return any(
        f"{base.__module__}.".startswith(_SAMPLEWISE)
        for part in parts
        for base in type(part).__mro__
    )


def call_of(transform: Any) -> Callable[[Tensor], Any]:
    """From a raw sample to a view of it, in the form that the transform's library takes."""
    if isinstance(transform, EachSample):
        return transform.transform
    parts = list(transform.modules()) if isinstance(transform, nn.Module) else [transform]
    homes = {base.__module__.partition(".")[0] for part in parts for base in type(part).__mro__}
    if "albumentations" in homes:
        return lambda sample: transform(image=np.ascontiguousarray(sample.permute(1, 2, 0)))[
            "image"
        ]
    if "kornia" in homes:
        return lambda sample: transform(unit(sample)[None])[0]
    inner = [transform, *getattr(transform, "transforms", ())]
    if any(type(one).__name__ in _FROM_PICTURES for one in inner):
        return lambda sample: transform(_picture(sample))
    call: Callable[[Tensor], Any] = transform
    return call


def _picture(sample: Tensor) -> Image.Image:
    if len(sample) not in (1, 3):
        raise UserError(
            f"A transform of pictures takes 1 or 3 channels, and the samples have {len(sample)}; "
            "give one of tensors."
        )
    array = as_bytes(sample).permute(1, 2, 0).numpy()
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def unit(values: Tensor, scale: int = 255) -> Tensor:
    """Raw pixels as floats in [0, 1], bytes by ``scale``; floats as they are."""
    if values.dtype == torch.uint16:
        return to_unit(values)
    return values.float() / scale if values.dtype == torch.uint8 else values


def as_tensor(view: Any) -> Tensor:
    """A view as a tensor with the channels first, from a picture, an array or a tensor."""
    if isinstance(view, Image.Image):
        view = np.asarray(view)
        view = view[:, :, None] if view.ndim == 2 else view
    if isinstance(view, np.ndarray):
        found = torch.from_numpy(np.array(view))
        return found.permute(2, 0, 1) if found.ndim == 3 and found.shape[2] in (1, 3) else found
    return torch.as_tensor(view).as_subclass(Tensor)


def seeded(seed: int, transform: Any = None, *, devices: bool = False) -> None:
    """Seed the global generators, and a transform that has one of its own and says so.

    Args:
        seed: At least 0, below 2^63.
        transform: What draws; albumentations have ``set_random_seed``.
        devices: Whether those of accelerators are seeded, too.
    """
    torch.default_generator.manual_seed(seed)
    if devices and torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    own_generator = getattr(transform, "set_random_seed", None)
    if own_generator is not None:
        own_generator(seed & 0xFFFFFFFF)


@contextmanager
def global_draws_kept() -> Iterator[None]:
    """Leave the global generators as they were."""
    state = random.getstate()
    numpy_state = np.random.get_state()
    cuda: Any = torch.cuda
    on_devices = cuda.is_available() and cuda.is_initialized()
    devices = list(range(torch.cuda.device_count())) if on_devices else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)
