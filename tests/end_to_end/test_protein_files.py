"""Structure files at the command line: every kind gives a result or one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from nearfar.cli import main
from nearfar.verbs.predict import predict
from tests.data.test_proteins import OBO, table_at

pytest.importorskip("biotite")

HOSTILE = '"><img src=x onerror=alert(1)>'
SMALL = ["--recipe", "small", "--precision", "float32", "--no-evaluate"]


def atoms(names: str, *, chain: str = "A", hetero: tuple[int, ...] = (), seed: int = 0) -> Any:
    """Residues by their three-letter names along a bent line, with N, C-alpha and C."""
    import biotite.structure as structure

    words = names.split()
    found = structure.AtomArray(3 * len(words))
    random = np.random.default_rng(seed)
    steps = random.normal((3.0, 0.0, 0.0), 0.3, size=(len(words), 3))
    start = np.cumsum(steps, axis=0)
    offsets = np.array([[-1.2, 0.4, 0], [0, 0, 0], [1.2, 0.4, 0]])
    found.coord = (start[:, None] + offsets).reshape(-1, 3).astype(np.float32)
    found.chain_id[:] = chain
    found.res_id[:] = np.repeat(np.arange(len(words)) + 1, 3)
    found.res_name[:] = np.repeat(words, 3)
    found.atom_name[:] = ["N", "CA", "C"] * len(words)
    found.element[:] = ["N", "C", "C"] * len(words)
    found.hetero[:] = np.isin(found.res_id, hetero)
    return found


def written(path: Path, what: Any) -> Path:
    """An atom array, or a stack of models, as the file that the ending says."""
    from biotite.structure.io import pdb, pdbx

    if path.suffix == ".pdb":
        file = pdb.PDBFile()
        file.set_structure(what)
    else:
        file = pdbx.CIFFile()
        pdbx.set_structure(file, what)
    file.write(str(path))
    return path


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """All that was said since, on one line."""
    said = capsys.readouterr()
    return " ".join((said.out + said.err).split())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A method that has seen a few chains."""
    folder = tmp_path_factory.mktemp("proteins")
    (folder / "any.obo").write_text(OBO)
    ids = [*map(str, range(5)), HOSTILE]
    table = table_at(folder / "chains.parquet", id=ids)
    words = ["pretrain", "protein-rpn", "--data", str(table), "--steps", "2", "--batch-size", "4"]
    assert main([*words, *SMALL, "--output", str(folder / "run")]) == 0
    return folder / "run"


def several_models(path: Path) -> None:
    import biotite.structure as structure

    written(path, structure.stack([atoms("ALA GLY SER THR"), atoms("ALA GLY SER THR")]))


def protein_and_dna(path: Path) -> None:
    written(path, atoms("ALA GLY SER") + atoms("DA DC DG", chain="B", seed=1))


def six_chains(path: Path) -> None:
    parts = [
        atoms("ALA GLY SER", chain=letter, seed=place) for place, letter in enumerate("ABCDEF")
    ]
    whole = parts[0]
    for part in parts[1:]:
        whole += part
    written(path, whole)


def insertions(path: Path) -> None:
    found = atoms("ALA GLY SER THR")
    found.res_id[:] = np.repeat([1, 1, 1, 2], 3)
    found.ins_code[:] = np.repeat(["", "A", "B", ""], 3)
    written(path, found)


def missing_residues(path: Path) -> None:
    found = atoms("ALA GLY SER THR LYS")
    written(path, found[found.res_id != 3])


def alternate_types(path: Path) -> None:
    """Two residues at one place, as in crystals of mixed sequence."""
    lines = written(path, atoms("ALA GLY SER")).read_text().splitlines()
    other = [line[:16] + "BLEU" + line[20:] for line in lines if line[22:26].strip() == "2"]
    mixed = [line[:16] + "A" + line[17:] if line[22:26].strip() == "2" else line for line in lines]
    path.write_text("\n".join([*mixed[:6], *other, *mixed[6:], ""]))


KINDS: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "plain": (lambda path: written(path, atoms("ALA GLY SER THR")), ["A"]),
    "alternate types": (alternate_types, ["A"]),
    "insertion codes": (insertions, ["A"]),
    "missing residues": (missing_residues, ["A"]),
    "several models": (several_models, ["A"]),
    "a short peptide": (lambda path: written(path, atoms("ALA GLY")), ["A"]),
    "one residue": (lambda path: written(path, atoms("ALA")), ["A"]),
    "a modified residue": (lambda path: written(path, atoms("ALA SEP GLY", hetero=(2,))), ["A"]),
    "protein and DNA": (protein_and_dna, ["A"]),
    "six chains": (six_chains, list("ABCDEF")),
    "DNA alone": (lambda path: written(path, atoms("DA DC DG")), []),
    "nothing": (lambda path: path.write_text("END\n"), []),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_structure_gives_a_result_or_one_sentence(
    run: Path, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write, chains = KINDS[kind]
    path = tmp_path / "1abc.pdb"
    write(path)
    capsys.readouterr()
    code = main(["predict", str(run), str(path)])
    said = capsys.readouterr()
    if chains:
        assert code == 0
        for chain in chains:
            assert f"1abc_{chain}" in said.out
    else:
        assert code == 2
        assert "1abc.pdb" in said.err.replace("\n", "")
        assert "Traceback" not in said.err


def test_mmcif_files_and_folders_are_predicted_and_marked(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from biotite.structure.io import pdbx

    folder = tmp_path / "structures"
    folder.mkdir()
    single = written(folder / "2xyz.cif", atoms("ALA GLY HIS SER THR LYS"))
    alone = predict(run, str(single))
    assert len(alone) == 1
    written(folder / "1abc.pdb", atoms("ALA GLY HIS SER THR LYS"))
    (folder / "notes.cif").write_text("no structure")
    assert main(["predict", str(run), str(folder), "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "1abc_A" in said.out
    assert "2xyz_A" in said.out
    assert "notes.cif" in (said.out + said.err).replace("\n", "")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"terms.parquet", "residues.parquet", "1abc.pdb", "2xyz.cif"}
    file = pdbx.CIFFile.read(str(tmp_path / "out" / "2xyz.cif"))
    marked = pdbx.get_structure(file, model=1, extra_fields=["b_factor"])
    rows = pq.read_table(tmp_path / "out" / "residues.parquet").to_pylist()
    importance = [row["importance"] for row in rows if row["id"] == "2xyz_A"]
    assert marked.b_factor.tolist() == pytest.approx(100 * np.repeat(importance, 3), abs=0.006)


def test_pretraining_reads_a_folder_of_mmcif(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A method without labels learns from it; one that needs terms says so in a sentence."""
    folder = tmp_path / "structures"
    folder.mkdir()
    for number in range(8):
        written(folder / f"{number}abc.cif", atoms("ALA GLY HIS SER THR", seed=number))
    words = ["--data", str(folder), "--steps", "1", "--batch-size", "4", "--precision", "float32"]
    made = tmp_path / "run"
    assert main(["pretrain", "simclr", *words, "--no-evaluate", "--output", str(made)]) == 0
    assert "Residues are described by their kind" in told(capsys)
    other = tmp_path / "other"
    assert main(["pretrain", "protein-rpn", *words, "--output", str(other)]) == 2
    assert "protein-rpn learns from labels, but structures has none" in told(capsys)
    assert not other.exists()


def test_features_from_a_folder_are_named_and_asked_for_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run says which encoding it has, and files without the like of it are refused."""
    (tmp_path / "any.obo").write_text(OBO)
    table = table_at(tmp_path / "chains.parquet")
    features = tmp_path / "chains_features"
    features.mkdir()
    for number in range(6):
        values = np.random.default_rng(number).normal(size=(5, 7)).astype(np.float32)
        np.save(features / f"{number}_A.npy", values)
    words = ["pretrain", "protein-rpn", "--data", str(table), "--steps", "1", "--batch-size", "4"]
    made = tmp_path / "run"
    assert main([*words, *SMALL, "--output", str(made)]) == 0
    assert "described by the features of 7 numbers" in told(capsys)
    bare = tmp_path / "bare"
    bare.mkdir()
    path = written(bare / "1abc.pdb", atoms("ALA GLY SER"))
    assert main(["predict", str(made), str(path)]) == 2
    assert "32 values of 'x'; expected 7" in told(capsys)
    beside = bare / "features"
    beside.mkdir()
    np.save(beside / "1abc_A.npy", np.zeros((3, 7), np.float32))
    assert main(["predict", str(made), str(path)]) == 0
    assert "described by the features of 7 numbers" in told(capsys)


def test_the_report_draws_the_importance_of_residues_and_holds_no_markup_of_names(
    run: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    assert main(["report", str(run), "-o", str(page)]) == 0
    text = page.read_text()
    section = text.partition("What it predicts</h2>")[2].partition("</section>")[0]
    assert section.count('<img src="data:image/svg+xml;base64,') == 2
    assert "the strip below it marks the residues of the known site" in section
    assert "metal binding 0." in section
    assert HOSTILE not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in section
