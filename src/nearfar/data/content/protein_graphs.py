"""Chains of proteins as graphs of residues, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nearfar.data.content.residues import Chain, residue_graph
from nearfar.errors import UserError, brief
from nearfar.rows import Graphs

__all__ = ["protein_graphs", "residue_features"]


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
