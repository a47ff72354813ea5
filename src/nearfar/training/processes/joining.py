"""The seam between ``forward`` and ``loss``: outputs of each process's samples become those of the
joined batch.

``join`` gives every process all outputs, and all compute the same loss. Each then has the same
gradient of it, so the sum of all processes' gradients is a process's own times their number, and
nothing has to travel back.

``join_rows`` is for a loss that takes ``rows``. Each process computes the share of its own rows,
backwards the gradients of all shares are added up and each process takes its rows, and
``summed_terms`` adds the shares: 1 / p of the work and memory on each of p processes.

Data parallel training averages parameter gradients over processes. Either way what comes out is
exactly the gradient that one process has on the joined batch, for parameters used before the seam
and for those used in the loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nearfar import collectives
from nearfar.errors import UserError
from nearfar.methods.method import Outputs, Summed


def join(outputs: Outputs) -> Outputs:
    """The outputs of all processes' samples, on every process, with gradient, for a loss that all
    compute.

    Tensors are concatenated in the order of ranks; their numbers of rows may differ between
    processes. ``Summed`` statistics are added. Lists, tuples and dicts are joined item by item.

    Args:
        outputs: what a method's ``forward`` gave for this process's samples.

    Returns:
        The same structure for the joined batch; ``outputs`` itself with one process.

    Raises:
        UserError: if an output is neither of these, or a scalar that is not ``Summed``.
    """
    if collectives.world() == 1:
        return outputs
    return _all_joined(outputs, _row_counts(outputs), shared=False)


@dataclass(frozen=True)
class Share:
    """Of the joined batch, what is this process's own.

    Attributes:
        rows: the range of its samples.
        part: their number over that of all.
    """

    rows: slice
    part: float


def join_rows(outputs: Outputs) -> tuple[Outputs, Share | None]:
    """As ``join``, for a loss of which each process computes its own rows' share.

    Returns:
        The joined outputs, and this process's share. None instead where all must compute the whole
        after all: with one process, or when a process has no sample, or outputs differ in their
        number of rows.
    """
    if collectives.world() == 1:
        return outputs, None
    counts = _row_counts(outputs)
    shared = all(one == counts[0] for one in counts) and min(counts[0], default=0) > 0
    joined = _all_joined(outputs, counts, shared=shared)
    if not shared:
        return joined, None
    own = _own_rows(counts[0])
    return joined, Share(own, (own.stop - own.start) / sum(counts[0]))


def summed_terms(terms: Mapping[str, Tensor], share: Share) -> dict[str, Tensor]:
    """The whole's loss terms from those of every process's rows, the same on every process, with
    gradient.

    Args:
        terms: scalars. Those with a gradient are shares and added; the others are means over the
            process's rows (or alike everywhere) and averaged.
        share: this process's.
    """
    shares = torch.stack(
        [term if term.requires_grad else share.part * term for term in terms.values()]
    )
    whole = collectives.all_reduce_sum(shares).unbind()
    return {
        name: value if term.requires_grad else value.detach()
        for (name, term), value in zip(terms.items(), whole, strict=True)
    }


class _Concatenation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, counts: list[int], shared: bool) -> Tensor:
        ctx.counts = counts
        ctx.shared = shared
        return collectives.gather_parts(own, counts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        own = _own_rows(ctx.counts)
        if ctx.shared:
            return collectives.all_reduce_sum(gradient)[own], None, None
        return collectives.world() * gradient[own], None, None


def _own_rows(counts: list[int]) -> slice:
    first = sum(counts[: collectives.rank()])
    return slice(first, first + counts[collectives.rank()])


def _all_joined(outputs: Outputs, counts: list[list[int]], *, shared: bool) -> Outputs:
    each = iter(counts)
    return {name: _joined(value, each, shared) for name, value in outputs.items()}


def _joined(value: Any, counts: Iterator[list[int]], shared: bool) -> Any:
    if isinstance(value, Summed):
        return Summed(collectives.all_reduce_sum(value.value))
    if isinstance(value, Tensor):
        return _Concatenation.apply(value, next(counts), shared)
    if isinstance(value, dict):
        return {name: _joined(item, counts, shared) for name, item in value.items()}
    return type(value)(_joined(item, counts, shared) for item in value)


def _row_counts(outputs: Outputs) -> list[list[int]]:
    """For each tensor to be concatenated, in order, its rows on each process; one exchange for all
    of them.
    """
    own = torch.tensor(list(_rows(outputs)), dtype=torch.int64)
    counts: list[list[int]] = collectives.gather_rows(own).T.tolist()
    return counts


def _rows(value: Any, name: str = "outputs") -> Iterator[int]:
    if isinstance(value, Summed):
        return
    if isinstance(value, Tensor) and value.ndim:
        yield len(value)
    elif isinstance(value, dict | list | tuple):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _rows(item, f"{name}[{key!r}]")
    else:
        found = "a scalar tensor" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        expected = "expected a tensor with a row for each sample, or Summed(tensor)"
        raise UserError(f"{name} of the method is {found}; {expected}.")
