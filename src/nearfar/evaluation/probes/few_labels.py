"""How far a linear probe gets with few of the labels."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from nearfar.evaluation.features import Labelled
from nearfar.evaluation.probes.linear import linear_probes


def few_labels(train: Labelled, test: Labelled, draws: Iterable[Tensor]) -> list[float]:
    """Test accuracies of linear probes, each fitted on its own draw of the training samples.

    A probe's penalty is picked within its draw, or fixed where no class has two samples in it.

    Args:
        train: the training samples.
        test: the test samples.
        draws: for each, (N,) bool, true for the training samples whose labels are known; its place
            seeds the validation split.

    Returns:
        One accuracy in [0, 1] a draw.

    Raises:
        UserError: if the labels of a draw are all of one class.
    """
    return [
        linear_probes(train[draw], seeds=(seed,))[0].accuracy(test)
        for seed, draw in enumerate(draws)
    ]
