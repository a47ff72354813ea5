"""What the methods that distil share: a finished teacher that stands still."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from nearfar.errors import UserError
from nearfar.methods.declared import Pretrained
from nearfar.methods.method import Encoder, Method, Spec, TrainingSet, WantedViews


class Distilling(Method):
    """A student that learns from a teacher's features of the same view.

    The teacher is any finished encoder for the same kind of samples. It stays in evaluation mode,
    has no gradient, and sees the student's view in the size, and by the statistics, that it was
    trained with.

    Attributes:
        teacher: The finished encoder.
        scale: Standardises its features, where a setting ``standardise`` says so.
    """

    pretrained: ClassVar[Mapping[str, Pretrained]] = {"teacher": Pretrained(gives="encoder")}

    def __init__(
        self, encoder: Encoder, spec: Spec, settings: Any = None, *, teacher: Encoder
    ) -> None:
        super().__init__(encoder, spec, settings)
        self.teacher = teacher.requires_grad_(False)
        self.scale = Standard(teacher.dimension)

    @property
    def wanted_views(self) -> WantedViews:
        return WantedViews(whole=1)

    def train(self, mode: bool = True) -> Self:
        """The teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def before_epoch(self, epoch: int, training_set: TrainingSet) -> None:
        """Look at the teacher's channels before the first step, where they are standardised."""
        if epoch == 0 and getattr(self.settings, "standardise", False):
            rows = training_set.features(lambda x: self.teacher(self.as_taught(x)))
            self.scale.set(rows, rows.square())

    def taught(self, x: Any) -> Tensor:
        """The teacher's features (N, D) of the student's view."""
        with torch.no_grad():
            features: Tensor = self.scale(self.teacher(self.as_taught(x)))
        return features

    def as_taught(self, x: Any) -> Any:
        """A view of the student's as the teacher takes it."""
        architecture: Any = getattr(self.teacher, "architecture", None)
        if not isinstance(x, Tensor) or not architecture:
            return x
        whole: Spec = architecture["spec"]
        seen = whole.of(self.spec.modality) or whole
        if x.ndim == 4 and not self.teacher.any_size and x.shape[2:] != seen.shape[1:]:
            x = interpolate(x, seen.shape[1:], mode="bilinear")
        if (seen.mean, seen.std) == (self.spec.mean, self.spec.std):
            return x
        if not len(seen.mean) == len(self.spec.mean) == x.shape[1]:
            return x
        ours, theirs = (_statistics(spec, x) for spec in (self.spec, seen))
        return (x * ours[1] + ours[0] - theirs[0]) / theirs[1]


class Standard(nn.Module):
    """Channels (..., D) less their mean, over their deviation; as they are until they are set.

    Args:
        width: D.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    @torch.no_grad()
    def set(self, rows: Tensor, squares: Tensor) -> None:
        """Take mean and deviation from all samples' channels (N, D) and their squares (N, D); a
        channel that never changes keeps a deviation of 1.
        """
        mean = rows.double().mean(dim=0)
        deviation = (squares.double().mean(dim=0) - mean.square()).clamp(min=0).sqrt()
        still = deviation <= 1e-6 * mean.abs().clamp(min=1e-6)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.masked_fill(still, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean.to(x)) / self.deviation.to(x)


def _statistics(spec: Spec, like: Tensor) -> list[Tensor]:
    """Mean and deviation of each channel, for tensors (N, C, ...)."""
    shape = (1, -1, *(1 for _ in like.shape[2:]))
    return [torch.tensor(one).to(like).view(shape) for one in (spec.mean, spec.std)]


def map_channels(encoder: Encoder, spec: Spec) -> tuple[int, int] | None:
    """Channels of an encoder's map and the number of its axes; None where it has no map.

    Args:
        encoder: Tried on nothing, in evaluation mode; its mode is left as it was.
        spec: Of samples that it takes.
    """
    if spec.vocabulary or spec.nodes or not spec.shape:
        return None
    like = next(encoder.parameters())
    training = encoder.training
    try:
        with torch.no_grad():
            found = encoder.eval().with_map(like.new_zeros(2, *spec.shape))[1]
    except UserError:
        return None
    finally:
        encoder.train(training)
    return found.shape[1], found.ndim - 2
