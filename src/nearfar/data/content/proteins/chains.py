"""Protein chains as the content of a data set: graphs of residues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.data.content.proteins.protein_graphs import ENCODED, protein_graphs, residue_encoding
from nearfar.data.content.proteins.residues import Chain
from nearfar.data.options import DataOptions
from nearfar.data.spec import Spec
from nearfar.data.tables.table import Loaded
from nearfar.rows import Graphs

__all__ = ["Chains", "features_beside"]

CUTOFF = 10.0
"""Angstrom between C-alphas within which residues are linked."""


def features_beside(path: Path) -> Path | None:
    """The folder with features of residues that belongs to a table, a file or a folder of
    structures: ``NAME_features`` beside it, or ``features`` in the folder; None without.
    """
    inside = path if path.is_dir() else path.parent
    for folder in (path.parent / f"{path.stem}_features", inside / "features"):
        if folder.is_dir():
            return folder
    return None


@dataclass(frozen=True)
class Chains:
    """Chains that become graphs of residues.

    Of each residue "x" is known (features of a language model where there are some, else its kind,
    chemistry and packing), "residue" (its code), "place" (C-alpha), "secondary" (1 in a helix or
    strand), "site" (1 where it is known to belong to one) and "number" (the author's, and the
    letter of an insertion). An edge knows the "distance" of the centroids.

    Attributes:
        chains: The N chains.
        sites: For each (L,) 1 where a residue belongs to a site; None where nothing is known.
        features: Folder with features of residues, as ``residue_features`` reads it.
    """

    chains: Sequence[Chain]
    sites: Sequence[NDArray[np.float32]] | None = None
    features: Path | None = None

    @property
    def modality(self) -> str:
        return "graph"

    def load(self, rows: NDArray[np.int64], options: DataOptions, like: Spec | None) -> Loaded:
        chosen = [self.chains[row] for row in rows]
        encoded = like is not None and like.nodes.get("x") == ENCODED
        folder = None if encoded else self.features
        graphs = protein_graphs(chosen, cutoff=CUTOFF, features=folder)
        nodes = {name: value for name, value in graphs.nodes.items() if name != "physical"}
        if folder is None:
            nodes["x"] = torch.cat([residue_encoding(chain) for chain in chosen])
        nodes["place"] = torch.nan_to_num(nodes["place"])
        nodes["number"] = torch.cat([_numbers(chain) for chain in chosen])
        nodes["site"] = torch.cat([self._site(int(row)) for row in rows])
        centroid = torch.from_numpy(np.concatenate([chain.centroid for chain in chosen]))
        gap = (centroid[graphs.edges[0]] - centroid[graphs.edges[1]]).norm(dim=1)
        distance = torch.nan_to_num(gap, nan=CUTOFF)
        made = Graphs(nodes, graphs.edges, graphs.sizes, {"distance": distance})
        return Loaded(made, np.ones(len(rows), dtype=bool), _notes(folder, made))

    def _site(self, row: int) -> Tensor:
        if self.sites is None:
            return torch.zeros(len(self.chains[row]))
        return torch.from_numpy(self.sites[row])


def _numbers(chain: Chain) -> Tensor:
    """(L, 2) int64, the author's number and the insertion's letter as a number, 0 for none."""
    letters = [ord(one[0]) if one else 0 for one in chain.insertion.tolist()]
    return torch.stack([torch.from_numpy(chain.number), torch.tensor(letters)], dim=1)


def _notes(folder: Path | None, graphs: Graphs) -> list[str]:
    if folder is None:
        return ["Residues are described by their kind, physico-chemical numbers and packing."]
    width = graphs.nodes["x"].shape[1]
    return [f"Residues are described by the features of {width} numbers in {folder}."]
