"""SRResNet, EDSR and the critics: sizes of the papers, shapes, and that every weight learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nearfar.errors import UserError
from nearfar.networks.restorers.critic import PatchCritic
from nearfar.networks.restorers.residual import EDSR, SRResNet
from tests.losses.cases import named


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def every_weight_learns(network: nn.Module, value: torch.Tensor) -> None:
    value.square().sum().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still, f"no gradient reaches {still}"


def test_the_networks_have_the_sizes_of_the_papers() -> None:
    assert size(SRResNet(3)) == 1_549_462
    with torch.device("meta"):
        assert size(PatchCritic(3, form="dense", side=96)) == 23_565_505
    assert size(PatchCritic(9)) == 4_691_265


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", [SRResNet, EDSR])
def test_images_grow_by_the_factor(kind: Any, factor: int) -> None:
    network = kind(2, width=4, blocks=2, factor=factor)
    made = network.restore(torch.rand(2, 2, 6, 5))
    assert made.shape == (2, 2, 6 * factor, 5 * factor)
    every_weight_learns(network, made)
    assert network(torch.rand(2, 2, 6, 5)).shape == (2, network.dimension)


def test_the_vector_of_an_image_is_the_mean_of_its_body() -> None:
    network = SRResNet(1, width=4, blocks=1).eval()
    x = torch.rand(3, 1, 5, 5)
    torch.testing.assert_close(network(x), network.body(x).mean((2, 3)))


@pytest.mark.parametrize("name", named("g-srgan-pixelshuffle-*"))
def test_the_shuffle_is_the_reference_one(golden: Any, name: str) -> None:
    case = golden(name)
    factor = int(case["hp_r"])
    assert torch.equal(nn.PixelShuffle(factor)(case["in_x"]), case["out"])


@pytest.mark.parametrize(
    ("form", "shape"), [("patches", (3, 1, 4, 4)), ("dense", (3, 1)), ("pooled", (3, 1))]
)
def test_critics_judge(form: str, shape: tuple[int, ...]) -> None:
    critic = PatchCritic(3, 4, form=form, side=32, hidden=8)
    logits = critic(torch.rand(3, 3, 32, 32))
    assert logits.shape == shape
    every_weight_learns(critic, logits)
    before = critic.features(torch.rand(1, 3, 32, 32))
    after = critic.features(torch.rand(1, 3, 32, 32), activated=True)
    assert [f.shape for f in before] == [f.shape for f in after]
    assert before[4].shape == (1, 16, 8, 8)


def test_the_first_block_of_srgans_critic_has_no_norm() -> None:
    assert isinstance(PatchCritic(3, 4, form="dense", side=16).norms[0], nn.Identity)
    assert isinstance(PatchCritic(3, 4).norms[0], nn.BatchNorm2d)
    assert isinstance(PatchCritic(3, 4, form="pooled").norms[1], nn.GroupNorm)


def test_wrong_settings_are_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="factor is 3; expected 1, 2, 4 or 8"):
        SRResNet(3, factor=3)
    with pytest.raises(UserError, match="width is 0"):
        SRResNet(3, width=0)
    with pytest.raises(UserError, match="needs the side of its images"):
        PatchCritic(3, form="dense")
    with pytest.raises(UserError, match="form is 'pixel'; valid are"):
        PatchCritic(3, form="pixel")


def test_the_critic_learns_from_a_single_pixel_in_bfloat16() -> None:
    critic = PatchCritic(1, 8, form="dense", side=8).train()
    for _ in range(5):
        critic.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = critic(torch.rand(6, 1, 8, 8))
        logits.float().square().mean().backward()
        assert all(bool(p.grad.isfinite().all()) for p in critic.parameters() if p.grad is not None)


def test_of_a_single_pixel_the_centre_of_the_kernel_counts() -> None:
    critic = PatchCritic(1, 2, form="dense", side=8).double().eval()
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    features = critic.features(x, activated=True)
    assert features[-2].shape[2:] == (1, 1)
    last = critic.convolutions[-1]
    assert isinstance(last, nn.Conv2d)
    plain = critic.norms[-1](nn.Conv2d.forward(last, features[-2]))
    torch.testing.assert_close(critic.features(x)[-1], plain)
