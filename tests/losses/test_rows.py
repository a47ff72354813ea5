"""Anchors from a range of rows: shares add up to the whole's loss and gradient, also over real
processes, for a part of the work.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nearfar import collectives
from nearfar.losses import clip, info_nce, moco_v3, nnclr, nt_xent, siglip, supcon
from nearfar.losses.distillation.relation import queue_relation
from nearfar.losses.instance.decoupled import cross_view_dcl, dcl, dclw, nnclr_dcl, queue_dcl
from nearfar.losses.instance.masked_contrast import grouped_clip, grouped_nt_xent
from nearfar.losses.kernels.similarity import unit
from nearfar.testing import on_processes
from nearfar.testing.allocations import Allocations

SAMPLES = 12
LABEL = torch.arange(SAMPLES) % 4
PAST = torch.eye(5, dtype=torch.float64)


def stacked(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack([unit(a), unit(b)], dim=1)


def alike(a: Tensor) -> Tensor:
    return (LABEL[:, None] == LABEL).to(a)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "nt_xent": nt_xent,
    "info_nce": info_nce,
    "info_nce symmetric": lambda a, b, **how: info_nce(a, b, symmetric=True, **how),
    "clip": lambda a, b, **how: clip(unit(a), unit(b), logit_scale=10.0, **how),
    "siglip": lambda a, b, **how: siglip(
        unit(a), unit(b), logit_scale=10.0, logit_bias=-5.0, **how
    ),
    "dcl": dcl,
    "dclw": dclw,
    "cross_view_dcl": cross_view_dcl,
    "nnclr_dcl": lambda a, b, **how: nnclr_dcl(a.flip(1), b.flip(1), a, b, **how),
    "queue_dcl": lambda a, b, **how: queue_dcl(a, b, PAST, **how) + queue_dcl(b, a, PAST, **how),
    "queue_relation": lambda a, b, **how: (
        queue_relation(a, b, PAST, **how) + queue_relation(b, a, PAST, **how)
    ),
    "moco_v3": lambda a, b, **how: moco_v3(a, b, a.flip(1), b.flip(1), **how),
    "nnclr": lambda a, b, **how: nnclr(a.flip(1), b.flip(1), a, b, **how),
    "grouped_nt_xent": lambda a, b, **how: grouped_nt_xent(a, b, LABEL, **how),
    "grouped_clip": lambda a, b, **how: grouped_clip(a, b, LABEL, **how),
    "supcon": lambda a, b, **how: supcon(stacked(a, b), LABEL, **how),
    "supcon without labels": lambda a, b, **how: supcon(stacked(a, b), **how),
    "supcon one": lambda a, b, **how: supcon(stacked(a, b), LABEL, mode="one", **how),
    "supcon mask": lambda a, b, **how: supcon(stacked(a, b), mask=alike(a), **how),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


def pair(rows: int = SAMPLES, dimension: int = 5) -> list[Tensor]:
    generator = torch.Generator().manual_seed(4)
    return [
        torch.randn(rows, dimension, generator=generator, dtype=torch.float64).requires_grad_()
        for _ in range(2)
    ]


@every_loss
@pytest.mark.parametrize("ends", [(0, 12), (0, 6, 12), (0, 1, 5, 12)])
def test_shares_of_a_partition_add_up(name: str, ends: tuple[int, ...]) -> None:
    views = pair()
    expected = LOSSES[name](*views)
    found = sum(LOSSES[name](*views, rows=slice(a, b)) for a, b in itertools.pairwise(ends))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
    for a, b in zip(
        torch.autograd.grad(found, views), torch.autograd.grad(expected, views), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    "name",
    [
        "nt_xent",
        "info_nce",
        "info_nce symmetric",
        "clip",
        "siglip",
        "dcl",
        "dclw",
        "cross_view_dcl",
    ],
)
def test_values_of_the_rows_are_those_of_the_whole(name: str) -> None:
    whole = LOSSES[name](*pair(), reduction="none")
    part = LOSSES[name](*pair(), rows=slice(3, 8), reduction="none")
    expected = whole.view(-1, SAMPLES)[:, 3:8].flatten()
    torch.testing.assert_close(part, expected, rtol=1e-12, atol=1e-13)


@every_loss
def test_each_of_four_processes_does_a_quarter_of_the_products(name: str) -> None:
    views = pair()
    quarter = slice(3, 6)

    def products(rows: slice) -> int:
        with FlopCounterMode(display=False) as counter:
            LOSSES[name](*views, rows=rows).backward()
        return counter.get_total_flops()

    assert 0 < products(quarter) <= products(slice(0, SAMPLES)) / 4


@pytest.mark.parametrize("name", ["nt_xent", "info_nce symmetric", "clip", "siglip", "dcl"])
def test_no_tensor_of_a_process_is_larger_than_a_block_of_its_rows(name: str) -> None:
    views = pair(2048, 4)
    with Allocations() as made:
        LOSSES[name](*views, rows=slice(512, 576)).backward()
    own = (
        64 * 2 if name in ("nt_xent", "dcl") else 64
    )  # these take the anchors of both views together
    assert made.largest <= 8 * own * 2 * 2048 * 1.01


def test_a_wrong_range_is_named() -> None:
    for rows in (slice(4, 4), slice(20, 30), slice(0, 8, 2)):
        with pytest.raises(
            ValueError,
            match="rows must be a range of the 12 samples with at least one of them; found slice",
        ):
            nt_xent(*pair(), rows=rows)


def own_share(names: list[str]) -> dict[str, list[Tensor]]:
    """This process's share of each loss, the sum of all shares, and the gradient of its own rows
    alone.
    """
    length = SAMPLES // collectives.world()
    own = slice(collectives.rank() * length, (collectives.rank() + 1) * length)
    found = {}
    for name in names:
        mine = [view.detach()[own].clone().requires_grad_() for view in pair()]
        placed = [
            torch.zeros(SAMPLES, 5, dtype=torch.float64).index_copy(
                0, torch.arange(SAMPLES)[own], view
            )
            for view in mine
        ]
        joined = [
            collectives.all_reduce_sum(view) for view in placed
        ]  # backwards, it adds all processes' gradients
        share = LOSSES[name](*joined, rows=own)
        gradients = torch.autograd.grad(share, mine)
        found[name] = [share.detach(), collectives.all_reduce_sum(share.detach()), *gradients]
    return found


def test_several_processes_equal_one() -> None:
    names = ["nt_xent", "clip", "siglip", "dclw", "supcon"]
    results = on_processes(own_share, names, counts=(2, 4))
    for count, told in results.items():
        for name in names:
            views = pair()
            value = LOSSES[name](*views)
            gradients = torch.autograd.grad(value, views)
            for rank, (_, total, *own) in enumerate(result[name] for result in told):
                torch.testing.assert_close(total, value.detach(), rtol=1e-12, atol=1e-13)
                for whole, found in zip(gradients, own, strict=True):
                    torch.testing.assert_close(
                        found, whole.chunk(count)[rank], rtol=1e-11, atol=1e-13
                    )
