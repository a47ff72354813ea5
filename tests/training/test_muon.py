"""Muon against PyTorch's own, AdamW and a singular value decomposition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from nearfar.training.optimisers.muon import Muon, orthogonalised

SHAPES = {"wide": (4, 12), "tall": (12, 4), "square": (6, 6), "another wide one": (4, 12)}


def drawn(shapes: list[tuple[int, ...]], seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


def after_steps(
    optimizer: Optimizer, parameters: list[nn.Parameter], count: int = 4
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


@pytest.mark.skipif(
    not hasattr(torch.optim, "Muon"), reason="this version of PyTorch has no Muon to compare with"
)
def test_matrices_move_as_by_pytorchs_own() -> None:
    shapes: list[tuple[int, ...]] = [*SHAPES.values()]
    ours = drawn(shapes)
    theirs = drawn(shapes)
    found = after_steps(Muon(ours, 0.02, weight_decay=0.1, dtype=torch.bfloat16), ours)
    expected = after_steps(
        torch.optim.Muon(theirs, 0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"), theirs
    )
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_all_else_moves_as_by_adamw() -> None:
    shapes: list[tuple[int, ...]] = [(5,), (), (1, 7), (7, 1), (1, 1, 3)]
    ours = drawn(shapes)
    theirs = drawn(shapes)
    found = after_steps(Muon(ours, 0.02, weight_decay=0.1), ours)
    expected = after_steps(AdamW(theirs, 0.02, weight_decay=0.1, betas=(0.9, 0.95)), theirs)
    torch.testing.assert_close(found, expected)


def test_a_convolution_moves_as_the_matrix_of_its_output_channels() -> None:
    convolution = drawn([(4, 3, 2, 2)])
    matrix = drawn([(4, 12)])
    after_steps(Muon(convolution, 0.02), convolution)
    after_steps(Muon(matrix, 0.02), matrix)
    torch.testing.assert_close(convolution[0].detach().flatten(1), matrix[0].detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES.values())
def test_singular_values_come_near_one_and_directions_stay(
    shape: tuple[int, int], dtype: torch.dtype
) -> None:
    tensor = 100 * drawn([shape])[0].detach().to(dtype)
    (found,) = orthogonalised([tensor])
    assert found.dtype == dtype
    left, _, right = torch.linalg.svd(tensor, full_matrices=False)
    among = left.mT @ found @ right.mT
    torch.testing.assert_close(
        among, among.diagonal().diag(), rtol=0, atol=1e-4 if dtype == torch.float32 else 1e-12
    )
    assert among.diagonal().min() > 0.6
    assert among.diagonal().max() < 1.3


def test_a_gradient_of_zero_changes_nothing() -> None:
    (parameter,) = drawn([(4, 12)])
    before = parameter.detach().clone()
    parameter.grad = torch.zeros_like(parameter)
    Muon([parameter], 0.1).step()
    assert torch.equal(parameter.detach(), before)
