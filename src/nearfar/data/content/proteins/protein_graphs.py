"""Chains of proteins as graphs of residues, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import one_hot

from nearfar.data.content.proteins.residues import LETTERS, Chain, physical, residue_graph
from nearfar.errors import UserError, brief
from nearfar.rows import Graphs

__all__ = ["ENCODED", "protein_graphs", "residue_encoding", "residue_features"]


ENCODED = 32
"""Numbers of each residue."""

_RADIUS = 10.0
_USUAL = 20.0
"""Angstrom around a C-alpha, and about as many others as lie there."""


def protein_graphs(
    chains: Sequence[Chain],
    *,
    cutoff: float = 10.0,
    centre: str = "ca",
    loops: bool = True,
    features: Path | None = None,
) -> Graphs:
    """Graphs of chains.

    Args:
        chains: At least one.
        cutoff: As in ``residue_graph``.
        centre: As in ``residue_graph``.
        loops: As in ``residue_graph``.
        features: Folder with features of residues, as ``residue_features`` reads it.

    Returns:
        One graph a chain, with the nodes of ``residue_graph`` and, where features are given, "x".

    Raises:
        UserError: Without a chain, or where features differ in width from chain to chain.
    """
    if not chains:
        raise UserError("No chain was given; expected at least one protein chain.")
    parts = [residue_graph(chain, cutoff=cutoff, centre=centre, loops=loops) for chain in chains]
    sizes = torch.tensor([len(chain) for chain in chains])
    starts = sizes.cumsum(0) - sizes
    nodes = {name: torch.cat([known[name] for known, _ in parts]) for name in parts[0][0]}
    edges = [pairs + start for (_, pairs), start in zip(parts, starts, strict=True)]
    if features is not None:
        rows = [residue_features(features, chain) for chain in chains]
        widths = sorted({one.shape[1] for one in rows})
        if len(widths) > 1:
            raise UserError(
                f"Features in {features} are {widths[0]} and {widths[1]} wide;"
                " expected one width, so make them with one model."
            )
        nodes["x"] = torch.from_numpy(np.concatenate(rows))
    return Graphs(nodes, torch.cat(edges, dim=1), sizes)


def residue_features(folder: Path, chain: Chain) -> NDArray[np.float32]:
    """Features (L, D) of a chain's residues, made elsewhere, such as by a protein language model.

    Args:
        folder: Holds ``NAME.npy`` (L, D), or ``NAME.pt`` as ESM's extraction writes it (the
            representation of the last layer), for the chain's name.
        chain: With L residues; features of fewer residues (a model reads the first 1,022) are
            filled up with zeros.

    Raises:
        UserError: If the file is missing or does not fit the chain.
    """
    path = next(
        (one for end in (".npy", ".pt") if (one := folder / f"{chain.name}{end}").is_file()), None
    )
    if path is None:
        raise UserError(
            f"There are no features of {chain.name} in {folder};"
            f" expected {chain.name}.npy or {chain.name}.pt."
        )
    found = _loaded(path)
    if found.ndim != 2 or not 0 < len(found) <= len(chain) or found.dtype.kind != "f":
        expected = f"({len(chain)}, D) floats"
        raise UserError(
            f"{path} holds {tuple(found.shape)} in {found.dtype};"
            f" expected {expected}, a row a residue."
        )
    if not np.isfinite(found).all():
        raise UserError(f"{path} holds NaN or infinity; make the features again.")
    whole = np.zeros((len(chain), found.shape[1]), dtype=np.float32)
    whole[: len(found)] = found
    return whole


def _loaded(path: Path) -> NDArray[Any]:
    try:
        if path.suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        held = torch.load(path, map_location="cpu", weights_only=True)
        layers = held["representations"]
        return np.asarray(layers[max(layers)].float().numpy())
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as features of residues: {brief(str(error))}."
        ) from error


def residue_encoding(chain: Chain) -> Tensor:
    """Each residue of a chain in numbers, (L, 32) float32.

    They are the seven of ``physical``, one of 21 for the kind of residue, whether it is in a helix
    and whether in a strand, how many C-alphas lie within 10 angstrom, and how many of these lie on
    the side chain's side. A residue without a C-alpha has no neighbours.

    Example:
        >>> from nearfar.data.content.proteins.residues import residue_codes
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
