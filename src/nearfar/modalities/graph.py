"""Graphs of nodes with edges, such as proteins and molecules: ``Graphs``."""

from __future__ import annotations

from nearfar.data.spec import Spec
from nearfar.modalities.modality import Modality, Network

_RESIDUES = "nearfar.networks.graphs.residue_encoder:ResidueEncoder"
_TINY = (_RESIDUES, {"width": 16, "embedding": 4})

MODALITY = Modality(
    axes=0,
    plain="nearfar.views.graph:plain_graphs",
    views="nearfar.views.graph:graph_views",
    strengths="nearfar.views.graph:GraphViewSettings",
    raw="nearfar.views.graph:mean_of_nodes",
    pictures="nearfar.views.graph:adjacency_pictures",
    toy=Spec(
        "toy graphs",
        "graph",
        (),
        12,
        classes=("a", "b", "c"),
        target="class",
        nodes={"x": 5, "residue": 1, "place": 3, "secondary": 1, "site": 1, "number": 2},
    ),
    toy_samples="nearfar.testing.toy_graphs:graphs_of",
    tiny={"any": _TINY, "nodes": _TINY},
    networks={
        "residue-gcn": Network(
            summary="three residual graph convolutions, 128 wide, 0.07 M parameters",
            home=_RESIDUES,
            options={"width": 128},
            kind="nodes",
        ),
        "residue-gcn-512": Network(
            summary="the same 512 wide as in HEAL, 0.9 M parameters",
            home=_RESIDUES,
            kind="nodes",
        ),
    },
    encoders={"any": "residue-gcn", "nodes": "residue-gcn"},
    wide=False,
    query="a .pdb or .cif file",
)
