"""Chains of proteins as graphs of residues, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from nearfar.data.content.residues import Chain, residue_graph
from nearfar.data.content.structures import residue_features
from nearfar.errors import UserError
from nearfar.rows import Graphs

__all__ = ["protein_graphs"]


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
