"""``evaluate``: one encoder on one data set, beside a random encoder and the raw input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nearfar.batch import Pair
from nearfar.errors import UserError
from nearfar.evaluation.features import Encode, Labelled, View, extract, extract_pairs, raw_features
from nearfar.evaluation.protocols import (
    PROTOCOLS,
    class_scores,
    geometry_scores,
    pair_controls,
    pair_scores,
    value_scores,
    zero_shot_chance,
    zero_shot_score,
)
from nearfar.evaluation.result import Evaluation, Score
from nearfar.evaluation.splits import held_out
from nearfar.views import make_views
from nearfar.views.wanted import WantedViews

_ALIGNED = 2048  # test samples whose two views are compared

Features = Callable[[Any, View], Tensor]


@dataclass(frozen=True)
class _Task:
    """What is judged: samples, how they are viewed, and which target the labels are."""

    source: Any
    train: Any
    test: Any
    view: View
    target: str
    device: torch.device | str


def evaluate(
    encode: Encode,
    source: Any,
    view: View,
    *,
    baselines: Mapping[str, Encode] | None = None,
    seeds: int = 3,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """Judge an encoder on a data set, beside baselines and the raw input.

    Args:
        encode: the trained encoder in evaluation mode: from a view of n samples to (n, D). For image-text pairs a method with
            ``embed_pair``, which is judged by retrieval and zero-shot too.
        source: spec, training and test samples; without test samples a fifth of the training samples is held out.
        view: from samples to what encoders take.
        baselines: further encoders by row name ("random encoder").
        seeds: validation splits, at least 1.
        device: where features are computed.

    Returns:
        Rows "trained", the baselines and "raw input" (not for texts); for pairs also "shuffled pairs" and "chance".
        Classification, regression or, without labels, geometry alone, as the data allow.

    Raises:
        UserError: if an encoder is in training mode, features are not finite, or the data cannot be split.
    """
    if seeds < 1:
        raise UserError(f"The number of seeds is {seeds}; expected at least 1.")
    train, test = held_out(source)
    target, notes = _target(source, train, test)
    task = _Task(source, train, test, view, target, device)
    encoders = {row: _on(one, device) for row, one in {"trained": encode, **(baselines or {})}.items()}
    scores = [s for row, one in encoders.items() if hasattr(one, "embed_pair") for s in _pairs(row, one, task)]
    for row, features in _rows(encoders, task).items():
        scores += _row_scores(row, features, task, seeds)
    used = {s.protocol: PROTOCOLS[s.protocol] for s in scores}
    return Evaluation(source.spec.name, tuple(scores), used, tuple(notes))


def _target(source: Any, train: Any, test: Any) -> tuple[str, list[str]]:
    """The target that the labels allow, and what the reader must know of them."""
    notes = [f"Probes were fitted on {len(train):,} training samples and judged on {len(test):,} test samples."]
    if source.test is None or not len(source.test):
        notes.append("The data have no test set: a fifth of the training samples was held out, which the encoder has seen.")
    target = source.spec.target
    if target == "none" or train.label is None or test.label is None:
        return "none", [*notes, "The data have no labels: only what needs none was measured."]
    if target != "class":
        return target, notes
    seen, classes = len(torch.unique(train.label)), len(source.spec.classes)
    if seen < 2:
        return "none", [
            *notes,
            "The training samples are all of one class, so their labels say nothing: only what needs none was measured.",
        ]
    if seen < classes:
        notes.append(f"Only {seen} of the {classes} classes have training samples; test samples of the others count as wrong.")
    return target, notes


def _on(encode: Encode, device: torch.device | str) -> Encode:
    return encode.to(device) if isinstance(encode, nn.Module) else encode


def _rows(encoders: Mapping[str, Any], task: _Task) -> dict[str, Features]:
    """For each row, how it turns samples under a view into features."""

    def encoded(encode: Encode) -> Features:
        return lambda samples, view: extract(encode, samples, view, device=task.device)

    # A method's call is its training step; its features come from ``encode``.
    rows = {row: encoded(one.encode if hasattr(one, "embed_pair") else one) for row, one in encoders.items()}
    if isinstance(_first_part(task.view(task.train.take(torch.arange(1)))), Tensor):
        rows["raw input"] = lambda samples, view: raw_features(samples, lambda s: _first_part(view(s)), device=task.device)
    return rows


def _first_part(view: Any) -> Any:
    return view.first if isinstance(view, Pair) else view


def _row_scores(row: str, features: Features, task: _Task, seeds: int) -> Iterator[Score]:
    train, test, labelled = features(task.train, task.view), features(task.test, task.view), None
    if task.target == "class":
        classes = len(task.source.spec.classes)
        labelled = Labelled(test, task.test.label, classes)
        yield from class_scores(row, Labelled(train, task.train.label, classes), labelled, seeds=seeds)
    elif task.target == "value":
        yield from value_scores(row, train, task.train.label, test, task.test.label, seeds=seeds)
    if len(test) > 1:
        yield from geometry_scores(row, test, labelled=labelled, views=_two_views(features, task))


def _two_views(features: Features, task: _Task) -> tuple[Tensor, Tensor]:
    """Features of two contrastive views of the same test samples, the same views for every row."""
    samples = task.test.subset(torch.arange(min(_ALIGNED, len(task.test))))
    views = make_views(task.source.spec, WantedViews(whole=2, style="contrastive"))
    first, second = (torch.Generator().manual_seed(seed) for seed in (0, 1))
    return features(samples, lambda s: views(s, first)[0]), features(samples, lambda s: views(s, second)[1])


def _pairs(row: str, method: Any, task: _Task) -> Iterator[Score]:
    """Retrieval and zero-shot of a method with a space for both parts, and its controls if it is the trained one."""

    def both(pair: Pair) -> tuple[Tensor, Tensor]:
        return method.embed_pair(pair.first), method.embed_pair(pair.second)

    if method.training:
        raise UserError(f"{type(method).__name__} is in training mode; call its eval() before evaluating.")
    first, second = extract_pairs(both, task.test, task.view, device=task.device)
    yield from pair_scores(row, first, second)
    if row == "trained":
        yield from pair_controls(first, second)
    if task.target == "class":
        spec = task.source.spec
        names = task.source.tokenizer.encode(list(spec.classes), spec.context).to(task.device)
        with torch.no_grad():
            texts = method.embed_pair(names).float()
        yield zero_shot_score(row, Labelled(first, task.test.label, len(spec.classes)), texts)
        if row == "trained":
            yield zero_shot_chance(task.test.label)
