"""Protein structures: PDB and mmCIF files as chains of residues, and importance written back."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearfar.data.content.proteins.residues import LETTERS, Chain, residue_codes
from nearfar.errors import UserError, brief
from nearfar.files import replacing

__all__ = ["read_structure", "write_importance"]

ENDINGS = {".pdb": "pdb", ".ent": "pdb", ".cif": "cif", ".mmcif": "cif"}
"""Endings of structure files, and the format of each."""

_LARGEST = 1 << 28
_BOND = 2.0
"""Angstrom within which C of a residue and N of the next are bonded."""


def read_structure(path: Path, *, gaps: bool = False) -> list[Chain]:
    """The protein chains of the first model of a PDB or mmCIF file.

    Modified residues count as their parent. An amino acid outside of the chain, such as a ligand,
    does not count. Of alternate locations the one with the highest occupancy is taken. Secondary
    structure comes from the file's helix and sheet records; without any it is computed from
    C-alphas (P-SEA).

    Args:
        path: A file ending in .pdb, .ent, .cif or .mmcif.
        gaps: Whether missing residue numbers become X at NaN, so that places keep their distance.

    Returns:
        Chains with at least one amino acid, in the order of the file.

    Raises:
        UserError: If the file cannot be read or has no protein chain.
    """
    kind = _kind(path)
    file, atoms = _atoms(path, kind)
    import biotite.structure as structure

    chosen = atoms[structure.filter_amino_acids(atoms)]
    ranges = _ranges(file, kind)
    chains = []
    for name in dict.fromkeys(str(one) for one in chosen.chain_id):
        part = chosen[chosen.chain_id == name]
        part = part[_bonded(part)]
        if len(part):
            chains.append(_chain(f"{path.stem}_{name}", part, ranges.get(name, []), bool(ranges)))
    if not chains:
        raise UserError(f"{path} holds no protein chain; expected amino acids with coordinates.")
    return [_with_gaps(chain) for chain in chains] if gaps else chains


def write_importance(
    path: Path, target: Path, importance: Mapping[str, tuple[Chain, NDArray[Any]]]
) -> None:
    """Copy a structure file with each residue's importance in the column of B-factors.

    Everything else stays as it is. What is no residue of a given chain gets 0.

    Args:
        path: The file that the chains were read from.
        target: The copy; must not exist.
        importance: For a chain, by any key, the chain and (L,) numbers from 0 to 1, which are
            written times 100.

    Raises:
        UserError: If numbers and residues differ in number, or a file cannot be read or written.
    """
    values: dict[tuple[str, int, str], float] = {}
    for chain, numbers in importance.values():
        if np.shape(numbers) != (len(chain),):
            raise UserError(
                f"{chain.name} has {len(chain)} residues;"
                f" found importance of shape {np.shape(numbers)}."
            )
        letter = chain.name.rpartition("_")[2]
        places = zip(
            chain.number.tolist(),
            chain.insertion.tolist(),
            np.asarray(numbers).tolist(),
            strict=True,
        )
        values |= {(letter, number, code): 100.0 * value for number, code, value in places}
    kind = _kind(path)
    if kind == "cif":
        file, _ = _atoms(path, kind)
        atom = file.block["atom_site"]
        code = atom["pdbx_PDB_ins_code"].as_array(str) if "pdbx_PDB_ins_code" in atom else None
        keys = zip(
            atom["auth_asym_id"].as_array(str), atom["auth_seq_id"].as_array(int), strict=True
        )
        found = [
            values.get((str(letter), int(number), _insertion(code, place)), 0.0)
            for place, (letter, number) in enumerate(keys)
        ]
        atom["B_iso_or_equiv"] = np.array([f"{value:.2f}" for value in found])
        with replacing(target) as temporary:
            file.write(str(temporary))
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    with replacing(target) as temporary:
        temporary.write_text(
            "\n".join(_marked(line, values) for line in lines) + "\n", encoding="utf-8"
        )


def _marked(line: str, values: Mapping[tuple[str, int, str], float]) -> str:
    """A line of a PDB file with its B-factor replaced, if it is an atom."""
    if not line.startswith(("ATOM  ", "HETATM")):
        return line
    try:
        key = (line[21].strip(), int(line[22:26]), line[26:27].strip())
    except (ValueError, IndexError):
        return line
    return f"{line[:60].ljust(60)}{values.get(key, 0.0):6.2f}{line[66:]}"


def _insertion(codes: NDArray[np.str_] | None, place: int) -> str:
    code = "" if codes is None else str(codes[place])
    return "" if code in (".", "?") else code


def _kind(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"There is no structure file at {path}.")
    if path.suffix.lower() not in ENDINGS:
        raise UserError(
            f"{path} is no structure file by its ending; expected one of {', '.join(ENDINGS)}."
        )
    if path.stat().st_size > _LARGEST:
        raise UserError(
            f"{path} has {path.stat().st_size:,} bytes;"
            f" expected a structure file of at most {_LARGEST:,}."
        )
    return ENDINGS[path.suffix.lower()]


def _atoms(path: Path, kind: str) -> tuple[Any, Any]:
    """The opened file and the atoms of its first model."""
    try:
        import biotite.structure.io.pdb as pdb
        import biotite.structure.io.pdbx as pdbx
    except ImportError as error:
        raise UserError(
            "Structure files need the package biotite: pip install 'nearfar[proteins]'."
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if kind == "pdb":
                file = pdb.PDBFile.read(str(path))
                atoms = file.get_structure(model=1, altloc="all", extra_fields=["occupancy"])
                return file, atoms[_one_location(atoms)]
            file = pdbx.CIFFile.read(str(path))
            atoms = pdbx.get_structure(file, model=1, altloc="all", extra_fields=["occupancy"])
            return file, atoms[_one_location(atoms)]
    except Exception as error:  # biotite raises what it meets in a broken file
        said = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} cannot be read as a structure: {brief(said)}.") from error


def _one_location(atoms: Any) -> NDArray[np.bool_]:
    """Which atoms remain when each residue keeps its likeliest alternate location.

    Of equally likely ones the first remains.
    """
    location = np.char.strip(atoms.altloc_id.astype(str))
    alone = np.isin(location, ("", ".", "?"))
    kept = alone.copy()
    groups: dict[tuple[str, int, str], list[int]] = {}
    for place in np.flatnonzero(~alone).tolist():
        key = (str(atoms.chain_id[place]), int(atoms.res_id[place]), str(atoms.ins_code[place]))
        groups.setdefault(key, []).append(place)
    for places in groups.values():
        total: dict[str, float] = {}
        for place in places:
            total[location[place]] = total.get(location[place], 0.0) + float(atoms.occupancy[place])
        best = max(total, key=lambda one: total[one])
        kept[[place for place in places if location[place] == best]] = True
    return kept


def _bonded(atoms: Any) -> NDArray[np.bool_]:
    """Which atoms are of residues of the chain: of a standard record, or bonded to a neighbour."""
    import biotite.structure as structure

    starts = structure.get_residue_starts(atoms)
    ends = [*starts[1:], len(atoms)]
    ends_n, ends_c = np.full((len(starts), 3), np.nan), np.full((len(starts), 3), np.nan)
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        names = atoms.atom_name[start:end]
        for wanted, store in (("N", ends_n), ("C", ends_c)):
            at = np.flatnonzero(names == wanted)
            if len(at):
                store[place] = atoms.coord[start + at[0]]
    linked = np.linalg.norm(ends_n[1:] - ends_c[:-1], axis=1) < _BOND
    bonded = ~atoms.hetero[starts]
    bonded[1:] |= linked
    bonded[:-1] |= linked
    return np.repeat(bonded, np.diff([*starts, len(atoms)]))


def _chain(name: str, atoms: Any, ranges: list[tuple[str, int, int]], recorded: bool) -> Chain:
    import biotite.structure as structure
    from biotite.structure import info

    starts = structure.get_residue_starts(atoms)
    ends = [*starts[1:], len(atoms)]
    letters = [info.one_letter_code(str(one)) or "X" for one in atoms.res_name[starts]]
    number = atoms.res_id[starts].astype(np.int64)
    count = len(starts)
    ca, cb, centroid = (np.full((count, 3), np.nan, dtype=np.float32) for _ in range(3))
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        names, coordinates = atoms.atom_name[start:end], atoms.coord[start:end]
        heavy = ~np.isin(atoms.element[start:end], ("H", "D"))
        centroid[place] = coordinates[heavy].mean(axis=0) if heavy.any() else np.nan
        for wanted, store in (("CA", ca), ("CB", cb)):
            at = np.flatnonzero(names == wanted)
            if len(at):
                store[place] = coordinates[at[0]]
    if recorded:
        secondary = np.full(count, "-", dtype="<U1")
        for letter, first, last in ranges:
            secondary[(number >= first) & (number <= last)] = letter
    else:
        secondary = _computed(atoms, count)
    insertion = np.array([str(one).strip() for one in atoms.ins_code[starts]], dtype=np.str_)
    return Chain(
        name, residue_codes("".join(letters)), number, insertion, ca, cb, centroid, secondary
    )


def _computed(atoms: Any, count: int) -> NDArray[np.str_]:
    """Secondary structure from C-alphas; coil where a chain is too short for it."""
    import biotite.structure as structure

    try:
        found = structure.annotate_sse(atoms)
    except Exception:  # what biotite raises for chains of one or two residues
        return np.full(count, "-", dtype="<U1")
    return np.array([{"a": "H", "b": "E"}.get(str(one), "-") for one in found], dtype="<U1")


def _ranges(file: Any, kind: str) -> dict[str, list[tuple[str, int, int]]]:
    """Helices and strands of each chain by the file's records: letter, first and last number."""
    found: dict[str, list[tuple[str, int, int]]] = {}
    for chain, letter, first, last in (
        _pdb_records(file.lines) if kind == "pdb" else _cif_records(file.block)
    ):
        found.setdefault(chain, []).append((letter, first, last))
    return found


def _pdb_records(lines: list[str]) -> Iterator[tuple[str, str, int, int]]:
    for line in lines:
        columns = {"HELIX ": (19, 21, 33), "SHEET ": (21, 22, 33)}.get(line[:6])
        if columns is None:
            continue
        chain, first, last = columns
        try:
            yield (
                line[chain].strip(),
                "H" if line[0] == "H" else "E",
                int(line[first : first + 4]),
                int(line[last : last + 4]),
            )
        except (ValueError, IndexError):
            continue  # a broken record says nothing of its residues


def _cif_records(block: Any) -> Iterator[tuple[str, str, int, int]]:
    for name, letter in (("struct_conf", "H"), ("struct_sheet_range", "E")):
        if name not in block:
            continue
        table = block[name]
        try:
            kinds = table["conf_type_id"].as_array(str) if "conf_type_id" in table else None
            chains = table["beg_auth_asym_id"].as_array(str)
            first, last = (table[f"{side}_auth_seq_id"].as_array(int) for side in ("beg", "end"))
        except (KeyError, ValueError):
            continue  # author numbers are optional
        for place, chain in enumerate(chains):
            if kinds is None or str(kinds[place]).startswith("HELX"):
                yield str(chain), letter, int(first[place]), int(last[place])


def _with_gaps(chain: Chain) -> Chain:
    """The chain with an X at NaN for each residue number that is missing between two others."""
    step = np.diff(chain.number)
    before = np.concatenate([[0], np.where(step > 1, step - 1, 0)]).cumsum()
    place = np.arange(len(chain)) + before
    count = int(place[-1]) + 1
    if count > 100 * len(chain) + 10_000:
        raise UserError(
            f"{chain.name} has {count:,} residue numbers for {len(chain):,} residues;"
            " read it without gaps."
        )
    nothing = np.full((count, 3), np.nan, dtype=np.float32)
    ca, cb, centroid = nothing.copy(), nothing.copy(), nothing.copy()
    residue = np.full(count, len(LETTERS) - 1, dtype=np.int64)
    secondary = np.full(count, "-", dtype="<U1")
    insertion = np.full(count, "", dtype=chain.insertion.dtype)
    number = np.arange(count) - place[np.searchsorted(place, np.arange(count), side="right") - 1]
    number = number + chain.number[np.searchsorted(place, np.arange(count), side="right") - 1]
    residue[place], secondary[place], insertion[place] = (
        chain.residue,
        chain.secondary,
        chain.insertion,
    )
    ca[place], cb[place], centroid[place] = chain.ca, chain.cb, chain.centroid
    return Chain(chain.name, residue, number, insertion, ca, cb, centroid, secondary)
