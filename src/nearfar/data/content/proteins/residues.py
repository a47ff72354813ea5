"""Residues: codes, physico-chemical numbers, and the graph of who is near whom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from nearfar.errors import UserError

__all__ = ["LETTERS", "Chain", "contacts", "physical", "residue_codes", "residue_graph"]

LETTERS = "ARNDCQEGHILKMFPSTWYVX"
"""Letters of the residue codes 0 to 20; X stands for unknown residues and gaps."""

_PROPERTIES = {
    "A": (1.28, 0.05, 1.00, 0.31, 6.11, 0.42, 0.23),
    "R": (2.34, 0.29, 6.13, -1.01, 10.74, 0.36, 0.25),
    "N": (1.60, 0.13, 2.95, -0.60, 6.52, 0.21, 0.22),
    "D": (1.60, 0.11, 2.78, -0.77, 2.95, 0.25, 0.20),
    "C": (1.77, 0.13, 2.43, 1.54, 6.35, 0.17, 0.41),
    "Q": (1.56, 0.18, 3.95, -0.22, 5.65, 0.36, 0.25),
    "E": (1.56, 0.15, 3.78, -0.64, 3.09, 0.42, 0.21),
    "G": (0.00, 0.00, 0.00, 0.00, 6.07, 0.13, 0.15),
    "H": (2.99, 0.23, 4.66, 0.13, 7.69, 0.27, 0.30),
    "I": (4.19, 0.19, 4.00, 1.80, 6.04, 0.30, 0.45),
    "L": (2.59, 0.19, 4.00, 1.70, 6.04, 0.39, 0.31),
    "K": (1.89, 0.22, 4.77, -0.99, 9.99, 0.32, 0.27),
    "M": (2.35, 0.22, 4.43, 1.23, 5.71, 0.38, 0.32),
    "F": (2.94, 0.29, 5.89, 1.79, 5.67, 0.30, 0.38),
    "P": (2.67, 0.00, 2.72, 0.72, 6.80, 0.13, 0.34),
    "S": (1.31, 0.06, 1.60, -0.04, 5.70, 0.20, 0.28),
    "T": (3.03, 0.11, 2.60, 0.26, 5.60, 0.21, 0.36),
    "W": (3.21, 0.41, 8.08, 2.25, 5.94, 0.32, 0.42),
    "Y": (2.94, 0.30, 6.47, 0.96, 5.66, 0.25, 0.41),
    "V": (3.67, 0.14, 3.00, 1.22, 6.02, 0.27, 0.49),
}
"""Steric parameter, polarisability, volume, hydrophobicity, isoelectric point, helix and sheet
propensity. Source: Meiler et al. 2001, "Generation and evaluation of dimension-reduced amino acid
parameter representations by artificial neural networks", table 1."""


@dataclass(frozen=True)
class Chain:
    """The residues of one protein chain, in their order.

    Attributes:
        name: Entry and author chain, such as "1abc_A".
        residue: (L,) int64 codes, places in ``LETTERS``.
        number: (L,) int64 residue numbers of the author.
        insertion: (L,) insertion codes, "" for none.
        ca: (L, 3) float32 coordinates of C-alpha in angstrom; NaN where there is none.
        cb: (L, 3) of C-beta; NaN where there is none, as in glycine.
        centroid: (L, 3) mean of the heavy atoms.
        secondary: (L,) "H", "E" or "-".
    """

    name: str
    residue: NDArray[np.int64]
    number: NDArray[np.int64]
    insertion: NDArray[np.str_]
    ca: NDArray[np.float32]
    cb: NDArray[np.float32]
    centroid: NDArray[np.float32]
    secondary: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.residue)

    @property
    def sequence(self) -> str:
        """One letter a residue."""
        return "".join(LETTERS[code] for code in self.residue)


def residue_codes(sequence: str) -> NDArray[np.int64]:
    """The code of each letter; letters that are no amino acid become X.

    >>> residue_codes("AVX-").tolist()
    [0, 19, 20, 20]
    """
    unknown = len(LETTERS) - 1
    return np.array(
        [LETTERS.find(one) if one in LETTERS else unknown for one in sequence.upper()],
        dtype=np.int64,
    )


def physical(residue: Tensor) -> Tensor:
    """Seven physico-chemical numbers of each residue code (...,).

    They are standardised over the twenty amino acids. Unknown residues get the mean, 0.

    >>> physical(torch.tensor([20])).tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    table = torch.tensor([_PROPERTIES[letter] for letter in LETTERS[:-1]], dtype=torch.float64)
    table = (table - table.mean(0)) / table.std(0, correction=0)
    table = torch.cat([table, table.new_zeros(1, table.shape[1])]).float()
    return table.to(residue.device)[residue]


def contacts(
    places: NDArray[np.float32], cutoff: float, *, loops: bool = True
) -> NDArray[np.int64]:
    """Pairs of residues at most ``cutoff`` apart, both directions, sorted, as (2, E) int64.

    Args:
        places: (L, 3); a residue at NaN has no contact, nor a loop.
        cutoff: In the unit of the places, above 0; a pair at exactly this distance counts.
        loops: Whether each residue is its own contact.

    Example:
        >>> contacts(np.array([[0.0, 0, 0], [1, 0, 0], [9, 0, 0]], np.float32), 2.0).tolist()
        [[0, 0, 1, 1, 2], [0, 1, 0, 1, 2]]
    """
    if not cutoff > 0 or not np.isfinite(cutoff):
        raise UserError(f"The cutoff of contacts is {cutoff} angstrom; expected a number above 0.")
    there = np.flatnonzero(np.isfinite(places).all(axis=1))
    tree = cKDTree(places[there].astype(np.float64))
    near = tree.query_pairs(cutoff, output_type="ndarray").astype(np.int64).reshape(-1, 2)
    pairs = np.concatenate([near, near[:, ::-1]])
    if loops:
        pairs = np.concatenate([pairs, np.arange(len(there))[:, None].repeat(2, axis=1)])
    found = there[pairs]
    order = np.lexsort((found[:, 1], found[:, 0]))
    return np.ascontiguousarray(found[order].T)


def residue_graph(
    chain: Chain, *, cutoff: float = 10.0, centre: str = "ca", loops: bool = True
) -> tuple[dict[str, Tensor], Tensor]:
    """A chain as a graph of residues.

    Args:
        chain: With L residues.
        cutoff: Distance of an edge in angstrom: 10 between C-alphas as in DeepFRI and HEAL, 6.9
            between centroids as in PDBSite graphs.
        centre: "ca" or "centroid".
        loops: Whether each residue has an edge to itself.

    Returns:
        Nodes by name: "residue" (L,) int64, "physical" (L, 7), "place" (L, 3) and "secondary" (L,),
        1 in a helix or strand; and edges (2, E) int64.

    Raises:
        UserError: For an unknown centre or a cutoff that is not above 0.
    """
    if centre not in ("ca", "centroid"):
        raise UserError(f"The centre of a residue is {centre!r}; expected 'ca' or 'centroid'.")
    places = chain.ca if centre == "ca" else chain.centroid
    residue = torch.from_numpy(chain.residue)
    nodes = {
        "residue": residue,
        "physical": physical(residue),
        "place": torch.from_numpy(places),
        "secondary": torch.from_numpy((chain.secondary != "-").astype(np.float32)),
    }
    return nodes, torch.from_numpy(contacts(places, cutoff, loops=loops))
