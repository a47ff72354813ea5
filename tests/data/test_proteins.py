"""Protein chains from tables and structure files: terms, ontologies, sites, features, errors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from nearfar.data import load
from nearfar.data.content.proteins.chains import features_beside
from nearfar.data.content.proteins.protein_graphs import ENCODED
from nearfar.errors import UserError
from nearfar.rows import Graphs

OBO = """format-version: 1.2

[Term]
id: T:0
name: root
namespace: function

[Term]
id: T:1
name: binding
namespace: function
is_a: T:0

[Term]
id: T:2
name: metal binding
namespace: function
is_a: T:1
"""

ATOM = "ATOM  {0:5d}  CA  GLY A{0:4d}    {1:8.3f}{2:8.3f}{3:8.3f}  1.00  0.00           C"


def table_at(path: Path, chains: int = 6, **changed: Any) -> Path:
    """A table of chains of 5 residues, half of them with the narrower term."""
    places = np.random.default_rng(0).normal(scale=4, size=(chains, 15)).astype(np.float32)
    columns: Mapping[str, Any] = {
        "id": [f"{number}_A" for number in range(chains)],
        "sequence": ["ACDEX"] * chains,
        "ca": places.tolist(),
        "centroid": (places + 1).tolist(),
        "secondary": ["HH-EE"] * chains,
        "site": [[1, 0, 0, 0, 1 if number % 2 else 0] for number in range(chains)],
        "go_terms": [["T:2"] if number % 2 else [] for number in range(chains)],
        "split": ["train", "train", "train", "train", "test", "test"][:chains],
        **changed,
    }
    pq.write_table(pa.table({name: one for name, one in columns.items() if one is not None}), path)
    return path


def structure_at(path: Path, count: int) -> Path:
    lines = [ATOM.format(number + 1, 3.8 * number, 0.0, 0.0) for number in range(count)]
    path.write_text("\n".join([*lines, "END", ""]))
    return path


def test_a_table_gives_graphs_with_terms_closed_under_the_ontology(tmp_path: Path) -> None:
    (tmp_path / "any.obo").write_text(OBO)
    source = load(table_at(tmp_path / "chains.parquet"))
    assert (source.spec.modality, source.spec.target) == ("graph", "classes")
    assert source.spec.classes == ("T:1", "T:2")
    assert source.spec.extra["above"] == [[0], [0, 1]]
    assert source.spec.extra["term names"] == ["binding", "metal binding"]
    assert source.train.label is not None
    assert source.train.label.tolist() == [[False] * 2, [True] * 2] * 2
    graphs = source.train.take(torch.tensor([1]))
    assert isinstance(graphs, Graphs)
    assert graphs.nodes["site"].tolist() == [1, 0, 0, 0, 1]
    assert graphs.nodes["x"].shape == (5, ENCODED)
    assert graphs.nodes["residue"].tolist() == [0, 4, 3, 6, 20]
    assert graphs.nodes["number"][:, 0].tolist() == [1, 2, 3, 4, 5]
    assert source.spec.nodes["x"] == ENCODED
    assert "2 classes" in source.summary()[1]
    assert any("kind, physico-chemical numbers" in note for note in source.notes)


def test_rare_terms_are_left_out_and_told(tmp_path: Path) -> None:
    held = [["a", "b"] if number < 3 else ["a"] for number in range(24)]
    path = table_at(
        tmp_path / "many.parquet", 24, go_terms=held, split=["train"] * 22 + ["test"] * 2
    )
    source = load(path)
    assert source.spec.classes == ("a",)
    assert any("1 of 2 terms are left out" in note for note in source.notes)
    assert any("No .obo file lies beside many.parquet" in note for note in source.notes)


def test_features_beside_the_table_take_the_place_of_the_encoding(tmp_path: Path) -> None:
    path = table_at(tmp_path / "chains.parquet")
    folder = tmp_path / "chains_features"
    folder.mkdir()
    for number in range(6):
        np.save(folder / f"{number}_A.npy", np.full((5, 7), number, np.float32))
    source = load(path)
    assert source.spec.nodes["x"] == 7
    assert any("features of 7 numbers" in note for note in source.notes)
    assert features_beside(path) == folder
    (folder / "3_A.npy").unlink()
    with pytest.raises(UserError, match="There are no features of 3_A"):
        load(path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ca": [[0.0] * 12] * 6}, "ca of 0_A holds 12 numbers for 5 residues; expected 15"),
        ({"ca": [[float("inf")] * 15] * 6}, "holds infinity"),
        ({"sequence": [""] * 6}, "has 0 residues"),
        ({"secondary": ["H"] * 6}, "has 1 letters for 5 residues"),
        ({"site": [[1, 2, 0, 0, 0]] * 6}, "site of 0_A is no list of 5 zeros and ones"),
        ({"site": [[1]] * 6}, "site of 0_A is no list of 5 zeros and ones"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        load(table_at(tmp_path / "chains.parquet", **changed))


def test_terms_of_another_ontology_and_several_ontologies_are_refused(tmp_path: Path) -> None:
    path = table_at(tmp_path / "chains.parquet", go_terms=[["GO:1"]] * 6)
    (tmp_path / "one.obo").write_text(OBO)
    with pytest.raises(UserError, match=r"1 terms of the chains, such as GO:1, are not in one"):
        load(path)
    (tmp_path / "two.obo").write_text(OBO)
    with pytest.raises(UserError, match="several ontologies"):
        load(path)


def test_structure_files_give_a_sample_a_chain(tmp_path: Path) -> None:
    pytest.importorskip("biotite")
    alone = load(structure_at(tmp_path / "one.pdb", 6), split=False)
    assert alone.train.ids == ["one_A"]
    assert alone.train.content.sizes.tolist() == [6]
    (tmp_path / "below").mkdir()
    structure_at(tmp_path / "below" / "two.pdb", 4)
    (tmp_path / "broken.pdb").write_text("nothing")
    source = load(tmp_path, split=False)
    assert sorted(source.train.ids) == ["below/two_A", "one_A"]
    assert any("broken.pdb" in note for note in source.notes)
    with pytest.raises(UserError, match="broken"):
        load(tmp_path, split=False, strict=True)
    with pytest.raises(UserError, match="broken"):
        load(tmp_path / "broken.pdb", split=False)


def test_a_run_knows_its_chains_again(tmp_path: Path) -> None:
    """Marks tell graphs apart by all they hold, whatever lies beside them."""
    first = load(table_at(tmp_path / "chains.parquet"))
    again = load(tmp_path / "chains.parquet")
    assert first.train.marks is not None
    assert again.train.marks is not None
    assert torch.equal(first.train.marks, again.train.marks)
    assert len(set(first.train.marks.tolist())) == 4
