"""The protocols by versioned name, each from features to scores.

A protocol's settings never change under its name. Whatever a probe has to choose, it chooses on training data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from nearfar.evaluation.features import Labelled
from nearfar.evaluation.few_labels import few_labels
from nearfar.evaluation.geometry import alignment, effective_rank, neighbourhood_purity, relative_std, tolerance, uniformity
from nearfar.evaluation.intervals import mean_interval, wilson
from nearfar.evaluation.knn import knn_accuracy
from nearfar.evaluation.linear import linear_probes, ridge_probes
from nearfar.evaluation.pairs import modality_gap, partner_ranks, recall_at, zero_shot
from nearfar.evaluation.result import Score
from nearfar.evaluation.splits import stratified

PROTOCOLS = {
    "knn-v1": "k=20, T=0.07, cosine, bank: the training samples; interval over test samples (Wilson)",
    "linear-v1": "logistic regression on standardised features, L2 penalty picked on 20 % of the training samples and refitted on all, "
    "mean over splits; interval over test samples (Wilson) or splits (t), the wider",
    "few-labels-v1": "linear-v1 on 1 % and 10 % of the labels, at least one of each class, mean over draws; "
    "interval over draws (t) or test samples (Wilson), the wider",
    "ridge-v1": "ridge regression on standardised features, penalty picked on 20 % of the training samples and refitted on all, "
    "mean over splits; interval over test samples (t; of R2 with their variance held fixed)",
    "geometry-v1": "of the test samples' features: uniformity (t=2; at most 10,000 samples), alignment of two contrastive views (at most "
    "2,048 samples), std per dimension relative to 1/sqrt(D), effective rank, tolerance, purity of the 10 nearest",
    "pairs-v1": "retrieval among all test pairs by cosine, ties count against the query; zero-shot by the classes' names; "
    "interval over test samples (Wilson)",
}
FEWEST_DRAWS = 5


def class_scores(row: str, train: Labelled, test: Labelled, *, seeds: int) -> Iterator[Score]:
    """kNN, linear probe and few labels; ``seeds`` is the number of validation splits and the least number of draws."""
    yield _share(row, "knn-v1", "kNN accuracy", [knn_accuracy(train, test)], len(test))
    probes = linear_probes(train, seeds=range(seeds))
    penalties = " ".join(f"{penalty:g}" for penalty in sorted({probe.penalty for probe in probes}))
    accuracies = [probe.accuracy(test) for probe in probes]
    yield _share(row, "linear-v1", "linear accuracy", accuracies, len(test), over="splits", setting=f"penalty {penalties}")
    for share in (0.01, 0.1):
        accuracies = few_labels(train, test, share=share, draws=max(seeds, FEWEST_DRAWS))
        labels = int(stratified(train.labels, share, seed=0).sum())
        metric, setting = f"{share:.0%} of labels".replace("%", " %"), f"{labels} labels"
        yield _share(row, "few-labels-v1", metric, accuracies, len(test), over="draws", setting=setting)


def value_scores(row: str, train: Tensor, targets: Tensor, test: Tensor, test_targets: Tensor, *, seeds: int) -> Iterator[Score]:
    """Ridge probe of real-valued targets (N,) on features (N, D); ``seeds`` is the number of validation splits."""
    probes = ridge_probes(train, targets, seeds=range(seeds))
    errors = torch.stack([probe.errors(test, test_targets) for probe in probes]).double()
    absolute, squared = (mean_interval(e.mean(dim=0).tolist()) for e in (errors.abs(), errors.square()))
    setting = "penalty " + " ".join(f"{penalty:g}" for penalty in sorted({probe.penalty for probe in probes}))
    about = {"over": "test samples", "count": len(test), "setting": setting}
    yield Score(row, "ridge-v1", "mean absolute error", *absolute, **about)  # type: ignore[arg-type]
    variance = float(test_targets.double().var(correction=0))
    scaled = [1 - end / variance if variance else float("nan") for end in (squared.value, squared.high, squared.low)]
    yield Score(row, "ridge-v1", "R2", *scaled, **about)  # type: ignore[arg-type]


def geometry_scores(row: str, features: Tensor, *, labelled: Labelled | None, views: tuple[Tensor, Tensor] | None) -> Iterator[Score]:
    """The shape of the test features (N, D), N at least 2; ``labelled``: the same with labels; ``views``: two views' features."""
    found = {"uniformity": uniformity(features)}
    if views is not None:
        found["alignment"] = alignment(*views)
    found |= {"std per dimension": relative_std(features), "effective rank": effective_rank(features)}
    if labelled is not None and int(labelled.labels.bincount().max()) > 1:
        found["tolerance"] = tolerance(labelled)
    for metric, value in found.items():
        yield Score(row, "geometry-v1", metric, value)
    if labelled is not None:
        yield Score(row, "geometry-v1", "purity, 10 nearest", neighbourhood_purity(labelled), unit="%")


def pair_scores(row: str, first: Tensor, second: Tensor, *, names: tuple[str, str] = ("image", "text")) -> Iterator[Score]:
    """Retrieval both ways between embeddings (N, D) of both parts, and the distance of their means."""
    for (query, target), ranks in (
        (names, partner_ranks(first, second)),
        (names[::-1], partner_ranks(second, first)),
    ):
        for k in (1, 5, 10):
            yield _share(row, "pairs-v1", f"{query} to {target} recall@{k}", [recall_at(ranks, k)], len(first))
        yield Score(row, "pairs-v1", f"{query} to {target} mean rank", float(ranks.double().mean()))
    yield Score(row, "pairs-v1", "modality gap", modality_gap(first, second))


def pair_controls(first: Tensor, second: Tensor) -> Iterator[Score]:
    """The same with partners in random order, which must come out at chance; and chance itself, k / N."""
    order = torch.randperm(len(first), generator=torch.Generator().manual_seed(0)).to(second.device)
    scores = [s for s in pair_scores("shuffled pairs", first, second[order]) if s.metric != "modality gap"]
    yield from scores
    for score in scores:
        k = score.metric.partition("recall@")[2]
        value = min(1.0, int(k) / len(first)) if k else (len(first) + 1) / 2
        yield Score("chance", "pairs-v1", score.metric, value, unit=score.unit)


def zero_shot_score(row: str, images: Labelled, class_texts: Tensor) -> Score:
    """Classification by the nearest of the class texts' embeddings (C, D)."""
    right = zero_shot(images.features, class_texts) == images.labels
    return _share(row, "pairs-v1", "zero-shot accuracy", [float(right.double().mean())], len(images))


def zero_shot_chance(labels: Tensor) -> Score:
    """What always naming the commonest class reaches."""
    return Score("chance", "pairs-v1", "zero-shot accuracy", int(labels.bincount().max()) / len(labels), unit="%")


def _share(row: str, protocol: str, metric: str, values: Sequence[float], samples: int, *, over: str = "", setting: str = "") -> Score:
    """A mean accuracy with the wider of two intervals: probes that agree do not make a small test set large, nor a large one the
    probes agree."""
    mean = mean_interval(values)
    score = wilson(mean.value, samples)
    if mean.high - mean.low > score.high - score.low:  # false for one value, whose ends are NaN
        low, high = max(0.0, mean.low), min(1.0, mean.high)
        return Score(row, protocol, metric, mean.value, low, high, over, len(values), "%", setting)
    return Score(row, protocol, metric, *score, "test samples", samples, "%", setting)
