"""STE's policy of text styles: rewards for difficulty and realism, and the policy's loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.inputs import expect_number, expect_pictures
from nearfar.ranges import at_least, unit_interval

__all__ = ["RunningMeans", "difficulty_reward", "mask_dice", "policy_loss", "realism_reward"]


@dataclass(frozen=True)
class RunningMeans:
    """Running means of the erasing error and of the realism score.

    Attributes:
        error: E; 0 before the first batch.
        realism: Q; begins at 0.
    """

    error: float = 0.0
    realism: float = 0.0

    def updated(self, error: Tensor, realism: Tensor, momentum: float = 0.95) -> RunningMeans:
        """The means after a batch: momentum old + (1 - momentum) new; the first error counts whole.

        >>> import torch
        >>> from nearfar.losses.restoration.rewards import RunningMeans
        >>> RunningMeans().updated(torch.ones(2), torch.ones(2), 0.5)
        RunningMeans(error=1.0, realism=0.5)
        """
        expect_number(Annotated[float, unit_interval()], momentum=momentum)
        new_error = float(error.mean())
        old_error = self.error if self.error else new_error
        return RunningMeans(
            momentum * old_error + (1 - momentum) * new_error,
            momentum * self.realism + (1 - momentum) * float(realism.mean()),
        )


@full_precision
def difficulty_reward(error: Tensor, mean: float, *, spread: float = 2.0) -> Tensor:
    """Highest, 5, where the error is ``spread`` times the running mean.

        R = 5 (1 - |1 - exp(20 (e - spread mean))|)

    Args:
        error: (N,) mean L1 of each erased image.
        mean: Running mean of the error.
        spread: At least 0.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.rewards import difficulty_reward
        >>> difficulty_reward(torch.tensor([0.2]), 0.1)
        tensor([5.])

    Source: Jiang et al. 2022 (STE), equation 6.
    """
    expect_pictures(error=(error, "N"))
    expect_number(Annotated[float, at_least(0)], spread=spread)
    return 5 * (1 - (1 - (20 * (error - spread * mean)).exp()).abs())


@full_precision
def realism_reward(realism: Tensor, mean: float) -> Tensor:
    """-10 (q - mean): high where a head that knows real text finds pasted text well.

    Args:
        realism: (N,) q, ``mask_dice`` of each image.
        mean: Running mean of q.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.rewards import realism_reward
        >>> realism_reward(torch.tensor([0.5]), 0.25)
        tensor([-2.5000])

    Source: Jiang et al. 2022 (STE), equation 7.
    """
    expect_pictures(realism=(realism, "N"))
    return -10 * (realism - mean)


@full_precision
def mask_dice(found: Tensor, text: Tensor) -> Tensor:
    """q_i = N (1 - 2 <p, t> / (|p|^2 + |t|^2 + 0.002)): how badly the text of image i is found.

    Args:
        found: (N, ...) probabilities of text, p.
        text: (N, ...) where text was pasted, t.

    Returns:
        (N,); the factor N undoes the batch mean of the authors' code.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.rewards import mask_dice
        >>> mask_dice(torch.zeros(1, 4), torch.ones(1, 4))
        tensor([1.])

    Source: Jiang et al. 2022 (STE), the authors' code.
    """
    axes = " ".join(["N", *(f"A{axis}" for axis in range(1, found.ndim))])
    expect_pictures(found=(found, axes), text=(text, axes))
    p, t = found.flatten(1), text.flatten(1)
    below = p.square().sum(dim=1) + t.square().sum(dim=1) + 0.002
    return len(p) * (1 - 2 * (p * t).sum(dim=1) / below)


@full_precision
def policy_loss(
    log_probability: Tensor, entropy: Tensor, reward: Tensor, *, entropy_weight: float = 1e-5
) -> Tensor:
    """REINFORCE: mean( -log p R ) - entropy_weight mean(entropy).

    Args:
        log_probability: (N,) of what was chosen for each image.
        entropy: (N,) of the choices.
        reward: (N,); receives no gradient.
        entropy_weight: At least 0.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.rewards import policy_loss
        >>> policy_loss(torch.tensor([-1.0]), torch.tensor([0.0]), torch.tensor([2.0]))
        tensor(2.)

    Source: Williams 1992; as in Jiang et al. 2022 (STE), equation 8.
    """
    expect_pictures(
        log_probability=(log_probability, "N"), entropy=(entropy, "N"), reward=(reward, "N")
    )
    expect_number(Annotated[float, at_least(0)], entropy_weight=entropy_weight)
    return (-log_probability * reward.detach()).mean() - entropy_weight * entropy.mean()
