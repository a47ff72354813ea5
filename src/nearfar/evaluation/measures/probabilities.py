"""How right and how well calibrated class probabilities are."""

from __future__ import annotations

from typing import NamedTuple

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from nearfar.errors import UserError

__all__ = ["Judged", "judge_probabilities"]


class Judged(NamedTuple):
    """What class probabilities reach.

    Attributes:
        accuracy: Share of right answers.
        balanced_accuracy: Mean over the classes that occur of their share of right answers.
        auc: Area under the receiver operating characteristic: of class 1 for two classes, else the
            mean over classes of one against the rest; NaN where no class has both kinds.
        calibration_error: Mean distance of confidence and accuracy over bins of confidence.
    """

    accuracy: float
    balanced_accuracy: float
    auc: float
    calibration_error: float


def judge_probabilities(probabilities: Tensor, label: Tensor, *, bins: int = 15) -> Judged:
    """Judge class probabilities.

        calibration error = sum over bins b of |b| / N * | accuracy_b - mean confidence_b |

    Args:
        probabilities: (N, C), rows sum to 1.
        label: (N,) int64 classes.
        bins: Of equal width over confidences from 0 to 1, each open below and closed above.

    Example:
        >>> chance, label = torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([0, 1])
        >>> found = judge_probabilities(chance, label)
        >>> found.accuracy, found.auc, round(found.calibration_error, 3)
        (1.0, 1.0, 0.15)

    Source: Yang et al. 2023 (MedMNIST v2) for the area; Guo et al. 2017, "On Calibration of Modern
    Neural Networks", for the error.
    """
    chance, truth = probabilities.detach().cpu().double(), label.detach().cpu()
    if chance.ndim != 2 or not len(chance) or truth.shape != (len(chance),) or bins < 1:
        found = f"{tuple(chance.shape)}, {tuple(truth.shape)} and {bins} bins"
        raise UserError(f"Probabilities (N, C), labels (N,) and at least a bin; found {found}.")
    confidence, answer = chance.max(dim=1)
    right = (answer == truth).double()
    shares = [right[truth == one].mean() for one in torch.unique(truth)]
    place = (confidence * bins).ceil().clamp(1, bins).long() - 1
    count = torch.bincount(place, minlength=bins).double()
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, right - confidence)
    error = float(gap.abs().sum() / len(chance)) if count.sum() else 0.0
    return Judged(
        float(right.mean()), float(torch.stack(shares).mean()), _area(chance, truth), error
    )


def _area(chance: Tensor, truth: Tensor) -> float:
    classes = [1] if chance.shape[1] == 2 else range(chance.shape[1])
    areas = [
        float(roc_auc_score((truth == one).numpy(), chance[:, one].numpy()))
        for one in classes
        if 0 < int((truth == one).sum()) < len(truth)
    ]
    return sum(areas) / len(areas) if areas else float("nan")
