"""Soft sorting networks: reference values, one comparison at a time, and that they sort."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.losses.instance.sorting import bitonic_layers, odd_even_layers, soft_sort
from tests.losses.cases import close, leaves, named
from tests.losses.precision import agrees_in_lower_precision

DISTRIBUTIONS = ["cauchy", "logistic", "logistic_phi", "gaussian", "reciprocal", "optimal"]
NETWORKS = ["odd_even", "bitonic"]


@pytest.mark.parametrize("name", named("a-diffsort-case*"))
def test_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    _, _, _, network, distribution = name.split("-")
    (values,) = leaves(case, "values")
    found, permutation = soft_sort(
        values,
        steepness=float(case["hp_steepness"]),
        network=network,
        distribution=distribution,
        exponent=float(case["hp_art_lambda"]),
    )
    close(found, case["out_sorted"])
    close(permutation, case["out_perm"])
    loss = (permutation * case["in_cotangent"]).sum()
    close(torch.autograd.grad(loss, values)[0], case["out_grad_values"])


def scalar_probability(v: float, steepness: float, distribution: str) -> float:
    """Each distribution function written for one number."""
    if distribution == "logistic_phi":
        return 1 / (1 + math.exp(-steepness * v / (abs(v) + 1e-10) ** 0.25))
    v *= steepness
    if distribution == "cauchy":
        return math.atan(v) / math.pi + 0.5
    if distribution == "logistic":
        return 1 / (1 + math.exp(-v))
    if distribution == "gaussian":
        return 0.5 * math.erfc(-v / math.sqrt(2))
    if distribution == "reciprocal":
        return 0.5 * v / (2 + abs(v)) + 0.5
    if abs(v) <= 0.25:
        return v + 0.5
    return 1 / (-16 * v) if v < 0 else 1 - 1 / (16 * v)


def comparisons(network: str, wires: int) -> list[list[tuple[int, int]]]:
    """For each layer the pairs (wire of the smaller value, wire of the larger one)."""
    if network == "odd_even":
        return [[(i, i + 1) for i in range(layer % 2, wires - 1, 2)] for layer in range(wires)]
    layers = []
    blocks = math.ceil(math.log2(wires))
    missing = 2**blocks - wires
    for block in range(blocks):
        for layer in range(block + 1):
            stride = 2 ** (block - layer)
            pairs = []
            for group in range(0, 2**blocks, 2 * stride):
                for i in range(group, group + stride):
                    pair = (i - missing, i + stride - missing)
                    falling = (i // 2 ** (block + 1)) % 2 == 1
                    if min(pair) >= 0:
                        pairs.append(pair[::-1] if falling else pair)
            layers.append(pairs)
    return layers


def looped(
    values: list[float], network: str, distribution: str, steepness: float
) -> tuple[list[float], list[list[float]]]:
    n = len(values)
    x = list(values)
    p = [[float(i == j) for j in range(n)] for i in range(n)]
    for layer in comparisons(network, n):
        for a, b in layer:
            keep = scalar_probability(x[b] - x[a], steepness, distribution)
            x[a], x[b] = keep * x[a] + (1 - keep) * x[b], (1 - keep) * x[a] + keep * x[b]
            for row in p:
                row[a], row[b] = (
                    keep * row[a] + (1 - keep) * row[b],
                    (1 - keep) * row[a] + keep * row[b],
                )
    return x, p


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("wires", [2, 3, 4, 7])
def test_equals_its_loop(network: str, distribution: str, wires: int) -> None:
    values = torch.randn(wires, dtype=torch.float64)
    expected = looped(values.tolist(), network, distribution, 1.7)
    found = soft_sort(values, network=network, distribution=distribution, steepness=1.7)
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, torch.tensor(y, dtype=torch.float64))


@pytest.mark.parametrize("layers", [odd_even_layers, bitonic_layers])
@pytest.mark.parametrize("wires", [1, 2, 3, 6, 8, 13])
def test_a_layer_pairs_wires_both_ways(
    layers: Callable[[int], tuple[Tensor, Tensor]], wires: int
) -> None:
    partner, minimum = layers(wires)
    places = torch.arange(wires).expand_as(partner)
    assert torch.equal(partner.gather(1, partner), places)
    compared = partner != places
    assert torch.equal(
        (minimum ^ minimum.gather(1, partner))[compared],
        torch.ones(int(compared.sum()), dtype=torch.bool),
    )


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("wires", [1, 2, 5, 8, 11])
def test_a_steep_network_sorts(network: str, wires: int) -> None:
    """Every order of zeros and ones is sorted, hence (0-1 principle) every order of numbers."""
    bits = torch.arange(2**wires)[:, None] >> torch.arange(wires) & 1
    values = bits.double()
    found, permutation = soft_sort(values, network=network, distribution="logistic", steepness=1e3)
    torch.testing.assert_close(found, values.sort(dim=1).values)
    torch.testing.assert_close((values[:, None] @ permutation).squeeze(1), found)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_permutation_is_doubly_stochastic(network: str, distribution: str) -> None:
    values = torch.randn(3, 2, 6, dtype=torch.float64)
    found, permutation = soft_sort(
        values, network=network, distribution=distribution, steepness=3.0
    )
    ones = torch.ones(3, 2, 6, dtype=torch.float64)
    torch.testing.assert_close(permutation.sum(dim=-1), ones)
    torch.testing.assert_close(permutation.sum(dim=-2), ones)
    assert permutation.min() >= 0
    torch.testing.assert_close((values[..., None, :] @ permutation).squeeze(-2), found)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_gradcheck(network: str, distribution: str) -> None:
    values = torch.tensor([[0.3, -0.8, 1.1, 0.05, -2.0]], dtype=torch.float64, requires_grad=True)
    function = partial(soft_sort, network=network, distribution=distribution, steepness=0.9)
    assert torch.autograd.gradcheck(function, values)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_ties_stay_finite(distribution: str) -> None:
    values = torch.zeros(1, 4, requires_grad=True)
    found, permutation = soft_sort(values, distribution=distribution, steepness=10.0)
    (gradient,) = torch.autograd.grad(
        (permutation * torch.arange(16.0).view(4, 4)).sum() + found.sum(), values
    )
    assert torch.equal(found, torch.zeros(1, 4))
    assert gradient.isfinite().all()


def test_lower_precision() -> None:
    weights = torch.randn(7, 7)
    agrees_in_lower_precision(lambda x: (soft_sort(x)[1] * weights).sum(), torch.randn(4, 7))


@pytest.mark.parametrize("option", [{"network": "quick"}, {"distribution": "uniform"}])
def test_unknown_names_are_answered_with_the_known_ones(option: dict[str, str]) -> None:
    with pytest.raises(
        ValueError, match="networks are odd_even, bitonic, distributions are cauchy"
    ):
        soft_sort(torch.randn(4), **option)
