"""Features: every sample is encoded once, and all protocols read the result.

Features are float32 tensors (N, D) on the device that they were made on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nearfar import modalities
from nearfar.data.content.tokenizer import MASK
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.found import at_home
from nearfar.rows import Parts, Tokens

BATCH = 128  # on a CPU larger batches are slower: their activations leave the cache
# values of a raw sample; larger ones are averaged down, so that probes on them stay affordable
RAW_VALUES = 4096

Encode = Callable[[Any], Any]
View = Callable[[Any], Any]


class Samples(Protocol):
    """What evaluation needs of a list of samples."""

    def __len__(self) -> int: ...

    def take(self, index: Tensor) -> Any:
        """The samples at these int64 positions, as one batch with ``to(device)``."""


@dataclass(frozen=True)
class Labelled:
    """Features with their class labels.

    Attributes:
        features: (N, D) float.
        labels: (N,) int64 in [0, classes); moved to the features' device.
        classes: number of classes, whether or not each occurs here.

    Raises:
        UserError: if features or labels do not fit this.
    """

    features: Tensor
    labels: Tensor
    classes: int

    def __post_init__(self) -> None:
        check_features(self.features, "labelled")
        labels = check_labels(self.labels, len(self.features), self.classes)
        object.__setattr__(self, "labels", labels.to(self.features.device))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Tensor) -> Labelled:
        return Labelled(self.features[rows], self.labels[rows], self.classes)


@torch.no_grad()
def extract(
    encode: Encode,
    samples: Samples,
    view: View,
    *,
    batch_size: int = BATCH,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Features of all samples, in order.

    Args:
        encode: from a view of n samples to (n, D); in evaluation mode.
        view: from samples to what ``encode`` takes.

    Returns:
        (N, D) float32 on ``device``.

    Raises:
        UserError: if ``encode`` belongs to a module in training mode, there are no samples, or a
            feature is not finite.
    """
    require_evaluation_mode(encode)
    blocks = [_rows(encode(x)) for x in _views(samples, view, batch_size, device)]
    return check_features(torch.cat(blocks), "encoder")


@torch.no_grad()
def extract_pairs(
    encode: Encode,
    samples: Samples,
    view: View,
    *,
    batch_size: int = BATCH,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Both embeddings of samples that are pairs; ``encode`` gives two tensors (n, D). Otherwise as
    ``extract``.
    """
    require_evaluation_mode(encode)
    firsts, seconds = zip(
        *(encode(x) for x in _views(samples, view, batch_size, device)), strict=True
    )
    first = check_features(torch.cat([_rows(f) for f in firsts]), "first encoder")
    return first, check_features(torch.cat([_rows(s) for s in seconds]), "second encoder")


@torch.no_grad()
def raw_features(
    samples: Samples,
    view: View,
    values: Callable[[Any], Tensor],
    *,
    batch_size: int = BATCH,
    device: torch.device | str = "cpu",
) -> Tensor:
    """The plain view itself as features: what a probe reaches without any encoder.

    Args:
        samples: To look at.
        view: From samples to what encoders take.
        values: From a view of n samples to (n, D), as the modality's file says.

    Returns:
        (N, D) float32.

    Raises:
        UserError: if a value is not finite.
    """
    blocks = [values(x) for x in _views(samples, view, batch_size, device)]
    return check_features(torch.cat(blocks), "raw input")


@torch.no_grad()
def predicted(
    predict: Callable[[Any], Any],
    samples: Samples,
    view: View,
    *,
    batch_size: int = BATCH,
    device: torch.device | str = "cpu",
) -> Any:
    """What is predicted of all samples, in order, as one result.

    Args:
        predict: From a view of n samples to a ``Result``; in evaluation mode.
        samples: To predict.
        view: From samples to what ``predict`` takes.

    Raises:
        UserError: if ``predict`` belongs to a module in training mode, or there are no samples.
    """
    require_evaluation_mode(predict)
    parts = [predict(x) for x in _views(samples, view, batch_size, device)]
    return type(parts[0]).joined(parts)


def check_features(features: Tensor, name: str) -> Tensor:
    """The same features, if they are (N, D) with N and D at least 1 and finite.

    Raises:
        UserError: if they are not.
    """
    if features.ndim != 2 or not features.numel():
        raise UserError(
            f"The features ({name}) have shape {tuple(features.shape)}; expected (samples, "
            "dimensions)."
        )
    bad = int((~torch.isfinite(features)).any(dim=1).sum())
    if bad:
        raise UserError(
            f"The features ({name}) of {bad:,} of {len(features):,} samples are NaN or infinite; "
            "training has probably diverged, so lower the learning rate, or look for such values "
            "in the data."
        )
    return features


def check_labels(labels: Tensor, samples: int, classes: int) -> Tensor:
    """The same labels, if they are (N,) integers in [0, classes), one for each sample.

    Raises:
        UserError: if they are not.
    """
    if labels.dtype != torch.int64:
        raise UserError(
            f"Class labels are {labels.dtype}; expected int64 (real-valued targets take the ridge "
            "probe)."
        )
    if labels.shape != (samples,):
        raise UserError(
            f"Class labels have shape {tuple(labels.shape)} for {samples:,} samples; expected one "
            "for each."
        )
    low = int(labels.min())
    high = int(labels.max())
    if low < 0 or high >= classes:
        raise UserError(
            f"Class labels run from {low} to {high}; expected 0 to {classes - 1} for {classes} "
            "classes."
        )
    return labels


def require_evaluation_mode(encode: Encode) -> None:
    """Refuse an encoder, or a bound method of one, that is in training mode.

    Raises:
        UserError: naming it.
    """
    module = encode if isinstance(encode, nn.Module) else getattr(encode, "__self__", None)
    if isinstance(module, nn.Module) and module.training:
        raise UserError(
            f"{type(module).__name__} is in training mode, so batch norm and dropout would change "
            "its features; "
            "call its eval() before evaluating."
        )


def _views(
    samples: Samples, view: View, batch_size: int, device: torch.device | str
) -> Iterator[Any]:
    if not len(samples):
        raise UserError("There are no samples to evaluate; expected at least one.")
    for start in range(0, len(samples), batch_size):
        index = torch.arange(start, min(start + batch_size, len(samples)))
        yield view(samples.take(index).to(device))


def _rows(features: Tensor) -> Tensor:
    return features.float().flatten(1) if features.ndim > 1 else features.float()


def token_counts(view: Tokens, spec: Spec | None = None) -> Tensor:
    """How often each token stands in each text (without start, end and padding): (n,
    ``RAW_VALUES``), the tokens' numbers taken modulo that.
    """
    counted = (view.mask & (view.ids > MASK)).float()
    return counted.new_zeros(len(view), RAW_VALUES).scatter_add_(1, view.ids % RAW_VALUES, counted)


def first_part(view: Parts, spec: Spec) -> Tensor:
    """The values of the first part that is there."""
    name = next(name for name in spec.parts if name in view)
    part = spec.parts[name]
    home = modalities.get(part.modality).raw
    assert home is not None
    values: Tensor = at_home(home)(view[name], part)
    return values


def averaged(view: Tensor, spec: Spec | None = None) -> Tensor:
    """The values of a view; of more than ``RAW_VALUES`` their averages over about that many
    cells.
    """
    if view[0].numel() > RAW_VALUES and view.ndim == 3:
        view = nn.functional.adaptive_avg_pool1d(view, max(1, RAW_VALUES // view.shape[1]))
    if view[0].numel() > RAW_VALUES and view.ndim == 4:
        side = max(1, math.isqrt(RAW_VALUES // view.shape[1]))
        view = nn.functional.adaptive_avg_pool2d(
            view, (min(side, view.shape[2]), min(side, view.shape[3]))
        )
    if view[0].numel() > RAW_VALUES and view.ndim == 5:
        side = max(1, math.isqrt(RAW_VALUES // (view.shape[1] * view.shape[2])))
        view = nn.functional.adaptive_avg_pool3d(
            view, (view.shape[2], min(side, view.shape[3]), min(side, view.shape[4]))
        )
    raw: Tensor = view.float().flatten(1)
    return raw
