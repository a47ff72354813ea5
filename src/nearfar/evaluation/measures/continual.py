"""What a learner of several tasks knows at the end, and what it has forgotten."""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.errors import UserError

__all__ = ["average_score", "forgetting"]


def average_score(scores: Tensor) -> Tensor:
    """The mean over tasks of the scores after the last task: mean_j A[K, j].

    Args:
        scores: (K, K) score on task j (column) after task i (row).

    Example:
        >>> import torch
        >>> from nearfar.evaluation.measures.continual import average_score
        >>> average_score(torch.tensor([[0.9, 0.1], [0.5, 0.7]]))
        tensor(0.6000)

    Source: Lopez-Paz and Ranzato 2017.
    """
    _expect_scores(scores)
    return scores[-1].mean()


def forgetting(scores: Tensor, *, higher_is_better: bool = True) -> Tensor:
    """How much worse earlier tasks are at the end than right after their own training.

        forgetting = mean_{j < K} (A[j, j] - A[K, j]);  the sign is turned for losses

    Args:
        scores: (K, K) score on task j (column) after task i (row), K at least 2.
        higher_is_better: True for accuracies, False for losses.

    Example:
        >>> import torch
        >>> from nearfar.evaluation.measures.continual import forgetting
        >>> forgetting(torch.tensor([[0.9, 0.1], [0.5, 0.7]]))
        tensor(0.4000)

    Source: Chaudhry et al. 2018, with the score right after a task in place of the best one.
    """
    _expect_scores(scores)
    if len(scores) < 2:
        raise UserError("One task cannot be forgotten: expected scores of at least 2 tasks.")
    lost = torch.diagonal(scores)[:-1] - scores[-1, :-1]
    return lost.mean() if higher_is_better else -lost.mean()


def _expect_scores(scores: Tensor) -> None:
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or not len(scores):
        raise UserError(f"Expected scores (tasks, tasks); found {tuple(scores.shape)}.")
    if not scores.is_floating_point():
        raise UserError(f"Scores must be floating-point numbers; found {scores.dtype}.")
