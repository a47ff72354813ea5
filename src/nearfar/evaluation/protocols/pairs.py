"""Pairs of two modalities in one space: retrieval both ways, zero-shot classification, and what
chance reaches.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from nearfar.evaluation.features import Labelled, extract_pairs
from nearfar.evaluation.measures.pairs import modality_gap, partner_ranks, recall_at, zero_shot
from nearfar.evaluation.protocol import Protocol, Row, Task, share
from nearfar.evaluation.result import Score
from nearfar.methods.method import Method
from nearfar.rows import Parts


def _pairs(row: Row) -> Iterator[Score]:
    """Retrieval and zero-shot of a method with a space for both parts, and its controls if it is
    the trained one.
    """
    method = row.encoder
    task = row.task
    if not isinstance(method, Method) or not method.has_shared_space:
        return
    spec = task.source.spec
    first, second = list(spec.parts)[:2]

    def parts(pair: Parts) -> tuple[Tensor, Tensor]:
        return method.embed_part(first, pair[first]), method.embed_part(second, pair[second])

    both = extract_pairs(parts, task.test, task.view, device=task.wanted.device)
    yield from _retrieval(row.name, (first, second), *both)
    if row.name == "trained":
        yield from _controls((first, second), *both)
    texts = spec.part_name("text")
    if task.target == "class" and texts == second:
        context = spec.parts[texts].context
        names = task.source.tokenizer.encode(list(spec.classes), context).to(task.wanted.device)
        with torch.no_grad():
            embedded = method.embed_part(texts, names).float()
        right = (
            zero_shot(both[0], embedded) == Labelled(both[0], task.test.label, task.classes).labels
        )
        yield share(
            row.name,
            PAIRS.version,
            "zero-shot accuracy",
            [float(right.double().mean())],
            len(right),
        )
        if row.name == "trained":
            commonest = int(task.test.label.bincount().max()) / len(task.test)
            yield Score("chance", PAIRS.version, "zero-shot accuracy", commonest, unit="%")


def _retrieval(row: str, names: tuple[str, str], first: Tensor, second: Tensor) -> Iterator[Score]:
    """Retrieval both ways between embeddings (N, D) of both parts, and the distance of their
    means.
    """
    ways = (
        (names, partner_ranks(first, second)),
        (names[::-1], partner_ranks(second, first)),
    )
    for (query, target), ranks in ways:
        for k in (1, 5, 10):
            yield share(
                row,
                PAIRS.version,
                f"{query} to {target} recall@{k}",
                [recall_at(ranks, k)],
                len(first),
            )
        yield Score(
            row, PAIRS.version, f"{query} to {target} mean rank", float(ranks.double().mean())
        )
    yield Score(row, PAIRS.version, "modality gap", modality_gap(first, second))


def _controls(names: tuple[str, str], first: Tensor, second: Tensor) -> Iterator[Score]:
    """The same with partners in random order, which must come out at chance; and chance itself, k /
    N.
    """
    order = torch.randperm(len(first), generator=torch.Generator().manual_seed(0)).to(second.device)
    scores = [
        s
        for s in _retrieval("shuffled pairs", names, first, second[order])
        if s.metric != "modality gap"
    ]
    yield from scores
    for score in scores:
        k = score.metric.partition("recall@")[2]
        value = min(1.0, int(k) / len(first)) if k else (len(first) + 1) / 2
        yield Score("chance", PAIRS.version, score.metric, value, unit=score.unit)


def _needs_pairs(task: Task) -> str | None:
    return None if len(task.source.spec.parts) == 2 else "pairs, such as images with texts"


PAIRS = Protocol(
    "pairs",
    "pairs-v1",
    "retrieval among all test pairs by cosine, ties count against the query; zero-shot by the "
    "classes' names; "
    "interval over test samples (Wilson)",
    _pairs,
    _needs_pairs,
    quick=True,
    rank=5,
    headline=("* recall@1", "zero-shot accuracy"),
)
PROTOCOLS = (PAIRS,)
