"""How far a linear probe gets with a small share of the labels."""

from __future__ import annotations

from nearfar.evaluation.features import Labelled
from nearfar.evaluation.linear import linear_probes
from nearfar.evaluation.splits import stratified


def few_labels(train: Labelled, test: Labelled, *, share: float, draws: int = 5, seed: int = 0) -> list[float]:
    """Test accuracies of linear probes, each fitted on its own stratified draw of the labels.

    A draw holds at least one sample of each class. The probe's penalty is picked within the draw, or fixed where no class
    has two samples in it.

    Args:
        share: of the labels of each class, in (0, 1].
        draws: number of draws.
        seed: of the first draw; the others follow.

    Returns:
        One accuracy in [0, 1] a draw.

    Raises:
        UserError: if the training labels hold fewer than two classes.
    """
    accuracies = []
    for draw in range(seed, seed + draws):
        (probe,) = linear_probes(train[stratified(train.labels, share, seed=draw)], seeds=(draw,))
        accuracies.append(probe.accuracy(test))
    return accuracies
