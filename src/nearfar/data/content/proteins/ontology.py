"""An ontology of terms, read from an OBO file: which terms follow from which."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from nearfar.errors import UserError, unknown_name

__all__ = ["Ontology", "read_ontology"]

_PARENTS = ("is_a",)


@dataclass(frozen=True)
class Ontology:
    """Terms and their parents; the graph has no circle.

    Attributes:
        parents: For each term the terms it is directly a kind of.
        names: A readable name for each term.
        name: Of the file, for errors.
        branches: For each term the namespace that it belongs to, such as "biological_process"; ""
            where the file names none.
    """

    parents: Mapping[str, tuple[str, ...]]
    names: Mapping[str, str]
    name: str = "the ontology"
    branches: Mapping[str, str] = field(default_factory=dict)

    @property
    def roots(self) -> tuple[str, ...]:
        """Terms without parents that have children."""
        above = {parent for parents in self.parents.values() for parent in parents}
        return tuple(
            term for term, parents in self.parents.items() if not parents and term in above
        )

    def above(self, term: str) -> set[str]:
        """The term itself and all its ancestors, without roots.

        Raises:
            UserError: If the ontology has no such term.
        """
        if term not in self.parents:
            raise unknown_name(f"term of {self.name}", term, list(self.parents))
        found: set[str] = set()
        waiting = [term]
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting += self.parents[one]
        return found - set(self.roots)

    def ancestors(self, terms: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
        """Which terms follow from each of a list, as ``evaluation.measures.terms`` takes it.

        Args:
            terms: C different terms, none of them a root.

        Returns:
            (C, A) bool, and the A terms of its columns: the given ones, then the other ancestors in
            alphabetical order.

        Example:
            >>> one = Ontology({"root": (), "a": ("root",), "b": ("a",)}, {})
            >>> one.ancestors(["b"])
            (tensor([[True, True]]), ('b', 'a'))
        """
        if len(set(terms)) < len(terms):
            raise UserError(f"A term is listed twice among {len(terms)}; list each once.")
        closed = [self.above(term) for term in terms]
        roots = set(self.roots)
        for term in terms:
            if term in roots:
                raise UserError(
                    f"{term} is a root of {self.name}, which every sample has; leave it out."
                )
        others = sorted(set().union(*closed) - set(terms)) if closed else []
        columns = (*terms, *others)
        place = {term: number for number, term in enumerate(columns)}
        table = torch.zeros(len(terms), len(columns), dtype=torch.bool)
        for row, above in enumerate(closed):
            table[row, [place[term] for term in above]] = True
        return table, columns


def read_ontology(path: Path) -> Ontology:
    """An OBO file's terms and ``is_a`` parents; obsolete terms are left out.

    Args:
        path: A local file; nothing is loaded from an address.

    Raises:
        UserError: If the file is missing, is no OBO file, has a circle, or obonet is not there.
    """
    if not path.is_file():
        raise UserError(f"There is no ontology at {path}; give the path of an .obo file.")
    try:
        import obonet
    except ImportError as error:
        raise UserError(
            "OBO files need the package obonet: pip install 'nearfar[proteins]'."
        ) from error
    try:
        with path.open(encoding="utf-8") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = obonet.read_obo(file)
    except Exception as error:  # obonet raises what it meets
        raise UserError(f"{path} cannot be read as an OBO file: {error}.") from error
    parents = {
        term: tuple(
            parent for _, parent, kind in graph.out_edges(term, keys=True) if kind in _PARENTS
        )
        for term in graph.nodes
        if "name" in graph.nodes[term]
    }
    if not parents:
        raise UserError(f"{path} holds no terms; expected an OBO file with [Term] entries.")
    missing = {one for above in parents.values() for one in above} - parents.keys()
    whole = {**parents, **dict.fromkeys(sorted(missing), ())}
    names = {term: str(graph.nodes[term].get("name", term)) for term in whole}
    _refuse_circles(whole, path)
    usual = graph.graph.get("default-namespace", "")
    usual = str(usual[0] if isinstance(usual, list) and usual else usual or "")
    branches = {term: str(graph.nodes[term].get("namespace", usual)) for term in whole}
    return Ontology(whole, names, path.name, branches)


def _refuse_circles(parents: Mapping[str, tuple[str, ...]], path: Path) -> None:
    """UserError where a term is its own ancestor."""
    children: dict[str, list[str]] = {}
    for term, above in parents.items():
        for parent in above:
            children.setdefault(parent, []).append(term)
    waits = {term: len(above) for term, above in parents.items()}
    free = [term for term, count in waits.items() if not count]
    seen = 0
    while free:
        seen += 1
        for child in children.get(free.pop(), []):
            waits[child] -= 1
            if not waits[child]:
                free.append(child)
    if seen < len(parents):
        stuck = next(term for term, count in waits.items() if count)
        raise UserError(
            f"{path.name} has a circle of is_a through {stuck}; a term cannot be its own ancestor."
        )
