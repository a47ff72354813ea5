"""Residues as numbers where no language model has described them: kind, chemistry, packing."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import one_hot

from nearfar.data.content.residues import LETTERS, Chain, physical

__all__ = ["ENCODED", "residue_encoding"]

ENCODED = 32
"""Numbers of each residue."""

_RADIUS = 10.0
_USUAL = 20.0
"""Angstrom around a C-alpha, and about as many others as lie there."""


def residue_encoding(chain: Chain) -> Tensor:
    """Each residue of a chain in numbers, (L, 32) float32.

    They are the seven of ``physical``, one of 21 for the kind of residue, whether it is in a helix
    and whether in a strand, how many C-alphas lie within 10 angstrom, and how many of these lie on
    the side chain's side. A residue without a C-alpha has no neighbours.

    Example:
        >>> from nearfar.data.content.residues import residue_codes
        >>> line = np.arange(6, dtype=np.float32).reshape(2, 3)
        >>> none = np.zeros(2, dtype=np.int64)
        >>> words = np.array(["H", "-"])
        >>> chain = Chain("a", residue_codes("AG"), none, words, line, line, line + 1, words)
        >>> residue_encoding(chain).shape
        torch.Size([2, 32])

    Source: half-sphere exposure after Hamelryck 2005, "An amino acid has two sides".
    """
    residue = torch.from_numpy(chain.residue)
    helix = torch.from_numpy(chain.secondary == "H")
    strand = torch.from_numpy(chain.secondary == "E")
    near, above = _neighbours(chain)
    numbers = [helix.float(), strand.float(), near / _USUAL - 1, 2 * above / _USUAL - 1]
    kinds = one_hot(residue, len(LETTERS)).float()
    return torch.cat([physical(residue), kinds, torch.stack(numbers, dim=1)], dim=1)


def _neighbours(chain: Chain) -> tuple[Tensor, Tensor]:
    """Others within reach of each residue, and those of them on the side chain's side."""
    near = np.zeros(len(chain), dtype=np.float32)
    above = np.zeros(len(chain), dtype=np.float32)
    there = np.flatnonzero(np.isfinite(chain.ca).all(axis=1))
    places = chain.ca[there].astype(np.float64)
    pairs = cKDTree(places).query_pairs(_RADIUS, output_type="ndarray").reshape(-1, 2)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    side = np.nan_to_num(chain.centroid[there] - chain.ca[there])
    offset = places[both[:, 1]] - places[both[:, 0]]
    upper = (offset * side[both[:, 0]]).sum(axis=1) > 0
    near[there] = np.bincount(both[:, 0], minlength=len(there))
    above[there] = np.bincount(both[:, 0], weights=upper, minlength=len(there))
    return torch.from_numpy(near), torch.from_numpy(above)
