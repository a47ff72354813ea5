"""U-Net, autoencoders and pooling: shapes, that every weight learns, and wrong settings."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nearfar.errors import UserError
from nearfar.networks.dense.pooling import generalised_mean
from nearfar.networks.restorers.autoencoder import (
    SRCNN,
    ConvolutionalAutoencoder,
    DenseAutoencoder,
)
from nearfar.networks.restorers.unet import UNet, step_embedding


def every_weight_learns(network: nn.Module, value: Tensor) -> None:
    value.square().sum().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still, f"no gradient reaches {still}"


@pytest.mark.parametrize("skip", ["cat", "add"])
@pytest.mark.parametrize("steps", [0, 8])
def test_the_unet_takes_any_size_and_every_weight_learns(skip: str, steps: int) -> None:
    network = UNet(5, 3, width=4, multipliers=(1, 2, 3), blocks=2, skip=skip, steps=steps)
    step = torch.tensor([3, 700]) if steps else None
    made = network(torch.rand(2, 5, 11, 14), step)
    assert made.shape == (2, 3, 11, 14)
    every_weight_learns(network, made)


def test_the_step_changes_the_output_and_the_input_may_be_added() -> None:
    network = UNet(3, 3, width=4, multipliers=(1, 2), blocks=1, steps=8)
    x = torch.rand(1, 3, 8, 8)
    assert not torch.equal(network(x, torch.tensor([1])), network(x, torch.tensor([900])))
    added = UNet(4, 3, width=4, multipliers=(1,), blocks=1, residual=True)
    nn.init.zeros_(added.last.weight)
    nn.init.zeros_(added.last.bias)
    y = torch.rand(1, 4, 8, 8)
    assert torch.equal(added(y), y[:, :3])
    assert step_embedding(torch.tensor([0, 5]), 6).shape == (2, 6)


@pytest.mark.parametrize("gaussian", [False, True])
def test_autoencoders_rebuild_shapes_and_codes(gaussian: bool) -> None:
    x = torch.rand(4, 1, 16, 8)
    for network in (
        DenseAutoencoder((1, 16, 8), 12, 5, gaussian=gaussian),
        ConvolutionalAutoencoder((1, 16, 8), (3, 4), 5, gaussian=gaussian),
    ):
        code = network.encode(x)
        assert code.shape == (4, 10 if gaussian else 5)
        made = network.decode(code[:, :5])
        assert made.shape == x.shape
        assert 0 <= made.min() <= made.max() <= 1
        every_weight_learns(network, made + code.sum())
        assert network(x).shape == (4, network.dimension)


def test_the_enlarger_keeps_the_size_and_learns() -> None:
    network = SRCNN(2, (4, 3))
    every_weight_learns(network, network.restore(torch.rand(1, 2, 9, 10)))
    assert network(torch.rand(1, 2, 9, 10)).shape == (1, 3)


def test_the_generalised_mean_runs_from_mean_to_maximum() -> None:
    maps = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(generalised_mean(maps, 1.0), maps.mean((2, 3)))
    torch.testing.assert_close(generalised_mean(maps, 500.0), maps.amax((2, 3)), rtol=0.02, atol=0)
    plain = (maps.clamp(min=1e-6) ** 3).mean((2, 3)) ** (1 / 3)
    torch.testing.assert_close(generalised_mean(maps), plain)


def test_wrong_settings_are_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="skip is 'mul'"):
        UNet(3, 3, skip="mul")
    with pytest.raises(UserError, match="needs steps, and others take none"):
        UNet(3, 3, width=4)(torch.rand(1, 3, 8, 8), torch.tensor([1]))
    with pytest.raises(UserError, match="multipliers are"):
        UNet(3, 3, multipliers=())
    with pytest.raises(UserError, match="do not divide 9 x 8"):
        ConvolutionalAutoencoder((1, 9, 8), (4,))
    with pytest.raises(UserError, match="width is 3"):
        step_embedding(torch.zeros(1), 3)
    with pytest.raises(UserError, match="power is 0"):
        generalised_mean(torch.rand(1, 1, 2, 2), 0)
