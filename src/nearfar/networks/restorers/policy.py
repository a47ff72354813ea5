"""A policy that makes one choice after another, each knowing those before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from nearfar.errors import UserError
from nearfar.ranges import checked, whole_number

__all__ = ["STE_CHILDREN", "STE_SIZES", "Choices", "StylePolicy"]

STE_SIZES = (2, 12, 3, 3, 4, 2, 2, 2, 2, 2, 4, 3, 2, 8, 4, 3, 5, 5)
"""STE's space of text styles: numbers of options of copy or render, font, colour, size, blur,
Poisson blending, italic, curve, art, stroke and its two options, shadow and its five options."""
STE_CHILDREN = ((0, 1, 18), (8, 9, 18), (9, 10, 12), (12, 13, 18))
"""Which choices mean nothing where an earlier one is 0: (earlier choice, first, last + 1)."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a policy chose.

    Attributes:
        actions: (N, steps) int64.
        log_probability: (N,) of the choices that mean something, summed.
        entropy: (N,) of these choices, summed.
    """

    actions: Tensor
    log_probability: Tensor
    entropy: Tensor


class StylePolicy(nn.Module):
    """An LSTM over choices: a softmax at each step, whose choice is the next step's input.

    Args:
        sizes: Number of options of each choice.
        children: Rows (earlier choice, first, last + 1): where the earlier choice is 0, the choices
            from ``first`` on are still made and count neither in probability nor in entropy.
        width: Units of the embedding of a choice.
        hidden: Units of the LSTM.
        layers: Layers of the LSTM.
        features: Units of an image's feature vector, from which the first input is made; None for a
            policy that does not look at the image.

    Raises:
        UserError: If sizes or children are no such numbers.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.policy import StylePolicy
        >>> policy = StylePolicy((2, 3), width=4, hidden=5)
        >>> policy.sample(6, torch.Generator().manual_seed(0)).actions.shape
        torch.Size([6, 2])

    Source: Jiang et al. 2022 (STE), section 3.2; Zoph and Le 2017.
    """

    def __init__(
        self,
        sizes: Sequence[int] = STE_SIZES,
        children: Sequence[tuple[int, int, int]] = (),
        *,
        width: int = 32,
        hidden: int = 100,
        layers: int = 1,
        features: int | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("width", width), ("hidden", hidden), ("layers", layers)):
            checked(Annotated[int, whole_number()], name, value)
        if not sizes or min(sizes) < 1:
            raise UserError(f"sizes are {tuple(sizes)}; expected numbers of at least 1.")
        for parent, first, last in children:
            if not 0 <= parent < first < last <= len(sizes):
                raise UserError(
                    f"children holds {(parent, first, last)}; expected an earlier choice and a"
                    f" range of later ones below {len(sizes)}."
                )
        self.sizes = tuple(sizes)
        self.children_of = tuple(children)
        self.width = width
        self.project = None if features is None else nn.Linear(features, width)
        self.embedding = nn.Embedding(sum(sizes), width)
        self.lstm = nn.LSTM(width, hidden, layers, batch_first=True)
        self.out = nn.ModuleList(nn.Linear(hidden, size) for size in sizes)

    def sample(
        self, samples: int, generator: torch.Generator, features: Tensor | None = None
    ) -> Choices:
        """Draw choices for ``samples`` images, with gradient through their probabilities."""
        return self._run(samples, features, None, generator)

    def judge(self, actions: Tensor, features: Tensor | None = None) -> Choices:
        """Probability and entropy of choices that were made before, (N, steps) int64."""
        if actions.ndim != 2 or actions.shape[1] != len(self.sizes):
            raise UserError(
                f"Expected actions (N, {len(self.sizes)}); found {tuple(actions.shape)}."
            )
        return self._run(len(actions), features, actions, None)

    def _run(
        self,
        samples: int,
        features: Tensor | None,
        given: Tensor | None,
        generator: torch.Generator | None,
    ) -> Choices:
        if (features is None) != (self.project is None):
            raise UserError("A policy that looks at images needs their features, others take none.")
        weight = self.embedding.weight
        x = weight.new_zeros(samples, self.width)
        if self.project is not None and features is not None:
            x = self.project(features).tanh()
        state = None
        actions: list[Tensor] = []
        log_probability = weight.new_zeros(samples)
        entropy = weight.new_zeros(samples)
        offset = 0
        for step, (size, out) in enumerate(zip(self.sizes, self.out, strict=True)):
            hidden, state = self.lstm(x[:, None], state)
            log_shares = out(hidden[:, 0]).log_softmax(dim=1)
            if given is None:
                drawn = torch.multinomial(log_shares.detach().exp().cpu(), 1, generator=generator)
                action = drawn[:, 0].to(weight.device)
            else:
                action = given[:, step]
            actions.append(action)
            means = self._means_something(step, actions)
            chosen = log_shares.gather(1, action[:, None])[:, 0]
            log_probability = log_probability + means * chosen
            entropy = entropy - means * (log_shares.exp() * log_shares).sum(dim=1)
            x = self.embedding(offset + action)
            offset += size
        return Choices(
            actions=torch.stack(actions, dim=1), log_probability=log_probability, entropy=entropy
        )

    def _means_something(self, step: int, actions: Sequence[Tensor]) -> Tensor:
        """(N,) 1 where no earlier choice of 0 makes this one meaningless."""
        means = torch.ones_like(actions[0], dtype=self.embedding.weight.dtype)
        for parent, first, last in self.children_of:
            if first <= step < last:
                means = means * (actions[parent] != 0)
        return means
