"""The protocols of terms and sites: perfect, simple and missing answers."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from nearfar import modalities
from nearfar.data.samples import Samples, Source
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.evaluation.judge import evaluate
from nearfar.evaluation.protocol import Wanted
from nearfar.methods.graphs.protein_rpn import ProteinRPN
from nearfar.results.terms import Terms
from nearfar.rows import Graphs, Parts, Ragged
from nearfar.testing.toys import toy_encoder
from nearfar.views import plain_view


def source_of(count: int = 40) -> Source:
    """Graphs whose term 0 is there when the first residue's code is above 9."""
    toy = modalities.get("graph").toy
    spec = dataclasses.replace(
        toy, length=count, target="classes", classes=("a", "b"), extra={"above": [[0], [0, 1]]}
    )
    graphs = modalities.toy_of(spec, 2 * count, torch.Generator().manual_seed(0))
    first = graphs.nodes["residue"][graphs.sizes.cumsum(0) - graphs.sizes] > 9
    label = torch.stack([first, first & (torch.arange(2 * count) % 2 == 0)], dim=1)
    ids = [str(number) for number in range(2 * count)]
    whole = Samples(graphs, ids, label)
    index = torch.arange(2 * count)
    return Source(spec, whole.subset(index[:count]), whole.subset(index[count:]))


class Knows(ProteinRPN):
    """Says what is true of the samples that it is asked about."""

    answers: Any = None

    def predict(self, x: Graphs) -> Terms:
        site = x.nodes["site"]
        scores = self.answers.double() * 0.8 + 0.1
        scores = scores + 0 * x.nodes["x"].sum()
        return Terms(scores, self.spec.classes, (), Ragged(Parts(importance=site), x.sizes))


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals over a hundred draws take most of the time, and nothing here looks at them."""
    monkeypatch.setattr("nearfar.evaluation.protocols.results.terms._DRAWS", 5)


def judged(source: Source, method: ProteinRPN) -> dict[tuple[str, str], Any]:
    found = evaluate(
        method.eval(),
        source,
        plain_view(source.spec),
        wanted=Wanted(("terms", "localisation")),
    )
    return {(score.row, score.metric): score for score in found.scores}


def method_of(kind: type[ProteinRPN], spec: Spec) -> Any:
    torch.manual_seed(0)
    return kind(toy_encoder(spec, "nodes"), spec)


def test_truth_itself_has_the_best_scores_and_simple_answers_stand_beside_it() -> None:
    source = source_of()
    method = method_of(Knows, source.spec)
    assert source.test is not None
    method.answers = source.test.label
    scores = judged(source, method)
    assert scores["trained", "Fmax"].value == 1
    assert scores["trained", "Smin"].value == 0
    assert scores["trained", "Smin"].better == "lower"
    assert scores["trained", "AUPR, micro"].value == pytest.approx(1)
    assert scores["trained", "AUPR, macro"].value == pytest.approx(1)
    assert scores["trained", "site AUC"].value == 1
    assert scores["trained", "site precision"].value == pytest.approx(1)
    rows = {row for row, _ in scores}
    assert {"term frequencies", "composition", "residue geometry", "gradient saliency"} <= rows
    assert ("term frequencies", "site AUC") not in scores
    assert ("residue geometry", "Fmax") not in scores
    assert scores["composition", "AUPR, micro"].value < 1
    low, high = (getattr(scores["composition", "Fmax"], end) for end in ("low", "high"))
    assert low <= scores["composition", "Fmax"].value <= high


def test_a_method_is_judged_by_chain() -> None:
    source = source_of()
    method = method_of(ProteinRPN, source.spec).eval()
    scores = judged(source, method)
    assert source.test is not None
    graphs = source.test.take(torch.arange(len(source.test)))
    with torch.no_grad():
        found = method.predict(graphs)
    areas, precisions = [], []
    for row in range(len(graphs)):
        site = graphs[row : row + 1].nodes["site"]
        if 0 < site.sum() < len(site):
            value = found.residues[row : row + 1].values.importance
            areas.append(roc_auc_score(site, value))
            precisions.append(average_precision_score(site, value))
    assert scores["trained", "site AUC"].value == pytest.approx(sum(areas) / len(areas))
    expected = sum(precisions) / len(precisions)
    assert scores["trained", "site precision"].value == pytest.approx(expected)


def test_what_is_not_annotated_is_not_judged() -> None:
    """Samples without a term change no score of terms; without sites there is nothing to find."""
    source = source_of()
    method = method_of(ProteinRPN, source.spec)
    before = judged(source, method)
    assert source.test is not None
    assert source.test.label is not None
    annotated = source.test.label.any(dim=1).nonzero()[:, 0]
    fewer = dataclasses.replace(source, test=source.test.subset(annotated))
    after = judged(fewer, method)
    for metric in ("Fmax", "Smin", "AUPR, micro", "AUPR, macro"):
        assert after["trained", metric].value == pytest.approx(before["trained", metric].value)
    content = source.test.content
    content.nodes["site"].zero_()
    with pytest.raises(UserError, match="needs nodes with known sites"):
        judged(source, method)


def test_each_branch_of_an_ontology_is_judged_by_itself() -> None:
    """On the samples that have a term of it, with the scores of that branch alone."""
    source = source_of()
    extra = {"above": [[0], [1]], "branches": ["biological_process", "molecular_function"]}
    spec = dataclasses.replace(source.spec, extra=extra)
    source = dataclasses.replace(source, spec=spec)
    method = method_of(Knows, spec)
    assert source.test is not None
    assert source.test.label is not None
    wrong = source.test.label.clone()
    wrong[:, 1] = ~wrong[:, 1]
    method.answers = wrong
    scores = judged(source, method)
    assert scores["trained", "biological process Fmax"].value == 1
    assert scores["trained", "molecular function Fmax"].value == 1  # all have it, low thresholds
    assert scores["trained", "molecular function Smin"].value == 0
    counts = source.test.label.sum(dim=0).tolist()
    assert scores["trained", "biological process Fmax"].count == counts[0]
    assert scores["trained", "molecular function Fmax"].count == counts[1] < counts[0]
    assert ("trained", "Fmax") not in scores
