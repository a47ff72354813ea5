"""Terms: what the terminal shows, tables, and importance in the column of B-factors."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from nearfar.errors import UserError
from nearfar.results.terms import Terms
from nearfar.rows import Parts, Ragged

ATOM = "ATOM  {0:5d}  {1:<3s} GLY {2}{3:4d}    {4:8.3f}{5:8.3f}{6:8.3f}  1.00 99.00           C"


def two() -> Terms:
    residues = Parts(
        importance=torch.tensor([0.25, 1.0, 0.5]),
        residue=torch.tensor([0, 8, 20]),
        number=torch.tensor([[1, 0], [57, 65], [3, 0]]),
        place=torch.tensor([[0.0, 1, 2], [3, 4, 5], [6, 7, 8]]),
    )
    scores = torch.tensor([[0.75, 0.25], [0.5, 1.0]])
    return Terms(
        scores, ("T:1", "T:2"), ("binding", "zinc"), Ragged(residues, torch.tensor([2, 1]))
    )


def test_the_likeliest_terms_and_residues_come_first() -> None:
    shown = two().shown(["a_A", "b_A"])
    assert shown["id"] == ["a_A", "", "b_A", ""]
    assert shown["term"] == ["T:1", "T:2", "T:2", "T:1"]
    assert shown["means"] == ["binding", "zinc", "zinc", "binding"]
    assert shown["score"] == [0.75, 0.25, 1.0, 0.5]
    assert shown["residues"] == ["H57A", "A1", "X3", ""]
    part = two()[1:]
    assert len(part) == 1
    assert part.shown(["b_A"])["residues"] == ["X3", ""]
    joined = Terms.joined([two()[:1], part])
    assert joined.shown(["a_A", "b_A"]) == shown


def test_tables_hold_every_term_and_residue(tmp_path: Path) -> None:
    paths = two().write(tmp_path / "out", ["a_A", "b_A"])
    assert [path.name for path in paths] == ["terms.parquet", "residues.parquet"]
    terms = pq.read_table(paths[0]).to_pylist()
    assert len(terms) == 4
    assert terms[3] == {"id": "b_A", "term": "T:2", "means": "zinc", "score": 1.0}
    residues = pq.read_table(paths[1]).to_pylist()
    assert residues[1] == {
        "id": "a_A",
        "number": 57,
        "insertion": "A",
        "residue": "H",
        "importance": 1.0,
    }
    with pytest.raises(UserError, match="exists already"):
        two().write(tmp_path / "out", ["a_A", "b_A"])


def test_without_files_c_alphas_carry_the_importance(tmp_path: Path) -> None:
    paths = two().marked(tmp_path, ["a_A", "../b_A"], None)
    assert sorted(path.name for path in paths) == ["a_A.pdb", "b_A.pdb"]
    lines = (tmp_path / "a_A.pdb").read_text().splitlines()
    assert lines[1] == (
        "ATOM      2  CA  HIS A  57A      3.000   4.000   5.000  1.00100.00           C"
    )
    assert lines[-1] == "END"


def test_structure_files_are_copied_with_importance(tmp_path: Path) -> None:
    pytest.importorskip("biotite")
    folder = tmp_path / "in"
    folder.mkdir()
    lines = [
        ATOM.format(1, "N", "A", 5, 0, 0, 0),
        ATOM.format(2, "CA", "A", 5, 1, 0, 0),
        ATOM.format(3, "CA", "A", 6, 4, 0, 0),
        ATOM.format(4, "CA", "B", 1, 9, 0, 0),
    ]
    (folder / "one.pdb").write_text("\n".join(["HEADER    KEPT", *lines, "END", ""]))
    residues = Parts(
        importance=torch.tensor([0.5, 0.25, 1.0]),
        residue=torch.zeros(3, dtype=torch.int64),
        number=torch.tensor([[5, 0], [6, 0], [1, 0]]),
        place=torch.zeros(3, 3),
    )
    result = Terms(torch.ones(2, 1), ("T",), (), Ragged(residues, torch.tensor([2, 1])))
    for origin in (folder, folder / "one.pdb"):
        out = tmp_path / f"out-{origin.name}"
        (path,) = result.marked(out, ["one_A", "one_B"], origin)
        written = path.read_text().splitlines()
        assert path.name == "one.pdb"
        assert written[0] == "HEADER    KEPT"
        assert [line[60:66] for line in written if line.startswith("ATOM")] == [
            " 50.00",
            " 50.00",
            " 25.00",
            "100.00",
        ]
    with pytest.raises(UserError, match="exists already"):
        result.marked(tmp_path / "out-in", ["one_A", "one_B"], folder)


def test_only_residues_may_be_judged() -> None:
    result = Terms(torch.zeros(2, 0), (), (), Ragged(two().residues.values, torch.tensor([2, 1])))
    assert len(result) == 2
    assert len(result[:1]) == 1
