"""Eraser, corrector and INFWIDE: shapes, known sizes, that every weight learns, wrong inputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nearfar.errors import UserError
from nearfar.losses.restoration.rolling_shutter import SCANS, row_encoding
from nearfar.networks.restorers.corrector import DualCorrector
from nearfar.networks.restorers.eraser import Eraser, EraserCritic, TextHead
from nearfar.networks.restorers.infwide import INFWIDE, Denoiser


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def every_weight_learns(network: nn.Module, value: Tensor) -> None:
    value.backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still, f"no gradient reaches {still}"


def test_the_eraser_drafts_at_three_sizes_and_learns() -> None:
    network = Eraser(3, 4)
    made = network(torch.rand(2, 3, 32, 48))
    assert made.quarter.shape == (2, 3, 8, 12)
    assert made.half.shape == (2, 3, 16, 24)
    assert made.full.shape == made.refined.shape == made.mask_logits.shape == (2, 3, 32, 48)
    parts = (made.quarter, made.half, made.full, made.refined, made.mask_logits)
    every_weight_learns(network, sum(part.square().sum() for part in parts))
    restored = network.restore(torch.rand(1, 3, 16, 16))
    assert restored.min() >= 0
    assert restored.max() <= 1
    head = TextHead(4)
    logits = head(made.features.detach())
    assert logits.shape == (2, 3, 32, 48)
    every_weight_learns(head, logits.square().sum())


def test_the_critic_sees_text_twice() -> None:
    critic = EraserCritic(3, 4, depth=3)
    x, mask = torch.rand(2, 3, 32, 32), torch.ones(2, 3, 32, 32)
    mask[:, :, :8] = 0
    every_weight_learns(critic, critic(x, mask).square().sum())
    critic.eval()
    assert not torch.equal(critic(x, mask), critic(x, torch.ones_like(mask)))


def test_the_corrector_makes_three_frames_and_learns() -> None:
    network = DualCorrector(3, 4)
    rows = [row_encoding(20, reference, scan) for scan in SCANS for reference in (0.0, 9.5, 19.0)]
    encodings = torch.stack(rows).float()[None, :, :, None].expand(2, 6, 20, 24)
    first, second = torch.rand(2, 2, 3, 20, 24)
    made = network(first, second, encodings)
    assert made.frames.shape == (2, 3, 3, 20, 24)
    assert [d.shape[2] for d in made.displacements] == [4, 8, 16, 32]
    every_weight_learns(network, made.frames.square().sum() + made.displacements[-1].square().sum())


def test_rows_at_the_reference_do_not_move() -> None:
    network = DualCorrector(1, 4)
    image = torch.rand(1, 1, 32, 32)
    made = network(image, image, torch.zeros(1, 6, 32, 32))
    assert not made.displacements[-1].any()


def test_infwide_has_the_known_sizes_and_learns() -> None:
    with torch.device("meta"):
        assert size(Denoiser()) == 4_254_240
        assert size(INFWIDE().features) == 39_712
    network = INFWIDE(3, 4)
    made = network(torch.rand(2, 3, 12, 14), torch.rand(2, 1, 5, 5))
    assert made.half.shape == (2, 3, 6, 7)
    assert made.full.shape == made.denoised.shape == (2, 3, 12, 14)
    every_weight_learns(network, made.half.square().sum() + made.full.square().sum())
    assert network.restore(torch.rand(1, 3, 12, 12), torch.ones(1, 1, 3, 3)).max() <= 1


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="are no multiples of 16"):
        Eraser(3, 4)(torch.rand(1, 3, 20, 32))
    image = torch.rand(1, 3, 8, 8)
    with pytest.raises(UserError, match=r"encodings \(N, 6, H, W\)"):
        DualCorrector(3, 4)(image, image, image)
    with pytest.raises(UserError, match="width is 0"):
        INFWIDE(3, 0)
