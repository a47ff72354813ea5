"""Protein chains: a table with sequences and coordinates, or structure files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nearfar.data.content.proteins.chains import Chains, features_beside
from nearfar.data.content.proteins.ontology import Ontology, read_ontology
from nearfar.data.content.proteins.residues import Chain, residue_codes
from nearfar.data.content.proteins.structures import read_structure
from nearfar.data.split import SPLIT_NAME, TRAIN_NAMES
from nearfar.data.tables.names import as_text
from nearfar.data.tables.table import Table, skipped_note
from nearfar.errors import UserError

__all__ = ["is_proteins", "read_proteins", "read_structures"]

LEAST_CHAINS = 20
"""Training chains that a term must have, so that something can be learned of it."""

TERMS = "go_terms"
_NEEDED = {"sequence", "ca"}
_KNOWN = {"id", "sequence", "ca", "centroid", "secondary", "site", TERMS, SPLIT_NAME}
_LONGEST = 20_000


def is_proteins(path: Path) -> bool:
    """Whether a parquet file holds chains with their coordinates."""
    try:
        names = set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, ValueError):
        return False
    return names >= _NEEDED


def read_proteins(path: Path) -> Table:
    """Chains of a parquet table.

    Its columns are "sequence" (letters of the observed residues) and "ca" (3 L coordinates), and
    where they are there "id", "centroid", "secondary" (H, E or -), "site" (0 or 1 a residue),
    "go_terms" (the terms of a chain; none for a chain that is not annotated) and "split". Terms
    follow from one another by the .obo file that lies beside the table.

    Raises:
        UserError: If a chain's columns differ in length or its coordinates are no numbers.
    """
    try:
        table = pq.read_table(path)
        columns: dict[str, list[Any]] = {
            name: table[name].to_pylist()
            for name in table.column_names
            if name in _KNOWN or _is_text_or_number(table.schema.field(name).type)
        }
    except (pa.ArrowException, OSError, ValueError) as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} cannot be read as parquet ({said}); restore it.") from error
    count = len(columns["sequence"])
    ids = [as_text(str(one)) for one in columns.get("id", range(count))]
    chains = [_chain(ids[row], row, columns) for row in range(count)]
    sites = _sites(chains, columns["site"]) if "site" in columns else None
    made = Table(as_text(path.stem), ids, Chains(chains, sites, features_beside(path)))
    made.columns = {
        name: np.array(values, dtype=object if isinstance(values[0], str) else None)
        for name, values in columns.items()
        if name not in _KNOWN and None not in values
    }
    if SPLIT_NAME in columns:
        made.part = ["" if one is None else str(one) for one in columns[SPLIT_NAME]]
        made.split_column = SPLIT_NAME
        made.columns = {**made.columns, SPLIT_NAME: np.array(made.part, dtype=object)}
    if TERMS in columns:
        _add_terms(made, [one or [] for one in columns[TERMS]], path)
    if sites is not None:
        known = sum(bool(one.any()) for one in sites)
        made.notes.append(
            f"{known:,} of {count:,} chains have a known site; nothing is said of the others'."
        )
    return made


def read_structures(
    paths: Sequence[Path], name: str, folder: Path, *, strict: bool = False
) -> Table:
    """The protein chains of PDB and mmCIF files.

    Args:
        paths: Of the files.
        name: Of the data.
        folder: Above all of the files; chains are called after the files' paths in it.
        strict: Whether a file that cannot be read is refused and not left out.

    Raises:
        UserError: If no file can be read.
    """
    ids: list[str] = []
    chains: list[Chain] = []
    broken: dict[str, str] = {}
    for path in paths:
        shown = as_text(path.relative_to(folder).as_posix())
        try:
            found = read_structure(path)
        except UserError as error:
            if len(paths) == 1:
                raise
            broken[shown] = str(error).rstrip(".")
            continue
        chains += found
        stem = shown.removesuffix(path.suffix)
        ids += [f"{stem}_{chain.name.rpartition('_')[2]}" for chain in found]
    notes = skipped_note(
        list(broken), len(paths), "structure files", strict=strict, reasons=list(broken.values())
    )
    beside = features_beside(paths[0] if len(paths) == 1 else folder)
    return Table(
        name,
        ids,
        Chains(chains, None, beside),
        notes=[*notes, f"The structure files hold {len(ids):,} protein chains in all."],
        left_out=Counter({"structure files that cannot be read": len(broken)}),
    )


def _is_text_or_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
    )


def _chain(name: str, row: int, columns: dict[str, list[Any]]) -> Chain:
    sequence = columns["sequence"][row] or ""
    length = len(sequence)
    if not 0 < length <= _LONGEST:
        raise UserError(
            f"The chain {name} (row {row}) has {length:,} residues; expected 1 to {_LONGEST:,}."
        )
    places = {
        key: _places(columns[key][row], f"{key} of {name}", length)
        for key in ("ca", "centroid")
        if key in columns
    }
    secondary = (columns["secondary"][row] if "secondary" in columns else None) or "-" * length
    if len(secondary) != length:
        raise UserError(
            f"The secondary structure of {name} has {len(secondary):,} letters for {length:,} "
            "residues; expected one a residue."
        )
    return Chain(
        name,
        residue_codes(sequence),
        np.arange(1, length + 1),
        np.full(length, "", dtype="<U1"),
        places["ca"],
        np.full((length, 3), np.nan, dtype=np.float32),
        places.get("centroid", places["ca"]),
        np.array(list(secondary)),
    )


def _places(values: Any, what: str, length: int) -> NDArray[np.float32]:
    found = np.asarray(values if values is not None else [], dtype=np.float32)
    if found.shape != (3 * length,):
        raise UserError(
            f"The {what} holds {found.size:,} numbers for {length:,} residues; expected "
            f"{3 * length:,}, three a residue."
        )
    if np.isinf(found).any():
        raise UserError(f"The {what} holds infinity; expected coordinates in angstrom.")
    return found.reshape(length, 3)


def _sites(chains: Sequence[Chain], values: Sequence[Any]) -> list[NDArray[np.float32]]:
    sites = []
    for chain, one in zip(chains, values, strict=True):
        site = np.asarray(one if one is not None else np.zeros(len(chain)), dtype=np.float32)
        if site.shape != (len(chain),) or not np.isin(site, (0, 1)).all():
            raise UserError(
                f"The site of {chain.name} is no list of {len(chain):,} zeros and ones; expected "
                "one a residue."
            )
        sites.append(site)
    return sites


def _add_terms(table: Table, held: Sequence[Sequence[str]], path: Path) -> None:
    """Labels of several terms a chain, closed under the ontology where there is one."""
    ontology, note = _ontology_beside(path)
    table.notes += note
    if ontology is not None:
        _check_terms(held, ontology)
        held = [sorted(set().union(*map(ontology.above, one))) for one in held]
    train = [
        one
        for row, one in enumerate(held)
        if table.part is None or table.part[row].strip().lower() in TRAIN_NAMES
    ]
    counts = Counter(term for one in train for term in one)
    every = sorted({term for one in held for term in one})
    terms = [term for term in every if counts[term] >= LEAST_CHAINS] or every
    if not terms:
        table.notes.append("No chain has a term, so there is nothing to predict.")
        return
    if len(terms) < len(every):
        table.notes.append(
            f"{len(every) - len(terms):,} of {len(every):,} terms are left out, as fewer than "
            f"{LEAST_CHAINS} training chains have them."
        )
    place = {term: number for number, term in enumerate(terms)}
    values = np.zeros((len(held), len(terms)), dtype=bool)
    for row, one in enumerate(held):
        values[row, [place[term] for term in one if term in place]] = True
    table.columns = {**table.columns, TERMS: values}
    table.classes = {TERMS: terms}
    table.label = TERMS
    if ontology is not None:
        table.extra["above"] = [
            sorted(place[one] for one in ontology.above(term) if one in place) for term in terms
        ]
        table.extra["term names"] = [ontology.names[term] for term in terms]
        table.extra["branches"] = [ontology.branches[term] for term in terms]


def _ontology_beside(path: Path) -> tuple[Ontology | None, list[str]]:
    """The ontology in a table's folder, and what to say of it."""
    found = sorted(path.parent.glob("*.obo"))
    own = [one for one in found if one.stem.startswith(path.stem)] or found
    if not own:
        return None, [
            f"No .obo file lies beside {as_text(path.name)}: no term is taken to follow from "
            "another."
        ]
    if len(own) > 1:
        names = ", ".join(as_text(one.name) for one in own)
        raise UserError(
            f"Beside {path} lie several ontologies ({names}); leave one there, or call it "
            f"{path.stem}.obo."
        )
    return read_ontology(own[0]), [f"Terms follow from one another by {as_text(own[0].name)}."]


def _check_terms(held: Sequence[Sequence[str]], ontology: Ontology) -> None:
    unknown = sorted({term for one in held for term in one} - ontology.parents.keys())
    if unknown:
        first = ", ".join(unknown[:3])
        raise UserError(
            f"{len(unknown):,} terms of the chains, such as {first}, are not in {ontology.name}; "
            "lay the ontology that they come from beside the table."
        )
