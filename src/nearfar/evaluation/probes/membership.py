"""Whether one can tell from a classifier's answers which samples it was trained on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nearfar.errors import UserError

__all__ = ["membership_attack"]


def membership_attack(
    members: Tensor, strangers: Tensor, asked: Tensor, other_strangers: Tensor, *, seed: int = 0
) -> float:
    """How often an attacker is right about samples that should have been forgotten.

    Boosted trees learn to tell members from strangers by sorted class probabilities, equally many
    of both. They are then asked about samples that were forgotten, which count as members, and
    about other strangers, again equally many. After perfect forgetting they are right half the
    time.

    Args:
        members: (N, C) class probabilities of samples that stay in the training data.
        strangers: (M, C) of samples that were never there.
        asked: (A, C) of samples that were forgotten.
        other_strangers: (B, C) of other samples that were never there.
        seed: Of the choice of samples and of the trees.

    Returns:
        Share of right answers, in [0, 1].

    Raises:
        UserError: If a group is empty or has other classes.

    Example:
        >>> sure, unsure = torch.eye(4), torch.full((4, 4), 0.25)
        >>> membership_attack(sure, unsure, sure, unsure)
        1.0

    Source: Shen et al. 2024, "Label-Agnostic Forgetting"; Shokri et al. 2017, "Membership Inference
    Attacks Against Machine Learning Models".
    """
    from sklearn.ensemble import GradientBoostingClassifier

    groups = [members, strangers, asked, other_strangers]
    if any(one.ndim != 2 or not len(one) or one.shape[1] != members.shape[1] for one in groups):
        found = ", ".join(str(tuple(one.shape)) for one in groups)
        raise UserError(f"Four groups of class probabilities (N, C), none empty; found {found}.")
    draws = np.random.default_rng(seed)
    rows, truth = _balanced(members, strangers, draws)
    trees = GradientBoostingClassifier(n_estimators=100, random_state=seed).fit(rows, truth)
    rows, truth = _balanced(asked, other_strangers, draws)
    return float((trees.predict(rows) == truth).mean())


def _balanced(
    inside: Tensor, outside: Tensor, draws: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Equally many sorted rows of both kinds, and which are inside."""
    count = min(len(inside), len(outside))
    chosen = [
        one[torch.from_numpy(draws.permutation(len(one))[:count])] for one in (inside, outside)
    ]
    rows = torch.cat(chosen).detach().cpu().double().sort(dim=1, descending=True)[0]
    return rows.numpy(), np.repeat([True, False], count)
