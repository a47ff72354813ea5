"""The momentum copy moves exactly as stated, and nothing else moves it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nearfar.targets.momentum import MomentumEncoder, cosine_momentum


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).double()


def test_starts_as_an_exact_frozen_copy() -> None:
    online = _network()
    target = MomentumEncoder(online)
    x = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    z = target(x)
    torch.testing.assert_close(z, online(x), rtol=0, atol=0)
    assert not z.requires_grad
    assert not any(p.requires_grad for p in target.parameters())
    assert all(p.requires_grad for p in online.parameters())


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.996, 1.0])
def test_update_is_the_weighted_mean_of_parameters(momentum: float) -> None:
    target = MomentumEncoder(_network())
    online = _network()
    before = [p.clone() for p in target.parameters()]
    target.update(online, momentum)
    for new, old, other in zip(target.parameters(), before, online.parameters(), strict=True):
        mean = momentum * old + (1 - momentum) * other.detach()
        torch.testing.assert_close(new.detach(), mean, rtol=1e-14, atol=1e-15)


def test_momentum_one_changes_no_bit_and_zero_copies_every_bit() -> None:
    target = MomentumEncoder(_network().float())
    online = _network().float()
    before = copy.deepcopy(target)
    target.update(online, 1.0)
    assert all(
        torch.equal(a, b) for a, b in zip(target.parameters(), before.parameters(), strict=True)
    )
    target.update(online, 0.0)
    assert all(
        torch.equal(a, b) for a, b in zip(target.parameters(), online.parameters(), strict=True)
    )


def test_batch_norm_statistics_follow_the_copys_own_batches() -> None:
    online = _network()
    target = MomentumEncoder(online)
    online(torch.randn(6, 5, dtype=torch.float64) + 3.0)
    before = target.module[1].running_mean.clone()
    target.update(online, 0.0)
    assert torch.equal(target.module[1].running_mean, before)
    target(torch.randn(6, 5, dtype=torch.float64))
    assert not torch.equal(target.module[1].running_mean, before)


def test_cosine_momentum_rises_from_base_to_one() -> None:
    assert cosine_momentum(0.99, 0.0) == pytest.approx(0.99, abs=1e-15)
    assert cosine_momentum(0.99, 0.5) == pytest.approx(0.995, abs=1e-15)
    assert cosine_momentum(0.99, 1.0) == 1.0


def test_restart_gives_the_copy_weights_of_its_own() -> None:
    online = _network()
    target = MomentumEncoder(online)
    target.restart()
    for layer in (0, 2):
        assert not torch.equal(target.module[layer].weight, online[layer].weight)
    assert not any(p.requires_grad for p in target.parameters())
