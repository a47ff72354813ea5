"""A running average of the weights, which is what is looked at and given in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase

from nearfar import collectives
from nearfar.methods.method import Method
from nearfar.training.processes import sharding

_STATISTICS = ("running_mean", "running_var")


class WeightAverage:
    """An exponential moving average of a method's weights over the steps of a run.

        m <- d m + (1 - d) w   with   d = min(decay, (1 + t) / (10 + t))   after step t = 1, 2 ...

    The weights w are all parameters that learn, of the encoder and of the heads, so that both fit
    together. The running means and variances of norms belong to the weights and are averaged as
    they are. All other buffers (queues, centres, counts) stay those of the last step. d rises
    slowly, so that the random weights at the start do not weigh on a short run.

    Training never sees the average.

    Args:
        method: What is trained; divided over the processes or not.
        decay: In [0, 1); 0 averages nothing, keeps nothing and costs nothing.

    Source: Polyak and Juditsky 1992; the form with a decay is Tarvainen and Valpola 2017 (Mean
        Teacher).
    """

    def __init__(self, method: Method, decay: float) -> None:
        self.decay = decay
        self._names = averaged_names(method) if decay else []
        self.values = [value.detach().clone() for value in self._of(method)]

    def _of(self, method: Method) -> list[Tensor]:
        """What is averaged, as it stands in a method."""
        own = {**dict(method.named_parameters()), **dict(method.named_buffers())}
        return [own[name] for name in self._names]

    @torch.no_grad()
    def update(self, method: Method, step: int) -> None:
        """Take in the weights after a step, the first of which is 1."""
        if self.values:
            kept = min(self.decay, (1 + step) / (10 + step))
            with sharding.mixed():
                torch._foreach_lerp_(self.values, self._of(method), 1.0 - kept)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps, whole; all processes must come here."""
        return dict(zip(self._names, sharding.whole(self.values), strict=True))

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Bring back what ``state`` gave.

        Raises:
            KeyError: If something is missing.
        """
        for name, value in zip(self._names, self.values, strict=True):
            value.copy_(sharding.divided(state[name], value))

    @contextmanager
    def shown(self, method: Method) -> Iterator[None]:
        """Within the block the first process's whole method has the average in the place of its
        weights; all processes must come here.
        """
        average = sharding.whole(self.values)
        if not (average and collectives.is_first()):
            yield
            return
        kept = [value.detach().clone() for value in self._of(method)]
        self._put(method, average)
        try:
            yield
        finally:
            self._put(method, kept)

    def give(self, method: Method) -> None:
        """Put the average into a whole method for good; all processes must come here."""
        self._put(method, sharding.whole(self.values))

    @torch.no_grad()
    def _put(self, method: Method, values: list[Tensor]) -> None:
        for own, value in zip(self._of(method), values, strict=True):
            own.copy_(value)


def averaged_names(method: Method) -> list[str]:
    """The names of the parameters that learn, and of the running statistics of norms with such
    parameters.
    """
    found = [name for name, value in method.named_parameters() if value.requires_grad]
    for prefix, part in method.named_modules():
        learns = any(value.requires_grad for value in part.parameters(recurse=False))
        if isinstance(part, _NormBase) and learns:
            own = dict(part.named_buffers(recurse=False))
            found += [f"{prefix}.{name}" for name in _STATISTICS if own.get(name) is not None]
    return found
