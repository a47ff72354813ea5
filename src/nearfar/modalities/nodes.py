"""Nodes of one large graph, such as papers that cite one another: ``Nodes``."""

from __future__ import annotations

from nearfar.data.spec import Spec
from nearfar.modalities.modality import Modality, Network

_HOME = "nearfar.networks.graphs.graph_encoder:GraphEncoder"
_TINY = (_HOME, {"width": 16})

MODALITY = Modality(
    axes=0,
    plain="nearfar.views.graph:plain_graphs",
    views="nearfar.views.nodes:node_views",
    strengths="nearfar.views.graph:GraphViewSettings",
    raw="nearfar.views.nodes:values_of_seeds",
    toy=Spec("toy nodes", "nodes", (), 12, classes=("a", "b", "c"), target="class", nodes={"x": 5}),
    toy_samples="nearfar.testing.toy_graphs:nodes_of",
    tiny={"any": _TINY, "nodes": _TINY},
    networks={
        "gcn": Network(
            summary="two graph convolutions, 256 wide; features of nodes, of graphs their mean",
            home=_HOME,
            kind="nodes",
        ),
    },
    encoders={"any": "gcn", "nodes": "gcn"},
    whole=True,
    wide=False,
)
