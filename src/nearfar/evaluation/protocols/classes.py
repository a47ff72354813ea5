"""Protocols that classify frozen features: nearest neighbours, linear probe, few labels."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from nearfar.evaluation.probes.few_labels import few_labels
from nearfar.evaluation.probes.knn import knn_right
from nearfar.evaluation.protocol import Protocol, Row, needs_classes, penalties, share
from nearfar.evaluation.result import Score
from nearfar.evaluation.splits import per_class, stratified

FEWEST_DRAWS = 5
SHARES = (0.01, 0.1)
PER_CLASS = (1, 5, 10, 100)


def _knn(row: Row) -> Iterator[Score]:
    train, test = row.labelled
    right = knn_right(train, test)
    row.keep("kNN accuracy", right)
    yield share(row.name, KNN.version, "kNN accuracy", [float(right.mean())], len(row.test))


def _linear(row: Row) -> Iterator[Score]:
    right = torch.stack([probe.right(row.labelled[1]) for probe in row.probes])
    row.keep("linear accuracy", right.mean(dim=0))
    accuracies = right.mean(dim=1).tolist()
    yield share(
        row.name,
        LINEAR.version,
        "linear accuracy",
        accuracies,
        len(row.test),
        over="splits",
        setting=penalties(row.probes),
    )


def _few_labels(row: Row) -> Iterator[Score]:
    (train, test) = row.labelled
    seeds = range(max(row.task.wanted.seeds, FEWEST_DRAWS))
    largest = int(train.labels.bincount().max())
    judged: set[int] = set()
    for count in PER_CLASS:
        if count >= largest:  # all labels, which the linear probe has
            break
        draws = [per_class(train.labels, count, seed=seed) for seed in seeds]
        judged.add(int(draws[0].sum()))
        yield _few(
            row,
            f"{count} label{'s' * (count > 1)} a class",
            few_labels(train, test, draws),
            int(draws[0].sum()),
        )
    for part in SHARES:
        draws = [stratified(train.labels, part, seed=seed) for seed in seeds]
        if (
            int(draws[0].sum()) in judged
        ):  # one label a class is the least, so a small share may be what was judged above
            continue
        yield _few(
            row,
            f"{round(100 * part)} % of labels",
            few_labels(train, test, draws),
            int(draws[0].sum()),
        )


def _few(row: Row, metric: str, accuracies: list[float], labels: int) -> Score:
    return share(
        row.name,
        FEW_LABELS.version,
        metric,
        accuracies,
        len(row.test),
        over="draws",
        setting=f"{labels} labels",
    )


KNN = Protocol(
    "knn",
    "knn-v1",
    "k=20, T=0.07, cosine, bank: the training samples; interval over test samples (Wilson)",
    _knn,
    needs_classes,
    quick=True,
    rank=15,
    headline=("kNN accuracy",),
)
LINEAR = Protocol(
    "linear",
    "linear-v1",
    "logistic regression on standardised features, L2 penalty picked on 20 % of the training "
    "samples and refitted on all, "
    "mean over splits; interval over test samples (Wilson) or splits (t), the wider",
    _linear,
    needs_classes,
    quick=True,
    rank=20,
    headline=("linear accuracy",),
)
FEW_LABELS = Protocol(
    "few-labels",
    "few-labels-v3",
    "linear-v1 on 1, 5, 10 and 100 labels a class, and on 1 and 10 % of the labels, at least one "
    "of each class, each number of labels "
    "once (all of them: linear-v1), mean over draws; "
    "interval over draws (t) or test samples (Wilson), the wider",
    _few_labels,
    needs_classes,
    quick=True,
    headline=("10 % of labels", "1 label a class"),
    rank=25,
)
PROTOCOLS = (
    KNN,
    LINEAR,
    FEW_LABELS,
)
