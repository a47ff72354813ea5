"""Graph Multiset Transformer: learned seeds attend to the nodes of a graph and read them out."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import softmax

from nearfar.errors import UserError
from nearfar.networks.graphs.convolution import GraphConvolution
from nearfar.networks.graphs.edges import Spread, padded, spread_of

__all__ = ["MultisetPooling", "SeedAttention"]


class SeedAttention(nn.Module):
    """S learned seeds attend to a multiset.

        O = Q' + softmax(Q' K^T / sqrt(width)) V,  Q' = W_q S, by heads that split the width
        O = LayerNorm(O),  O = LayerNorm(O + ReLU(W_o O))

    The root is of the full width, not of a head's, as in the authors' code.

    Args:
        width: Of seeds and items.
        seeds: S.
        heads: Must divide the width.
        graph: Whether keys and values are graph convolutions of the nodes; else they are linear.

    Source: Baek et al. 2021, "Accurate Learning of Graph Representations with Graph Multiset
    Pooling", equations 4 to 8.
    """

    def __init__(self, width: int, seeds: int, heads: int, *, graph: bool) -> None:
        super().__init__()
        if width % heads:
            raise UserError(
                f"The width {width} of a read-out does not divide by its {heads} heads."
            )
        self.heads = heads
        self.seeds = nn.Parameter(torch.empty(seeds, width))
        nn.init.xavier_uniform_(self.seeds)
        self.query = nn.Linear(width, width)
        self.key: nn.Module = GraphConvolution(width, width) if graph else nn.Linear(width, width)
        self.value: nn.Module = GraphConvolution(width, width) if graph else nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.first_norm = nn.LayerNorm(width)
        self.second_norm = nn.LayerNorm(width)

    def forward(self, keys: Tensor, values: Tensor, there: Tensor | None = None) -> Tensor:
        """(N, S, width) from keys and values (N, L, width) that ``key`` and ``value`` have made.

        Args:
            keys: Keys of each multiset.
            values: Values, 0 where no item is.
            there: (N, L) bool, which places hold an item; None for all.
        """
        seeds: Tensor = self.query(self.seeds).expand(len(keys), -1, -1)
        query, key, value = (self._split(x) for x in (seeds, keys, values))
        logits = query @ key.transpose(-1, -2) / math.sqrt(keys.shape[-1])
        if there is not None:
            logits = logits.masked_fill(~there[:, None, None], -torch.inf)
        read = query + softmax(logits, dim=-1) @ value
        made = self.first_norm(read.transpose(1, 2).flatten(2))
        result: Tensor = self.second_norm(made + self.output(made).relu())
        return result

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.heads, x.shape[-1] // self.heads).transpose(1, 2)


class MultisetPooling(nn.Module):
    """The read-out of HEAL: a linear layer, blocks of seeds one after another, a linear layer.

    Every block but the last attends to the one before it; the first attends to the nodes through
    graph convolutions. Padding is masked wherever nodes are read.

    Args:
        width: Of the nodes and of the result.
        seeds: Seeds of each block; the last has 1.
        heads: Of every block.
        hidden: Width between the linear layers; None for half of ``width``.
        form: "masked" as above; "heal" as in the authors' code, where every block reads the nodes
            again, so that only the last one counts, and padding is masked in the first block only.

    Source: Gu et al. 2023, HEAL; Baek et al. 2021.
    """

    def __init__(
        self,
        width: int,
        *,
        seeds: tuple[int, ...] = (50, 1),
        heads: int = 8,
        hidden: int | None = None,
        form: str = "masked",
    ) -> None:
        super().__init__()
        if form not in ("masked", "heal"):
            raise UserError(
                f"The form of a multiset read-out is {form!r}; expected 'masked' or 'heal'."
            )
        if not seeds or seeds[-1] != 1:
            raise UserError(
                f"The seeds of a multiset read-out are {seeds}; expected the last to be 1."
            )
        self.form = form
        inner = hidden if hidden is not None else width // 2
        self.before = nn.Linear(width, inner)
        # A dict and no list: members of lists may be kept on other processes but while they are
        # called as a whole, and these are asked for keys and values first.
        self.blocks = nn.ModuleDict(
            {
                str(place): SeedAttention(inner, count, heads, graph=form == "heal" or place == 0)
                for place, count in enumerate(seeds)
            }
        )
        self.after = nn.Linear(inner, width)

    def forward(self, nodes: Tensor, edges: Tensor | Spread, sizes: Tensor) -> Tensor:
        """One row a graph, (N, width), from nodes (M, width), edges (2, E) or what ``symmetric``
        made of them, and sizes (N,).
        """
        if int(sizes.sum()) != len(nodes):
            raise UserError(
                f"The graphs have {int(sizes.sum())} nodes by their sizes; found {len(nodes)}."
            )
        if len(sizes) and int(sizes.min()) < 1:
            raise UserError("A graph without nodes cannot be read out; leave it out.")
        whole = spread_of(edges, nodes)
        x = self.before(nodes)
        read = x
        for place, module in enumerate(self.blocks.values()):
            block = cast(SeedAttention, module)
            if place == 0 or self.form == "heal":
                keys, there = padded(block.key(x, whole), sizes)
                values, _ = padded(block.value(x, whole), sizes)
                read = block(keys, values, there if place == 0 or self.form == "masked" else None)
            else:
                read = block(block.key(read), block.value(read))
        result: Tensor = self.after(read[:, 0])
        return result
