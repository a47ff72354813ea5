"""Terms of an ontology: golden values, what is best and worst, the OBO reader, errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nearfar.data.content.proteins.ontology import read_ontology
from nearfar.errors import UserError
from nearfar.evaluation.measures.terms import (
    information_content,
    propagated,
    term_areas,
    term_fmax,
    term_smin,
)
from tests.losses.cases import close, named
from tests.references import ReferenceCase

OBO = """format-version: 1.2

[Term]
id: GO:1
name: root

[Term]
id: GO:2
name: binding
is_a: GO:1 ! root

[Term]
id: GO:3
name: ion binding
is_a: GO:2 ! binding

[Term]
id: GO:4
name: metal ion binding
is_a: GO:3 ! ion binding
relationship: part_of GO:5 ! elsewhere

[Term]
id: GO:5
name: elsewhere
is_a: GO:1

[Term]
id: GO:6
name: gone
is_obsolete: true
"""


def closure_of(edges: Tensor, terms: int) -> Tensor:
    found = torch.eye(terms, dtype=torch.bool)
    for _ in range(terms):
        for child, parent in edges.tolist():
            if parent >= 0:
                found[:, parent] |= found[:, child]
    return found


@pytest.mark.parametrize("name", named("d-proteinrpn-gometrics-*"))
def test_reference(golden: Callable[[str], ReferenceCase], name: str) -> None:
    case = golden(name)
    truth = case["in_Y_true"]
    ancestors = closure_of(case["in_edges"], truth.shape[1])
    scores = propagated(case["in_Y_pred"], ancestors)
    close(scores, case["out_Y_prop"])
    assert term_fmax(truth, scores, ancestors)[0] == pytest.approx(case["out_fmax"].item(), 1e-8)
    macro, micro = term_areas(truth, scores)
    assert macro == pytest.approx(case["out_macro_aupr"].item(), 1e-8)
    assert micro == pytest.approx(case["out_micro_aupr"].item(), 1e-8)
    content = information_content(case["in_term_counts"], int(case["hp_total"]))
    assert term_smin(truth, scores, content) == pytest.approx(case["out_smin"].item(), 1e-8)


def test_the_truth_itself_is_perfect_and_its_opposite_is_worst() -> None:
    truth = torch.tensor([[1.0, 0, 1], [0, 1, 1]])
    assert term_fmax(truth, truth)[0] == 1
    assert term_areas(truth, truth) == (1, 1)
    assert term_smin(truth, truth, torch.ones(3)) == 0
    assert term_fmax(truth, 1 - truth)[0] == 0
    # The best of the opposite is its lowest threshold, at which every term is predicted.
    assert term_smin(truth, 1 - truth, torch.ones(3)) == pytest.approx(1 / 3)


def test_an_ancestor_that_is_not_listed_counts_for_fmax() -> None:
    """Two sisters share a parent, so that one in the other's place is half right."""
    ancestors = torch.tensor([[True, False, True], [False, True, True]])
    truth, scores = torch.tensor([[1.0, 0]]), torch.tensor([[0.0, 0.9]])
    assert term_fmax(truth, scores)[0] == 0
    assert term_fmax(truth, scores, ancestors)[0] == pytest.approx(0.5)


def test_an_ontology_is_read_with_its_ancestors(tmp_path: Path) -> None:
    path = tmp_path / "small.obo"
    path.write_text(OBO)
    ontology = read_ontology(path)
    assert ontology.roots == ("GO:1",)
    assert ontology.names["GO:3"] == "ion binding"
    table, columns = ontology.ancestors(["GO:4", "GO:2"])
    assert columns == ("GO:4", "GO:2", "GO:3")
    assert table.tolist() == [[True, True, True], [False, True, False]]
    with pytest.raises(UserError, match=r"(?i)unknown"):
        ontology.ancestors(["GO:6"])
    with pytest.raises(UserError, match="root"):
        ontology.ancestors(["GO:1"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read|holds no terms"),
        ("\x00\x01 nothing", "cannot be read|holds no terms"),
        ("[Term]\nid: A\nname: a\nis_a: B\n\n[Term]\nid: B\nname: b\nis_a: A\n", "circle"),
    ],
)
def test_a_broken_ontology_gets_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "broken.obo"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        read_ontology(path)
    with pytest.raises(UserError, match="no ontology at"):
        read_ontology(tmp_path / "missing.obo")


def test_the_real_ontology_closes_the_terms_of_real_proteins(
    shared_data: Callable[[str], Path],
) -> None:
    import pyarrow.parquet as parquet

    ontology = read_ontology(shared_data("proteins_go.obo"))
    assert ontology.roots == ("GO:0003674",)
    held = parquet.read_table(shared_data("proteins.parquet"), columns=["go_terms"])
    for terms in held["go_terms"].to_pylist():
        assert set().union(set(), *(ontology.above(term) for term in terms)) == set(terms)


def test_wrong_inputs_get_one_sentence() -> None:
    with pytest.raises(UserError, match="one shape"):
        term_fmax(torch.zeros(2, 3), torch.zeros(2, 2))
    with pytest.raises(UserError, match="NaN"):
        term_areas(torch.ones(1, 1), torch.full((1, 1), torch.nan))
    with pytest.raises(UserError, match="nothing to judge"):
        term_areas(torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(UserError, match="agree in C"):
        propagated(torch.zeros(2, 3), torch.ones(2, 2))
    with pytest.raises(UserError, match="counted 5 times"):
        information_content(torch.tensor([5]), 4)
    with pytest.raises(UserError, match="information content"):
        term_smin(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2))
