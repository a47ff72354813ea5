"""What a batch is made of: N samples of one kind, as a tensor, tokens, named parts, lists or
graphs.

A tensor is the usual kind. The other kinds are small frozen values here. All of them have a length,
can be restricted to some of their samples and moved to a device, and can be joined. Each function
over kinds is a ``singledispatch``, so that a new kind registers itself and nothing else changes.
"""

from __future__ import annotations

from nearfar.rows.generic import (
    Rows,
    concatenate,
    map_tensors,
    pieces_of,
    sample_shape,
    select,
    tensors_of,
)
from nearfar.rows.graphs import Graphs
from nearfar.rows.indices import width_of
from nearfar.rows.named_tensors import from_named_tensors, named_tensors
from nearfar.rows.nodes import Nodes
from nearfar.rows.parts import Parts, part_named
from nearfar.rows.picked import Picked
from nearfar.rows.ragged import Ragged
from nearfar.rows.tokens import Tokens
from nearfar.rows.whole import Whole, rows_of

__all__ = [
    "Graphs",
    "Nodes",
    "Parts",
    "Picked",
    "Ragged",
    "Rows",
    "Tokens",
    "Whole",
    "concatenate",
    "from_named_tensors",
    "map_tensors",
    "named_tensors",
    "part_named",
    "pieces_of",
    "rows_of",
    "sample_shape",
    "select",
    "tensors_of",
    "width_of",
]
