"""Protein structures: real files against a table of them, made chains, importance, errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nearfar.data.content.proteins.protein_graphs import residue_features
from nearfar.data.content.proteins.residues import (
    LETTERS,
    Chain,
    contacts,
    physical,
    residue_codes,
    residue_graph,
)
from nearfar.data.content.proteins.structures import read_structure, write_importance
from nearfar.errors import UserError

ATOM = (
    "{record:<6}{serial:>5} {atom:<4}{altloc}{name:>3} {chain}{number:>4}{code}   "
    "{x:>8.3f}{y:>8.3f}{z:>8.3f}{share:>6.2f}{b:>6.2f}          {element:>2}"
)


def pdb(rows: list[tuple[str, int, str, str, float]], *, record: str = "ATOM") -> str:
    """Residues (name, number, insertion code, alternate location, occupancy) along a line."""
    lines = []
    for place, (name, number, code, altloc, share) in enumerate(rows):
        for step, (atom, element) in enumerate((("N", "N"), ("CA", "C"), ("C", "C"))):
            x = 3.8 * place + 1.2 * step
            lines.append(
                ATOM.format(
                    record=record,
                    serial=len(lines) + 1,
                    atom=f" {atom}",
                    altloc=altloc,
                    name=name,
                    chain="A",
                    number=number,
                    code=code,
                    x=x,
                    y=0.0,
                    z=0.0,
                    share=share,
                    b=9.0,
                    element=element,
                )
            )
    return "\n".join([*lines, "END", ""])


def made(tmp_path: Path, text: str, name: str = "1abc.pdb") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_every_real_file_gives_what_the_table_says(shared_data: Callable[[str], Path]) -> None:
    import pyarrow.parquet as parquet

    table = {
        row["id"]: row for row in parquet.read_table(shared_data("proteins.parquet")).to_pylist()
    }
    compared = 0
    files = sorted(shared_data("proteins_raw").glob("*.pdb"))
    assert len(files) == 12
    for path in files:
        for chain in read_structure(path):
            row = table.get(chain.name)
            if row is None:
                continue
            compared += 1
            assert chain.sequence == row["sequence"]
            assert "".join(chain.secondary) == row["secondary"]
            np.testing.assert_allclose(chain.ca, np.reshape(row["ca"], (-1, 3)), atol=1e-3)
            np.testing.assert_allclose(
                chain.centroid, np.reshape(row["centroid"], (-1, 3)), atol=2e-3
            )
    assert compared >= 8


def test_mmcif_equals_pdb(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    import biotite.structure.io.pdb as io_pdb
    import biotite.structure.io.pdbx as io_cif

    source = shared_data("proteins_raw") / "1bju.pdb"
    file = io_cif.CIFFile()
    atoms = io_pdb.PDBFile.read(str(source)).get_structure(model=1, extra_fields=["b_factor"])
    io_cif.set_structure(file, atoms)
    file.write(str(tmp_path / "1bju.cif"))
    (one,), (other,) = read_structure(source), read_structure(tmp_path / "1bju.cif")
    assert one.sequence == other.sequence
    assert one.number.tolist() == other.number.tolist()
    assert one.insertion.tolist() == other.insertion.tolist()
    np.testing.assert_allclose(one.ca, other.ca, atol=1e-3)
    target = tmp_path / "marked.cif"
    write_importance(tmp_path / "1bju.cif", target, {"A": (other, np.linspace(0, 1, len(other)))})
    written = io_cif.get_structure(
        io_cif.CIFFile.read(str(target)), model=1, extra_fields=["b_factor"]
    )
    of_residues = written.b_factor[(written.atom_name == "CA") & (written.element == "C")]
    np.testing.assert_allclose(of_residues, 100 * np.linspace(0, 1, len(other)), atol=0.01)


def test_insertions_modified_residues_and_gaps(tmp_path: Path) -> None:
    rows = [("ALA", 4, " ", " ", 1.0), ("MSE", 4, "A", " ", 1.0), ("GLY", 7, " ", " ", 1.0)]
    (chain,) = read_structure(made(tmp_path, pdb(rows)))
    assert chain.name == "1abc_A"
    assert chain.sequence == "AMG"
    assert chain.insertion.tolist() == ["", "A", ""]
    (whole,) = read_structure(tmp_path / "1abc.pdb", gaps=True)
    assert whole.sequence == "AMXXG"
    assert whole.number.tolist() == [4, 4, 5, 6, 7]
    assert np.isnan(whole.ca[2:4]).all()
    nodes, edges = residue_graph(whole, cutoff=4.0)
    assert nodes["residue"].tolist() == [0, 12, 20, 20, 7]
    assert edges.tolist() == [[0, 0, 1, 1, 1, 4, 4], [0, 1, 0, 1, 4, 1, 4]]


def test_the_likelier_alternate_location_is_kept_whatever_its_letter(tmp_path: Path) -> None:
    rows = [("PRO", 1, " ", "1", 0.4), ("SER", 1, " ", "2", 0.6), ("GLY", 2, " ", " ", 1.0)]
    (chain,) = read_structure(made(tmp_path, pdb(rows)))
    assert chain.sequence == "SG"


def test_a_free_amino_acid_is_no_residue_of_the_chain(tmp_path: Path) -> None:
    ligand = pdb([("GLU", 90, " ", " ", 1.0)], record="HETATM").replace(
        "   0.000   0.000", "  50.000  50.000"
    )
    text = pdb([("ALA", 1, " ", " ", 1.0), ("GLY", 2, " ", " ", 1.0)]).replace("END\n", "") + ligand
    (chain,) = read_structure(made(tmp_path, text))
    assert chain.sequence == "AG"


def test_importance_takes_the_place_of_b_factors_and_nothing_else(tmp_path: Path) -> None:
    path = made(tmp_path, pdb([("ALA", 1, " ", " ", 1.0), ("GLY", 2, " ", " ", 1.0)]))
    (chain,) = read_structure(path)
    write_importance(path, tmp_path / "marked.pdb", {"A": (chain, np.array([0.25, 1.0]))})
    before, after = (
        path.read_text().splitlines(),
        (tmp_path / "marked.pdb").read_text().splitlines(),
    )
    assert [line[60:66] for line in after[:6]] == [" 25.00"] * 3 + ["100.00"] * 3
    assert [line[:60] + line[66:] for line in after] == [line[:60] + line[66:] for line in before]
    with pytest.raises(UserError, match="already"):
        write_importance(path, tmp_path / "marked.pdb", {"A": (chain, np.array([0.25, 1.0]))})
    with pytest.raises(UserError, match="has 2 residues"):
        write_importance(path, tmp_path / "other.pdb", {"A": (chain, np.zeros(3))})


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.pdb", "", "cannot be read|no protein chain"),
        ("a.pdb", "ATOM  broken\n", "cannot be read|no protein chain"),
        (
            "a.pdb",
            "HETATM    1  O   HOH A   1       0.000   0.000   0.000  1.00  9.00           O\n",
            "no protein chain",
        ),
        ("a.cif", "not a structure", "cannot be read"),
        ("a.cif", "data_x\n_cell.a 1\n", "cannot be read"),
        ("a.txt", "x", "by its ending"),
    ],
)
def test_a_broken_file_gets_one_sentence(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_structure(made(tmp_path, text, name))


def test_a_missing_file_gets_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no structure file at"):
        read_structure(tmp_path / "missing.pdb")


def chain_of(length: int) -> Chain:
    places = np.zeros((length, 3), np.float32)
    number = np.arange(length)
    text = np.array(["-"] * length)
    return Chain(
        "x_A",
        residue_codes("A" * length),
        number,
        np.array([""] * length),
        places,
        places,
        places,
        text,
    )


def test_features_of_residues_are_read_and_filled_up(tmp_path: Path) -> None:
    np.save(tmp_path / "x_A.npy", np.ones((2, 4), np.float32))
    assert residue_features(tmp_path, chain_of(3)).tolist() == [[1] * 4, [1] * 4, [0] * 4]
    (tmp_path / "x_A.npy").unlink()
    torch.save(
        {"representations": {6: torch.zeros(3, 2), 33: torch.ones(3, 2)}}, tmp_path / "x_A.pt"
    )
    assert residue_features(tmp_path, chain_of(3)).tolist() == [[1, 1]] * 3
    with pytest.raises(UserError, match="a row a residue"):
        residue_features(tmp_path, chain_of(2))
    (tmp_path / "x_A.pt").write_bytes(b"junk")
    with pytest.raises(UserError, match="cannot be read as features"):
        residue_features(tmp_path, chain_of(3))
    with pytest.raises(UserError, match="no features of x_A"):
        residue_features(tmp_path / "empty", chain_of(3))


def test_contacts_equal_the_distance_matrix() -> None:
    places = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    places[4] = np.nan
    distance = np.linalg.norm(places[:, None].astype(float) - places[None], axis=2)
    expected = np.argwhere(distance <= 1.2).T
    assert np.array_equal(contacts(places, 1.2), expected)
    assert (contacts(places, 1.2, loops=False)[0] != contacts(places, 1.2, loops=False)[1]).all()
    with pytest.raises(UserError, match="cutoff of contacts"):
        contacts(places, 0.0)


def test_the_physical_numbers_are_standardised() -> None:
    table = physical(torch.arange(len(LETTERS)))
    assert table.shape == (21, 7)
    assert table[20].abs().sum() == 0
    torch.testing.assert_close(table[:20].mean(0), torch.zeros(7), atol=1e-6, rtol=0)
