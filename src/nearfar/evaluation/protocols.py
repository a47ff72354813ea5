"""The protocols, by versioned name, and ``evaluate``, which runs those that the data allow.

A protocol's settings never change under its name. Whatever a probe has to choose, it chooses on training data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nearfar.errors import UserError
from nearfar.evaluation.features import Encode, Labelled, View, extract, extract_pairs, raw_features
from nearfar.evaluation.few_labels import few_labels
from nearfar.evaluation.geometry import effective_rank, relative_std, tolerance, uniformity
from nearfar.evaluation.intervals import mean_interval, wilson
from nearfar.evaluation.knn import knn_accuracy
from nearfar.evaluation.linear import linear_probes, ridge_probes
from nearfar.evaluation.pairs import ranks, recall, shuffled, zero_shot
from nearfar.evaluation.result import Evaluation, Score, score

PROTOCOLS = {
    "knn-v1": "k=20, T=0.07, cosine, bank: training samples; interval over test samples",
    "linear-v1": "logistic regression on standardised features, penalty picked on 20 % of the training samples; interval over test samples",
    "few-labels-v1": "linear-v1 fitted on 1 % or 10 % of the labels, at least one of each class; interval over draws",
    "ridge-v1": "ridge regression on standardised features, penalty picked on 20 % of the training samples; interval over splits",
    "geometry-v1": "of the test samples' features: uniformity (t=2), tolerance, effective rank, std per dimension relative to 1/sqrt(D)",
    "pairs-v1": "cosine retrieval among all test pairs, ties against the query, zero-shot by class names; interval over test samples",
}


@dataclass(frozen=True)
class _Split:
    train: Any
    test: Any


def evaluate(
    encode: Encode, source: Any, view: View, *, baselines: Mapping[str, Encode] | None = None, seeds: int = 3, device: torch.device | str = "cpu"
) -> Evaluation:
    """Judge an encoder on a data set, beside baselines and the raw input.

    Args:
        encode: the trained encoder in evaluation mode; of pairs, a method with ``embed_pair``.
        source: spec, training and test samples; without test samples a fifth of the training samples is held out.
        view: from samples to what encoders take.
        baselines: further encoders by row name.
        seeds: validation splits and draws of few labels, at least 1.
        device: where features are computed.

    Returns:
        Classification, regression, retrieval or, without labels, geometry alone, as the data allow.

    Raises:
        UserError: if features are not finite or the data cannot be split.
    """
    if seeds < 1:
        raise UserError(f"The number of seeds is {seeds}; expected at least 1.")
    split, notes = _split(source)
    if source.spec.modality == "image-text" and hasattr(encode, "embed_pair"):
        scores = list(_pair_scores(encode, source, split, view, device))
        return _evaluation(source, scores, notes)
    scores, target = [], source.spec.target
    if target == "class" and len(source.spec.classes) < 2:
        notes.append("There is one class only, so its labels say nothing; only the geometry was measured.")
        target = "none"
    elif target == "none":
        notes.append("The data have no labels; only the geometry was measured.")
    for row, features in _rows(encode, baselines or {}, split, view, device):
        if target == "class":
            train, test = (Labelled(f, s.label, len(source.spec.classes)) for f, s in zip(features, (split.train, split.test), strict=True))
            scores += _class_scores(row, train, test, seeds)
        elif target == "value":
            scores += _value_scores(row, features, split, seeds)
        scores += _geometry(row, features[1], split.test.label if target == "class" else None, len(source.spec.classes))
    return _evaluation(source, scores, notes)


def _evaluation(source: Any, scores: list[Score], notes: list[str]) -> Evaluation:
    used = {s.protocol: PROTOCOLS[s.protocol] for s in scores}
    return Evaluation(source.spec.name, tuple(scores), used, tuple(notes))


def _split(source: Any) -> tuple[_Split, list[str]]:
    if source.test is not None and len(source.test):
        return _Split(source.train, source.test), []
    if len(source.train) < 5:
        raise UserError(f"{source.spec.name} has {len(source.train)} samples and no test set; an evaluation needs at least 5.")
    order = torch.randperm(len(source.train), generator=torch.Generator().manual_seed(0))
    cut = len(order) // 5
    test, train = source.train.subset(order[:cut].sort().values), source.train.subset(order[cut:].sort().values)
    return _Split(train, test), ["The data have no test set: a fifth of the training samples was held out, which the encoder has seen."]


def _rows(
    encode: Encode, baselines: Mapping[str, Encode], split: _Split, view: View, device: torch.device | str
) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """Each row's name with the features of training and test samples."""
    for row, one in {"trained": encode, **baselines}.items():
        module = one.to(device) if isinstance(one, nn.Module) else one
        yield row, tuple(extract(module, samples, view, device=device) for samples in (split.train, split.test))  # type: ignore[misc]
    if isinstance(view(split.train.take(torch.arange(1))), Tensor):
        yield "raw input", tuple(raw_features(samples, view, device=device) for samples in (split.train, split.test))  # type: ignore[misc]


def _class_scores(row: str, train: Labelled, test: Labelled, seeds: int) -> Iterator[Score]:
    yield score(row, "knn-v1", "kNN accuracy", wilson(knn_accuracy(train, test), len(test)), "test samples")
    accuracies = [probe.accuracy(test) for probe in linear_probes(train, seeds=range(seeds))]
    mean = sum(accuracies) / seeds
    yield score(row, "linear-v1", "linear accuracy", wilson(mean, len(test)), "test samples")
    for share, name in ((0.01, "1 % labels"), (0.1, "10 % labels")):
        yield score(row, "few-labels-v1", f"{name} accuracy", mean_interval(few_labels(train, test, share=share, draws=max(seeds, 2))), "draws")


def _value_scores(row: str, features: tuple[Tensor, Tensor], split: _Split, seeds: int) -> Iterator[Score]:
    train, test = (s.label.to(f) for s, f in zip((split.train, split.test), features, strict=True))
    errors, explained = [], []
    for probe in ridge_probes(features[0], train, seeds=range(seeds)):
        residual = probe.model(features[1])[:, 0] - test
        errors.append(float(residual.abs().mean()))
        explained.append(1 - float(residual.square().sum() / (test - test.mean()).square().sum()))
    yield score(row, "ridge-v1", "mean absolute error", mean_interval(errors), "splits")
    yield score(row, "ridge-v1", "R2", mean_interval(explained), "splits")


def _geometry(row: str, features: Tensor, label: Tensor | None, classes: int) -> Iterator[Score]:
    if len(features) > 1:
        yield score(row, "geometry-v1", "uniformity", uniformity(features))
    if label is not None and int(label.bincount().max()) > 1:
        yield score(row, "geometry-v1", "tolerance", tolerance(Labelled(features, label, classes)))
    yield score(row, "geometry-v1", "effective rank", effective_rank(features))
    yield score(row, "geometry-v1", "std per dimension", relative_std(features))


def _pair_scores(method: Any, source: Any, split: _Split, view: View, device: torch.device | str) -> Iterator[Score]:
    method = method.to(device)

    def both(pair: Any) -> tuple[Tensor, Tensor]:
        return method.embed_pair(pair.first), method.embed_pair(pair.second)

    if method.training:
        raise UserError(f"{type(method).__name__} is in training mode; call its eval() before evaluating.")
    first, second = extract_pairs(both, split.test, view, device=device)
    count = len(first)
    for row, partner in (("trained", second), ("shuffled pairs", shuffled(second))):
        for name, rank in (("image to text", ranks(first, partner)), ("text to image", ranks(partner, first))):
            for k in (1, 5, 10):
                yield score(row, "pairs-v1", f"{name} recall@{k}", wilson(recall(rank, k), count), "test samples")
            yield score(row, "pairs-v1", f"{name} mean rank", float(rank.float().mean()))
    for k in (1, 5, 10):
        for name in ("image to text", "text to image"):
            yield score("chance", "pairs-v1", f"{name} recall@{k}", min(1.0, k / count))
    if source.spec.target == "class" and len(source.spec.classes) > 1:
        names = source.tokenizer.encode(list(source.spec.classes)).to(device)
        labels = split.test.label
        with torch.no_grad():
            found = zero_shot(first, method.embed_pair(names), labels)
        yield score("trained", "pairs-v1", "zero-shot accuracy", wilson(found, count), "test samples")
        common = float(labels.bincount().max()) / count
        yield score("chance", "pairs-v1", "zero-shot accuracy", common)
