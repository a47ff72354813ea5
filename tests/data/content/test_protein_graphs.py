"""Chains as graphs of residues: each graph alone and beside others, features, errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nearfar.data.content.proteins.protein_graphs import protein_graphs
from nearfar.data.content.proteins.residues import Chain, residue_codes, residue_graph
from nearfar.data.content.proteins.structures import read_structure
from nearfar.errors import UserError
from nearfar.networks.graphs.convolution import ResidueNetwork
from nearfar.networks.graphs.multiset import MultisetPooling
from nearfar.networks.graphs.proposals import Proposals


def chain_of(sequence: str, name: str) -> Chain:
    length = len(sequence)
    places = 3.8 * np.stack([np.arange(length)] * 3, axis=1).astype(np.float32) / np.sqrt(3)
    places = places.astype(np.float32)
    return Chain(
        name,
        residue_codes(sequence),
        np.arange(length),
        np.array([""] * length),
        places,
        places,
        places,
        np.array(["H"] * length),
    )


def test_graphs_side_by_side_are_those_of_each_chain() -> None:
    chains = [chain_of("ACDE", "a_A"), chain_of("GHIKL", "b_A")]
    graphs = protein_graphs(chains)
    assert graphs.sizes.tolist() == [4, 5]
    for place, chain in enumerate(chains):
        nodes, edges = residue_graph(chain)
        alone = graphs[place : place + 1]
        assert torch.equal(alone.edges, edges)
        for name, value in nodes.items():
            assert torch.equal(alone.nodes[name], value)


def test_features_of_one_width_become_x(tmp_path: Path) -> None:
    chains = [chain_of("AC", "a_A"), chain_of("GHI", "b_A")]
    np.save(tmp_path / "a_A.npy", np.ones((2, 4), np.float32))
    np.save(tmp_path / "b_A.npy", 2 * np.ones((3, 4), np.float32))
    graphs = protein_graphs(chains, features=tmp_path)
    assert graphs.nodes["x"][:, 0].tolist() == [1, 1, 2, 2, 2]
    np.save(tmp_path / "b_A.npy", np.ones((3, 5), np.float32))
    with pytest.raises(UserError, match="4 and 5 wide"):
        protein_graphs(chains, features=tmp_path)
    with pytest.raises(UserError, match="at least one protein chain"):
        protein_graphs([])


def test_a_real_file_passes_all_networks(shared_data: Callable[[str], Path]) -> None:
    chains = read_structure(shared_data("proteins_raw") / "1hwu.pdb", gaps=True)
    graphs = protein_graphs(chains)
    nodes, sizes = graphs.nodes, graphs.sizes
    found = Proposals(7, 8)(
        nodes["physical"],
        graphs.edges,
        sizes,
        secondary=nodes["secondary"],
        places=nodes["place"],
    )
    assert torch.isfinite(found.nodes).all()
    hidden = ResidueNetwork(0, 16)(nodes["residue"], graphs.edges)
    read = MultisetPooling(16, seeds=(4, 1), heads=2)(hidden, graphs.edges, sizes)
    assert read.shape == (6, 16)
    assert torch.isfinite(read).all()
