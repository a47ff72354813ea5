"""Heads side by side, and temperatures of pairs."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from nearfar.losses.instance.multi_head import gaussian_regulariser
from nearfar.networks.multi_head import MultiHead, PairTemperature


def test_heads_see_the_same_or_each_its_own_part() -> None:
    heads = MultiHead(3, lambda: nn.Linear(4, 2))
    x = torch.randn(5, 4)
    torch.testing.assert_close(heads(x)[:, 1], heads.heads[1](x))
    parts = torch.randn(5, 3, 4)
    torch.testing.assert_close(heads(parts)[:, 2], heads.heads[2](parts[:, 2]))
    assert not torch.equal(heads.heads[0].weight, heads.heads[1].weight)


@pytest.mark.parametrize("heads", [0, 3])
def test_temperatures_of_pairs_broadcast_and_stay_in_their_range(heads: int) -> None:
    module = PairTemperature(4, 0.1, 0.7, heads=heads).double()
    first = torch.randn(3, 5, 4).double()
    second = torch.randn(3, 5, 2, 4).double()
    tau = module(first[:, :, None], second)
    assert tau.shape == (3, 5, 2)
    torch.testing.assert_close(tau[1, 2, 1], module(first[:, 2], second[:, 2, 1])[1])
    assert module(100 * first, 100 * first).amax() <= 0.7
    assert module(100 * first, -100 * first).amin() >= 0.1
    same = torch.equal(module(first, first)[0], module(first[[1, 0, 2]], first[[1, 0, 2]])[1])
    assert same == (heads == 0), "one network for all heads, or one for each"


def test_the_shared_network_gives_equal_vectors_at_least_the_middle_of_the_range() -> None:
    same = normalize(torch.randn(1, 50, 4).double(), dim=-1)
    assert PairTemperature(4, 0.1, 0.7).double()(same, same).amin() >= 0.4


def test_fitted_to_positives_at_full_weight_the_joint_network_gives_the_variance() -> None:
    """With beta = 1 the positive part is a Gaussian likelihood, least at tau = 2 (1 - similarity) /
    d: it must fall with similarity.
    """
    generator = torch.Generator().manual_seed(0)
    base, noise = torch.randn(2, 1, 64, 8, generator=generator)
    first = normalize(base, dim=-1)
    second = normalize(
        first + torch.linspace(0.1, 1.5, 64)[:, None] * normalize(noise, dim=-1), dim=-1
    )
    similarity = (first * second).sum(dim=-1)
    torch.manual_seed(0)
    module = PairTemperature(8, 0.001, 1.0, heads=1)
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    for _ in range(400):
        tau = module(first, second)
        loss = (gaussian_regulariser(tau, 8) - similarity / tau).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pairs = torch.stack([tau.detach().flatten(), similarity.flatten()])
    assert torch.corrcoef(pairs)[0, 1] < -0.9
    wanted = (2 * (1 - similarity) / 8).flatten()
    assert (pairs[0] - wanted).abs().mean() < 0.25 * wanted.mean()
