"""Samples as tensors by name, and back: what a program that runs without nearfar takes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import Any

from torch import Tensor

from nearfar.rows.graphs import Graphs
from nearfar.rows.nodes import Nodes
from nearfar.rows.tokens import Tokens

__all__ = ["from_named_tensors", "named_tensors"]


@singledispatch
def named_tensors(samples: Any) -> dict[str, Tensor]:
    """The tensors that samples are made of, by name.

    Example:
        >>> import torch
        >>> texts = Tokens(torch.ones(1, 4, dtype=torch.int64), torch.ones(1, 4, dtype=torch.bool))
        >>> list(named_tensors(torch.zeros(2, 3))), list(named_tensors(texts))
        (['input'], ['ids', 'mask'])

    Raises:
        TypeError: For samples that have no such form.
    """
    raise TypeError(f"Samples of the kind {type(samples).__name__} have no tensors by name.")


@named_tensors.register
def _(samples: Tensor) -> dict[str, Tensor]:
    return {"input": samples}


@named_tensors.register
def _(samples: Tokens) -> dict[str, Tensor]:
    return {"ids": samples.ids, "mask": samples.mask}


@named_tensors.register
def _(samples: Graphs) -> dict[str, Tensor]:
    return {**samples.nodes, "edges": samples.edges, "sizes": samples.sizes}


@named_tensors.register
def _(samples: Nodes) -> dict[str, Tensor]:
    return {**samples.nodes, "edges": samples.edges, "seeds": samples.seeds}


@singledispatch
def from_named_tensors(like: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Samples of the kind of ``like`` from what ``named_tensors`` gave; of what is known of nodes
    some may be missing.
    """
    raise TypeError(f"Samples of the kind {type(like).__name__} have no tensors by name.")


@from_named_tensors.register
def _(like: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
    return tensors["input"]


@from_named_tensors.register
def _(like: Tokens, tensors: Mapping[str, Tensor]) -> Tokens:
    return Tokens(tensors["ids"], tensors["mask"])


@from_named_tensors.register
def _(like: Graphs, tensors: Mapping[str, Tensor]) -> Graphs:
    nodes = {name: tensors[name] for name in like.nodes if name in tensors}
    return Graphs(nodes, tensors["edges"], tensors["sizes"])


@from_named_tensors.register
def _(like: Nodes, tensors: Mapping[str, Tensor]) -> Nodes:
    nodes = {name: tensors[name] for name in like.nodes if name in tensors}
    return Nodes(nodes, tensors["edges"], tensors["seeds"])
