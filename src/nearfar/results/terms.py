"""Terms of an ontology, such as functions of a protein, and the residues that matter for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.results.result import Result
from nearfar.rows import Graphs, Ragged

_TERMS = 5
_CAPTIONED = 3
"""Likeliest terms below a picture."""
_RESIDUES = 8
"""Likeliest terms, and most important residues, that a table shows of each protein."""
_LETTERS = "ARNDCQEGHILKMFPSTWYVX"
_CODES = {
    "A": "ALA",
    "R": "ARG",
    "N": "ASN",
    "D": "ASP",
    "C": "CYS",
    "Q": "GLN",
    "E": "GLU",
    "G": "GLY",
    "H": "HIS",
    "I": "ILE",
    "L": "LEU",
    "K": "LYS",
    "M": "MET",
    "F": "PHE",
    "P": "PRO",
    "S": "SER",
    "T": "THR",
    "W": "TRP",
    "Y": "TYR",
    "V": "VAL",
    "X": "UNK",
}


@dataclass(frozen=True)
class Terms(Result):
    """What is said of N proteins.

    Attributes:
        scores: (N, C) probabilities, or (N, 0) where only residues are judged.
        names: Of the C terms, such as "GO:0003824".
        words: What each of them means.
        residues: By protein ``Parts`` of its residues: "importance" from 0 to 1, "residue" (codes),
            "number" (the author's, and the letter of an insertion) and "place" (of C-alpha); None
            where nothing is said of residues.
    """

    told: ClassVar[str] = (
        "The curve is the importance of each residue along the chain; the strip below it marks the "
        "residues of the known site."
    )
    scores: Tensor
    names: tuple[str, ...]
    words: tuple[str, ...] = ()
    residues: Ragged | None = None

    def columns(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        order = self.scores.argsort(dim=1, descending=True)[:, :_TERMS].tolist()
        scores = self.scores.tolist()
        found: dict[str, list[Any]] = {
            "id": list(ids),
            "terms": [[self.names[term] for term in one] for one in order],
            "scores": [[row[term] for term in one] for row, one in zip(scores, order, strict=True)],
        }
        if self.residues is not None:
            found["residues"] = [self._named(row)[:_RESIDUES] for row in range(len(self))]
        return found

    def shown(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        """A row for each of the likeliest terms, the most important residues beside them."""
        lines: dict[str, list[Any]] = {"id": [], "term": [], "means": [], "score": []}
        meaning = dict(zip(self.names, self.words, strict=False))
        known = self.columns(ids)
        residues: list[str] = []
        for row, name in enumerate(known["id"]):
            terms = list(zip(known["terms"][row], known["scores"][row], strict=True))
            lines["id"] += [name] + [""] * (len(terms) - 1)
            lines["term"] += [term for term, _ in terms]
            lines["means"] += [meaning.get(term, "") for term, _ in terms]
            lines["score"] += [score for _, score in terms]
            best = known["residues"][row] if "residues" in known else []
            each = -(-len(best) // max(len(terms), 1))
            residues += [
                " ".join(best[place * each : (place + 1) * each]) for place in range(len(terms))
            ]
        return {**lines, "residues": residues} if any(residues) else lines

    def write(self, folder: Path, ids: Sequence[str]) -> list[Path]:
        """``terms.parquet`` with a row for each protein and term, and ``residues.parquet`` with one
        for each residue.
        """
        from nearfar.results.writing import refuse_existing, write_table

        paths = [folder / "terms.parquet", folder / "residues.parquet"]
        for path in paths:
            refuse_existing(path)
        count = len(self.names)
        terms = {
            "id": [one for one in ids for _ in range(count)],
            "term": [*self.names] * len(ids),
            "means": [*(self.words or self.names)] * len(ids),
            "score": self.scores.flatten().tolist(),
        }
        written = [write_table(paths[0], terms)]
        if self.residues is None:
            return written
        known = self.residues.values
        owner = self.residues.owner.tolist()
        columns = {
            "id": [ids[row] for row in owner],
            "number": known.number[:, 0].tolist(),
            "insertion": [chr(code) if code else "" for code in known.number[:, 1].tolist()],
            "residue": [_LETTERS[code] for code in known.residue.tolist()],
            "importance": known.importance.tolist(),
        }
        return [*written, write_table(paths[1], columns)]

    def marked(self, folder: Path, ids: Sequence[str], origin: Path | None) -> list[Path]:
        """Structure files with each residue's importance, times 100, in the column of B-factors.

        Where the proteins come from structure files these are copied; of others C-alphas are
        written.
        """
        from nearfar.data.readers.endings import STRUCTURE_ENDINGS
        from nearfar.results.writing import file_names, refuse_existing

        if self.residues is None:
            return []
        sources = _files_of(ids, origin, STRUCTURE_ENDINGS)
        files = list(dict.fromkeys(path for path in sources if path is not None))
        alone = [row for row, path in enumerate(sources) if path is None]
        endings = [path.suffix for path in files]
        names = file_names([path.stem for path in files], "")
        targets = [folder / (name + end) for name, end in zip(names, endings, strict=True)]
        traces = [folder / name for name in file_names([ids[row] for row in alone], ".pdb")]
        for path in (*targets, *traces):
            refuse_existing(path)
        for path, target in zip(files, targets, strict=True):
            rows = [row for row, one in enumerate(sources) if one == path]
            self._copy(path, target, {ids[row].rpartition("_")[2]: row for row in rows})
        for row, target in zip(alone, traces, strict=True):
            self._trace(row, target)
        return [*targets, *traces]

    def pictures(self, samples: Any = None) -> list[str]:
        """Importance along each chain, with the residues of the known site marked."""
        from nearfar.results.residue_pictures import residue_picture

        if self.residues is None:
            return [""] * len(self)
        known = isinstance(samples, Graphs) and "site" in samples.nodes
        drawn = []
        for row in range(len(self)):
            site = samples[row : row + 1].nodes["site"].bool().tolist() if known else []
            importance = self._of(row).importance.tolist()
            drawn.append(residue_picture(importance, site if any(site) else None))
        return drawn

    def captions(self) -> list[str]:
        """The likeliest terms with their scores."""
        meaning = dict(zip(self.names, self.words, strict=False))
        order = self.scores.argsort(dim=1, descending=True)[:, :_CAPTIONED].tolist()
        scores = self.scores.tolist()
        return [
            "; ".join(
                f"{meaning.get(self.names[term], self.names[term])} {row[term]:.2f}" for term in one
            )
            for row, one in zip(scores, order, strict=True)
        ]

    @classmethod
    def telling(cls, samples: Any) -> list[int]:
        """Chains with a known site first."""
        if not isinstance(samples, Graphs) or "site" not in samples.nodes:
            return super().telling(samples)
        sites = torch.zeros(len(samples)).index_add(
            0, samples.graph, samples.nodes["site"].float().cpu()
        )
        return [int(row) for row in (sites == 0).long().argsort(stable=True)]

    def _of(self, row: int) -> Any:
        assert self.residues is not None
        return self.residues[row : row + 1].values

    def _named(self, row: int) -> list[str]:
        """Residues by their importance, such as "H57"."""
        known = self._of(row)
        order = known.importance.argsort(descending=True).tolist()
        number = known.number.tolist()
        residue = known.residue.tolist()
        return [
            f"{_LETTERS[residue[place]]}{number[place][0]}"
            f"{chr(number[place][1]) if number[place][1] else ''}"
            for place in order[:_RESIDUES]
        ]

    def _copy(self, path: Path, target: Path, rows: dict[str, int]) -> None:
        from nearfar.data.content.proteins.structures import read_structure, write_importance

        importance = {}
        for chain in read_structure(path):
            row = rows.get(chain.name.rpartition("_")[2])
            if row is None:
                continue
            values = self._of(row).importance.numpy()
            if len(values) != len(chain):
                raise UserError(
                    f"{path} has {len(chain)} residues in the chain {chain.name}, and "
                    f"{len(values)} were read before; predict it again."
                )
            importance[chain.name] = (chain, values)
        write_importance(path, target, importance)

    def _trace(self, row: int, target: Path) -> None:
        """A PDB file of C-alphas."""
        from nearfar.files import replacing

        known = self._of(row)
        places = np.asarray(known.place, dtype=np.float64)
        lines = []
        values = zip(
            known.residue.tolist(),
            known.number.tolist(),
            places.tolist(),
            known.importance.tolist(),
            strict=True,
        )
        for serial, (code, (number, letter), (x, y, z), value) in enumerate(values, 1):
            insertion = chr(letter) if letter else " "
            kind = _CODES[_LETTERS[code]]
            lines.append(
                f"ATOM  {serial % 100_000:5d}  CA  {kind} A{number % 10_000:4d}{insertion}"
                f"   {x:8.3f}{y:8.3f}{z:8.3f}  1.00{100 * value:6.2f}           C"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            temporary.write_text("\n".join([*lines, "END", ""]), encoding="utf-8")


def _files_of(ids: Sequence[str], origin: Path | None, endings: Sequence[str]) -> list[Path | None]:
    """The structure file that each chain was read from; None where there is none."""
    if origin is None:
        return [None] * len(ids)
    if origin.is_file():
        known = origin if origin.suffix.lower() in endings else None
        return [known] * len(ids)
    files: dict[str, Path] = {}
    for one in sorted(origin.rglob("*")):
        if one.suffix.lower() in endings:
            files[one.relative_to(origin).with_suffix("").as_posix()] = one
    return [files.get(one.rpartition("_")[0]) for one in ids]
