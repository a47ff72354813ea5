"""Which labels of an embedded set are likely wrong: three rankings, and a trial on the set itself
that chooses among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nearfar.evaluation.features import Labelled, check_features
from nearfar.evaluation.probes.knn import nearest
from nearfar.evaluation.probes.linear import fit_logistic

NEIGHBOURS = 10
SMOOTHING = 0.1
"""Share of the votes that all classes have alike: ten neighbours cannot rule a class out."""
FOLDS = 5
PENALTIES = (1e-2, 1e-1, 1.0)
"""Strong ones: a probe that follows every wrong label does not doubt it."""
PLANTED = 0.05
"""Share of the labels that a trial replaces by others."""
TRIED = 4000
"""Samples of a trial at most."""
_FEWEST_TRIED = 40


@dataclass(frozen=True)
class Doubt:
    """A label that is likely wrong.

    Attributes:
        row: of the sample.
        other: the label that it should bear.
        share: what speaks for that label, from 0 to 1: a share of the neighbours' votes, or a
            probability.
    """

    row: int
    other: str
    share: float


@dataclass(frozen=True)
class Trial:
    """How precise a ranking was where some labels had been replaced.

    Attributes:
        least: share of replaced labels among the first doubts.
        most: the same without the doubts that the ranking had before labels were replaced, which
            may be errors that the set already has.
        found: share of all replaced labels that are among twice as many first doubts.
    """

    least: float
    most: float
    found: float


@dataclass(frozen=True)
class LabelErrors:
    """Likely label errors, the surest first.

    Attributes:
        doubts: what was found.
        ranking: by which: "neighbours", "probe" or "both".
        trials: of each ranking; empty where the set is too small for one.
        tried: number of first doubts that the trials are of.
    """

    doubts: tuple[Doubt, ...]
    ranking: str
    trials: dict[str, Trial]
    tried: int

    def note(self) -> str:
        """What a reader may expect of the list."""
        if not self.trials:
            return "The set is too small to try how precise this list is."
        own = self.trials[self.ranking]
        others = ", ".join(
            f"{_NAMES[name]} {100 * trial.least:.0f} %"
            for name, trial in self.trials.items()
            if name != self.ranking
        )
        width = (
            f"{100 * own.least:.0f} %"
            if own.least == own.most
            else f"{100 * own.least:.0f} to {100 * own.most:.0f} %"
        )
        return (
            f"Expected precision {width}: in a trial with {100 * PLANTED:.0f} % of these labels "
            "replaced, that share of "
            f"the first {self.tried} doubts by {_NAMES[self.ranking]} were replaced ones "
            f"({others}); less where fewer "
            "labels are wrong."
        )


_NAMES = {
    "neighbours": "the nearest neighbours",
    "probe": "a cross-validated linear probe",
    "both": "neighbours and probe together",
}


def likely_errors(
    features: Tensor, labels: Sequence[str], count: int = 20, *, seed: int = 0
) -> LabelErrors:
    """At most ``count`` labels that are likely wrong, by the ranking that finds planted errors of
    this set best.

    In the trial ``PLANTED`` of the labels are replaced at random. All rankings then look for them,
    and the one that finds most among twice as many doubts (the set may have as many errors of its
    own) is taken; of equal ones "both".

    Args:
        features: (N, D).
        labels: N labels; rows with "" are not judged.
        count: at least 1.
        seed: of the trial and of the folds.
    """
    rows = [row for row, label in enumerate(labels) if label]
    names = sorted({labels[row] for row in rows})
    if len(names) < 2:
        return LabelErrors((), "both", {}, 0)
    judged = check_features(features, "index")[rows].float()
    place = {name: number for number, name in enumerate(names)}
    number = torch.tensor([place[labels[row]] for row in rows])
    trials, tried = _trials(judged, number, len(names), count, seed)
    ranking = (
        max(trials, key=lambda name: (trials[name].found, name == "both")) if trials else "both"
    )
    found = rankings(judged, number, len(names), seed)[ranking][:count]
    doubts = tuple(Doubt(rows[row], names[other], share) for row, other, share in found)
    return LabelErrors(doubts, ranking, trials, tried)


Ranked = list[tuple[int, int, float]]
"""(row, the likely class, what speaks for it) of each doubt, the surest first."""


def rankings(features: Tensor, number: Tensor, classes: int, seed: int = 0) -> dict[str, Ranked]:
    """The doubts by neighbours, by a probe, and by both.

    Args:
        features: (N, D).
        number: (N,) int64 labels in [0, classes).
        classes: number of classes.
        seed: of the probe's folds.
    """
    votes = _votes(features, number, classes)
    probability = _held_out_probabilities(features, number, classes, seed)
    smoothed = (1 - SMOOTHING) * votes + SMOOTHING / classes
    together = (smoothed * probability.clamp_min(1e-4)).sqrt()
    return {
        "neighbours": _by_neighbours(votes, number),
        "probe": _by_probe(probability, number),
        "both": _by_margin(together / together.sum(dim=1, keepdim=True), number),
    }


def _by_neighbours(votes: Tensor, number: Tensor) -> Ranked:
    """Where most neighbours bear another label, by their share of votes.

    Source: after Zhu et al. 2022, "Detecting Corrupted Labels Without Training a Model to Predict",
        section 4.1.
    """
    best, choice = votes.max(dim=1)
    return _doubts((choice != number) & (best > 0.5), -best, choice, best)


def _by_probe(probability: Tensor, number: Tensor) -> Ranked:
    """Where a probe is confident of another class, by the label's probability minus that of the
    class.

    The probe is confident of a class if its probability reaches the mean probability that the
    samples with this label have of it.

    Source: Northcutt et al. 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels",
        section 3; ordered
    by the normalised margin.
    """
    own = probability.gather(1, number[:, None]).squeeze(1)
    count = number.bincount(minlength=probability.shape[1])
    confident = torch.zeros_like(probability[0]).index_add_(0, number, own) / count.clamp_min(1)
    best, choice = probability.where(probability >= confident, -1.0).max(dim=1)
    return _doubts(
        (choice != number) & (best > own) & (count[number] > 1), own - best, choice, best
    )


def _by_margin(share: Tensor, number: Tensor) -> Ranked:
    """Where another class has more than the label, by the ratio of the label's share to that of the
    class.
    """
    own = share.gather(1, number[:, None]).squeeze(1)
    best, choice = share.max(dim=1)
    several = number.bincount(minlength=share.shape[1])[number] > 1
    return _doubts((choice != number) & several, own / best, choice, best)


def _doubts(wrong: Tensor, order: Tensor, choice: Tensor, share: Tensor) -> Ranked:
    rows = wrong.nonzero().flatten()
    rows = rows[order[rows].argsort(stable=True)]
    return [(row, int(choice[row]), float(share[row])) for row in rows.tolist()]


def _votes(features: Tensor, number: Tensor, classes: int) -> Tensor:
    """(N, classes): shares of the votes of the nearest other samples, each with its cosine."""
    similarity, found = nearest(features, features, k=min(NEIGHBOURS + 1, len(features)))
    own = found == torch.arange(len(features))[:, None]
    votes = torch.zeros(len(features), classes)
    votes.scatter_add_(1, number[found], similarity.clamp_min(0).masked_fill(own, 0))
    return votes / votes.sum(dim=1, keepdim=True).clamp_min(1e-12)


def _held_out_probabilities(features: Tensor, number: Tensor, classes: int, seed: int) -> Tensor:
    """(N, classes): each sample's probabilities by a probe of the other folds, with the penalty
    that predicts best.
    """
    fold = _folds(number, seed)
    found = torch.zeros(len(PENALTIES), len(number), classes)
    for one in range(FOLDS):
        held_out = fold == one
        if not held_out.any():
            continue
        rest = Labelled(features[~held_out], number[~held_out], classes)
        for place, model in enumerate(fit_logistic(rest, PENALTIES, tolerance=1e-3)):
            found[place, held_out] = model(features[held_out]).softmax(dim=1)
    own = found.gather(2, number[None, :, None].expand(len(PENALTIES), -1, 1)).clamp_min(1e-12)
    return found[int(own.log().mean(dim=(1, 2)).argmax())]


def _folds(number: Tensor, seed: int) -> Tensor:
    """(N,): the fold of each sample; every class is spread evenly over the folds."""
    order = torch.randperm(len(number), generator=torch.Generator().manual_seed(seed))
    order = order[number[order].argsort(stable=True)]
    fold = torch.empty_like(number)
    fold[order] = torch.arange(len(number)) % FOLDS
    return fold


def _trials(
    features: Tensor, number: Tensor, classes: int, count: int, seed: int
) -> tuple[dict[str, Trial], int]:
    """The trial of each ranking, and how many doubts it is of."""
    draw = torch.Generator().manual_seed(seed)
    some = torch.randperm(len(number), generator=draw)[:TRIED]
    if len(some) < _FEWEST_TRIED:
        return {}, 0
    features = features[some]
    number = number[some]
    planted = torch.randperm(len(some), generator=draw)[: max(1, round(PLANTED * len(some)))]
    replaced = number.clone()
    shift = torch.randint(1, classes, (len(planted),), generator=draw)
    replaced[planted] = (number[planted] + shift) % classes
    errors = set(planted.tolist())
    first = min(count, len(planted))
    before = rankings(features, number, classes, seed)
    after = rankings(features, replaced, classes, seed)
    trials = {}
    for name, ranked in after.items():
        old = {row for row, _, _ in before[name]} - errors
        found = [row for row, _, _ in ranked[:first]]
        hits = sum(row in errors for row in found)
        reached = sum(row in errors for row, _, _ in ranked[: 2 * len(planted)])
        most = hits / max(1, len(found) - sum(row in old for row in found))
        trials[name] = Trial(hits / max(1, len(found)), most, reached / len(planted))
    return trials, first
