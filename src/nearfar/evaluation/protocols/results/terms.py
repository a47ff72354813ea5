"""Terms and the residues behind them: what a method says of proteins, beside simple answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor
from torch.nn.functional import one_hot

from nearfar.evaluation.measures.terms import (
    information_content,
    propagated,
    term_areas,
    term_fmax,
    term_smin,
)
from nearfar.evaluation.protocol import Predict, Protocol, Row, Task, averaged
from nearfar.evaluation.result import Score
from nearfar.results.terms import Terms
from nearfar.rows import Graphs, Parts, Ragged

_RESIDUES = 21
_DRAWS = 100
"""Draws of test proteins for an interval."""


def _needs_terms(task: Task) -> str | None:
    return None if task.target == "classes" else "several classes a sample"


def _needs_sites(task: Task) -> str | None:
    content = task.test.take(torch.arange(len(task.test)))
    known = isinstance(content, Graphs) and "site" in content.nodes
    return None if known and bool(content.nodes["site"].any()) else "nodes with known sites"


def _terms(row: Row) -> Iterator[Score]:
    found: Terms = row.predictions
    if not found.scores.shape[1]:
        return
    truth = row.task.test.label.cpu().bool()
    scores = propagated(found.scores.cpu().double(), _ancestors(row.task, truth.shape[1]))
    train = row.task.train.label.cpu().bool()
    for branch, terms in _branches(row.task, truth.shape[1]).items():
        yield from _of_branch(row, branch, truth[:, terms], scores[:, terms], train[:, terms])


def _of_branch(
    row: Row, branch: str, truth: Tensor, scores: Tensor, train: Tensor
) -> Iterator[Score]:
    """Scores of the terms of one branch, on the samples that have one of them."""
    annotated = truth.any(dim=1)
    if not bool(annotated.any()):
        return
    truth = truth[annotated]
    scores = scores[annotated]
    train = train[train.any(dim=1)]
    content = information_content(train.sum(dim=0), max(len(train), 1))
    measures: dict[str, tuple[str, Callable[[Tensor, Tensor], float]]] = {
        "Fmax": ("higher", lambda real, given: term_fmax(real, given)[0]),
        "Smin": ("lower", lambda real, given: term_smin(real, given, content)),
        "AUPR, micro": ("higher", lambda real, given: term_areas(real, given)[1]),
        "AUPR, macro": ("higher", lambda real, given: term_areas(real, given)[0]),
    }
    for metric, (better, measure) in measures.items():
        low, high = _drawn(measure, truth, scores)
        value = measure(truth, scores)
        yield Score(
            row.name,
            TERMS.version,
            f"{branch} {metric}".strip(),
            value,
            low,
            high,
            "test samples",
            len(truth),
            better=better,  # type: ignore[arg-type]
        )


def _branches(task: Task, terms: int) -> dict[str, list[int]]:
    """The terms of each branch of the ontology; without several, all terms under ""."""
    held = task.source.spec.extra.get("branches", ())
    names = sorted(set(held))
    if len(names) < 2:
        return {"": list(range(terms))}
    return {
        name.replace("_", " ") or "no branch": [
            place for place, one in enumerate(held) if one == name
        ]
        for name in names
    }


def _drawn(
    measure: Callable[[Tensor, Tensor], float], truth: Tensor, scores: Tensor
) -> tuple[float, float]:
    """The middle 95 % of a measure over draws of proteins with replacement."""
    generator = torch.Generator().manual_seed(0)
    values = []
    for _ in range(_DRAWS):
        chosen = torch.randint(len(truth), (len(truth),), generator=generator)
        values.append(measure(truth[chosen], scores[chosen]))
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _ancestors(task: Task, terms: int) -> Tensor:
    """(C, C) bool, which terms follow from each."""
    table = torch.eye(terms, dtype=torch.bool)
    for term, above in enumerate(task.source.spec.extra.get("above", ())):
        table[term, above] = True
    return table


def _sites(row: Row) -> Iterator[Score]:
    found: Terms = row.predictions
    if found.residues is None:
        return
    areas, precisions = site_areas(found, _graphs(row.task.test))
    over = "test samples"
    yield averaged(row.name, SITES.version, "site AUC", areas, over, unit="")
    yield averaged(row.name, SITES.version, "site precision", precisions, over, unit="")


def site_areas(found: Terms, graphs: Graphs) -> tuple[list[float], list[float]]:
    """ROC-AUC and average precision of the importance of residues, by chain with a known site.

    Args:
        found: What is said of the chains, residues among it.
        graphs: The chains, with the "site" of their nodes.
    """
    assert found.residues is not None
    areas: list[float] = []
    precisions: list[float] = []
    sizes = graphs.sizes.tolist()
    importance = torch.split(found.residues.values.importance.cpu().double(), sizes)
    for site, value in zip(torch.split(graphs.nodes["site"], sizes), importance, strict=True):
        if 0 < int(site.sum()) < len(site):
            areas.append(float(roc_auc_score(site.numpy(), value.numpy())))
            precisions.append(float(average_precision_score(site.numpy(), value.numpy())))
    return areas, precisions


def _simple_terms(task: Task) -> Mapping[str, Predict]:
    """How often each term occurs, and what follows from which residues there are."""
    label = task.train.label.cpu().bool()
    annotated = label.any(dim=1)
    names = task.source.spec.classes
    frequency = label[annotated].double().mean(dim=0)
    train = _graphs(task.train)
    answers = _fitted_terms(_composition(train)[annotated].numpy(), label[annotated].numpy())

    def frequencies(x: Any) -> Terms:
        return Terms(frequency.expand(len(x), -1), names)

    def composition(x: Any) -> Terms:
        given = _composition(x.to("cpu")).numpy()
        each = [answer(given) for answer in answers]
        return Terms(torch.from_numpy(np.stack(each, axis=1)), names)

    return {"term frequencies": frequencies, "composition": composition}


Answer = Callable[[NDArray[Any]], NDArray[Any]]


def _fitted_terms(x: NDArray[Any], label: NDArray[np.bool_]) -> list[Answer]:
    """A probability for each term; the share of a term that all or none has."""
    answers: list[Answer] = []
    for term in range(label.shape[1]):
        if label[:, term].all() or not label[:, term].any():
            share = float(label[:, term].mean())
            answers.append(partial(_constant, share))
            continue
        model = LogisticRegression(max_iter=1000).fit(x, label[:, term])
        answers.append(partial(_probability, model))
    return answers


def _constant(share: float, given: NDArray[Any]) -> NDArray[Any]:
    return np.full(len(given), share)


def _probability(model: LogisticRegression, given: NDArray[Any]) -> NDArray[Any]:
    found: NDArray[Any] = model.predict_proba(given)[:, 1]
    return found


def _composition(graphs: Graphs) -> Tensor:
    """(N, 21) ten times the share of each kind of residue."""
    kinds = one_hot(graphs.nodes["residue"], _RESIDUES).double()
    counts = kinds.new_zeros(len(graphs), _RESIDUES).index_add(0, graphs.graph, kinds)
    return 10 * counts / graphs.sizes[:, None]


def _simple_sites(task: Task) -> Mapping[str, Predict]:
    """What a residue's kind, packing and neighbours say, and what the terms depend on."""
    train = _graphs(task.train)
    site = train.nodes["site"].bool()
    known = site.new_zeros(len(train), dtype=torch.int64).index_add(0, train.graph, site.long()) > 0
    rows = known[train.graph]
    found: dict[str, Predict] = {}
    if bool(site[rows].any()) and not bool(site[rows].all()):
        model = LogisticRegression(max_iter=1000).fit(
            _geometry(train)[rows].numpy(), site[rows].numpy()
        )

        def geometry(x: Any) -> Terms:
            value = model.predict_proba(_geometry(x.to("cpu")).numpy())[:, 1]
            return _only_residues(x, torch.from_numpy(value))

        found["residue geometry"] = geometry
    method = task.method
    if method is not None:

        def saliency(x: Any) -> Terms:
            return _only_residues(x, _slope(method.predict, x))

        found["gradient saliency"] = saliency
    return found


def _geometry(graphs: Graphs) -> Tensor:
    """(M, 43) a residue's kind, how many others are near, and of which kinds."""
    kinds = one_hot(graphs.nodes["residue"], _RESIDUES).double()
    sender, receiver = graphs.edges[:, graphs.edges[0] != graphs.edges[1]]
    heard = torch.zeros_like(kinds).index_add(0, receiver, kinds[sender])
    near = heard.sum(dim=1, keepdim=True)
    return torch.cat([kinds, near / 20, heard / near.clamp(min=1)], dim=1)


def _slope(predict: Callable[[Any], Any], graphs: Graphs) -> Tensor:
    """(M,) length of the gradient of all terms' scores times the input."""
    with torch.enable_grad():
        x = graphs.nodes["x"].detach().requires_grad_()
        scores = predict(graphs.with_nodes(x=x)).scores
        (slope,) = torch.autograd.grad(scores.sum(), x)
    length: Tensor = (slope * x.detach()).norm(dim=1)
    return length


def _only_residues(graphs: Graphs, importance: Tensor) -> Terms:
    values = Parts(importance=importance.to(graphs.sizes.device))
    return Terms(
        torch.zeros(len(graphs), 0, device=graphs.sizes.device),
        (),
        (),
        Ragged(values, graphs.sizes),
    )


def _graphs(samples: Any) -> Graphs:
    """All samples at once, on the CPU."""
    found: Graphs = samples.take(torch.arange(len(samples))).to("cpu")
    return found


TERMS = Protocol(
    "terms",
    "terms-v1",
    "scores of terms, closed under the ontology, on the annotated test samples: Fmax and area "
    "under precision and recall as in CAFA, Smin with the information content of the training "
    "samples, normalised; intervals over draws of test samples; each branch of the ontology "
    "by itself",
    _terms,
    _needs_terms,
    quick=True,
    judges=Terms,
    baselines=_simple_terms,
    headline=("Fmax",),
    beats=("term frequencies", "composition"),
    rank=4,
)
SITES = Protocol(
    "localisation",
    "localisation-v1",
    "how well the importance of residues finds those of the known site, by test chain with a site: "
    "ROC-AUC and average precision, means over chains with t-intervals; beside the gradient of the "
    "same method's scores times the input, and a logistic regression on a residue's kind, packing "
    "and neighbours",
    _sites,
    _needs_sites,
    quick=True,
    judges=Terms,
    baselines=_simple_sites,
    headline=("site AUC",),
    beats=("residue geometry",),
    rank=5,
)
PROTOCOLS = (TERMS, SITES)
