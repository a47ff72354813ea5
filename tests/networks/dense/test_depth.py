"""Depth and motion networks: sizes of the papers, shapes, and that every weight learns."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from nearfar.errors import UserError
from nearfar.networks.dense.depth import DepthDecoder, PoseConvolutions, PoseNetwork
from nearfar.networks.dense.pyramid import ResidualPyramid


def every_weight_learns(network: nn.Module, value: Tensor) -> None:
    value.sum().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still, f"no gradient reaches {still}"


def test_the_trunk_is_that_of_resnet_18() -> None:
    ours, theirs = ResidualPyramid(3), torchvision.models.resnet18()
    theirs.fc = nn.Identity()
    own, given = list(ours.state_dict().values()), list(theirs.state_dict().values())
    assert [value.shape for value in own] == [value.shape for value in given]
    names = list(ours.state_dict())
    ours.load_state_dict(dict(zip(names, given, strict=True)))
    image = torch.rand(2, 3, 64, 64)
    expected = theirs.eval()((image - 0.45) / 0.225)
    torch.testing.assert_close(ours.eval()(image), expected, rtol=1e-4, atol=1e-4)


def test_outputs_have_their_sizes_and_every_weight_learns() -> None:
    encoder = ResidualPyramid(3, 4, blocks=(1, 1, 1, 1))
    decoder = DepthDecoder(encoder.widths, scales=3)
    network = nn.ModuleList([encoder, decoder])
    outputs = decoder(encoder.pyramid(torch.rand(2, 3, 64, 96)))
    assert [output.shape for output in outputs] == [
        (2, 1, 64, 96),
        (2, 1, 32, 48),
        (2, 1, 16, 24),
    ]
    assert all(0 < output.min() < output.max() < 1 for output in outputs)
    every_weight_learns(network, sum(output.square().mean() for output in outputs))


def test_a_pyramid_of_three_maps_serves_as_well() -> None:
    decoder = DepthDecoder((8, 16, 32), scales=2, widths=(4, 8, 8))
    maps = [torch.rand(1, width, 16 // 2**i, 16 // 2**i) for i, width in enumerate((8, 16, 32))]
    assert [output.shape for output in decoder(maps)] == [(1, 1, 32, 32), (1, 1, 16, 16)]


@pytest.mark.parametrize("kind", [PoseNetwork, PoseConvolutions])
def test_motions_are_small_and_depend_on_the_order(kind: type[nn.Module]) -> None:
    network = kind(1, 4)
    first, second = torch.rand(2, 3, 1, 32, 32)
    turn, shift = network(first, second)
    assert turn.shape == shift.shape == (3, 3)
    assert float(turn.detach().abs().max()) < 0.1
    every_weight_learns(network, turn.square().sum() + shift.square().sum())
    network.eval()
    assert not torch.equal(network(first, second)[0], network(second, first)[0])


def test_wrong_settings_are_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="scales is 6; expected from 1 to 5"):
        DepthDecoder((4,) * 5, scales=6)
    with pytest.raises(UserError, match="needs as many widths"):
        DepthDecoder((4,) * 5, widths=(4,))
    with pytest.raises(UserError, match="Expected 3 maps; found 1"):
        DepthDecoder((4, 4, 4), 1)([torch.rand(1, 4, 4, 4)])
    with pytest.raises(UserError, match="blocks are"):
        ResidualPyramid(3, blocks=(1,) * 5)
    with pytest.raises(UserError, match="blocks are"):
        ResidualPyramid(3, blocks=(1, 0))
