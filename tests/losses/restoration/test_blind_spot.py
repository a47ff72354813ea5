"""C-BSN: reference values, the blind spot, samplers undone, and wrong inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nearfar.errors import UserError
from nearfar.losses.restoration.blind_spot import (
    batch_to_space,
    blind_spot,
    draw_places,
    space_to_batch,
    subsample,
)
from nearfar.networks.restorers.blind_spot import (
    BlindSpotNetwork,
    MaskedConvolution,
    standardised,
)
from tests.losses.cases import close, leaves, named


@pytest.mark.parametrize("name", named("g-cbsn-loss-*"))
def test_the_loss_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    parts, sighted, masked = leaves(case, "f_blind_s2b", "f_unmasked", "f_masked_sub")
    terms = blind_spot(
        case["in_x"],
        batch_to_space(parts, int(case["hp_stride_b"])),
        sighted,
        masked,
        case["in_index"],
        progress=float(case["hp_step"]) / float(case["hp_ramp"]),
        invariance=float(case["hp_lambda"]),
        stride=int(case["hp_stride_i"]),
    )
    close(terms["blind"], case["out_loss_blind"])
    close(terms["invariance"], case["out_loss_inv"])
    close(terms["self"], case["out_loss_self"])
    close(terms["loss"], case["out_loss"])
    terms["loss"].backward()
    close(parts.grad, case["out_grad_f_blind_s2b"])
    close(sighted.grad, case["out_grad_f_unmasked"])
    assert masked.grad is None
    assert not case["out_grad_f_masked_sub"].any()


@pytest.mark.parametrize("name", named("g-cbsn-sampler-*"))
def test_samplers_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    stride = int(case["hp_stride_b"])
    parts = space_to_batch(case["in_x"], stride)
    assert torch.equal(parts, case["out_s2b"])
    assert torch.equal(batch_to_space(parts, stride), case["in_x"])
    found = subsample(case["in_x"], case["in_index"], int(case["hp_stride_i"]))
    assert torch.equal(found, case["out_sub"])


@pytest.mark.parametrize("name", named("g-cbsn-maskedconv-*"))
def test_the_masked_convolution_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    made, given, size, _ = case["in_weight"].shape
    layer = MaskedConvolution(given, made, size).double()
    layer.load_state_dict({"weight": case["in_weight"], "bias": case["in_bias"]})
    close(layer(case["in_x"], masked=True), case["out_masked"])
    close(layer(case["in_x"]), case["out_unmasked"])


NAMES = {
    "conv0": "first",
    "mask": "mask",
    "c2": "before.0",
    "c3": "before.1",
    "c4": "after",
    "t1": "tail.0",
    "t2": "tail.1",
    "t3": "tail.2",
    "t4": "last",
    "b1": "branches.0",
    "b2": "branches.1",
}


def renamed(key: str) -> str:
    """The network's name of a reference weight: b1.dcm0.a.w is branches.0.blocks.0.a.weight."""
    *parts, kind = key.removeprefix("in_w_").split(".")
    own = [
        f"blocks.{part[3:]}" if part.startswith("dcm") else NAMES.get(part, part) for part in parts
    ]
    return ".".join([*own, {"w": "weight", "b": "bias"}[kind]])


@pytest.mark.parametrize("name", named("g-cbsn-net-*"))
def test_the_network_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    weights = {renamed(key): value for key, value in case.items() if key.startswith("in_w_")}
    network = BlindSpotNetwork(3, 4, 2).double()
    network.load_state_dict(weights)
    for masked, word in ((True, "masked"), (False, "unmasked")):
        (x,) = leaves(case, "x")
        made = network(x, masked=masked)
        close(made, case[f"out_{word}"])
        made[0, :, 8, 8].sum().backward()
        close(x.grad, case[f"out_grad_{word}_at_8_8"])
    (x,) = leaves(case, "x")
    (slope,) = torch.autograd.grad(network(x, masked=True)[0, :, 8, 8].sum(), x)
    assert not slope[0, :, 8, 8].any()


def test_whole_images_are_restored_in_their_range() -> None:
    network = BlindSpotNetwork(1, 4, 1)
    image = torch.rand(2, 1, 10, 13)
    made = network.restore(image)
    assert made.shape == image.shape
    assert float(made.detach().min()) >= 0
    assert float(made.detach().max()) <= 1
    flat, mean, deviation = standardised(torch.full((1, 1, 4, 4), 0.3))
    assert deviation.item() == 0.25
    torch.testing.assert_close(flat * deviation + mean, torch.full((1, 1, 4, 4), 0.3))


def test_places_are_even_and_follow_the_generator() -> None:
    image = torch.zeros(1, 1, 200, 200)
    draws = [draw_places(image, 2, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert draws[0].flatten().bincount().float().std() < 80


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    image = torch.rand(1, 1, 6, 6)
    with pytest.raises(UserError, match="A stride of 4 does not divide"):
        space_to_batch(image, 4)
    with pytest.raises(UserError, match="are no multiple of 4"):
        batch_to_space(torch.rand(3, 1, 2, 2), 2)
    with pytest.raises(UserError, match="Expected whole places"):
        subsample(image, torch.zeros(1, 2, 2).long())
    with pytest.raises(UserError, match="expected an odd number"):
        MaskedConvolution(1, 1, 4)
    with pytest.raises(UserError, match="invariance is -1"):
        blind_spot(image, image, image, image, torch.zeros(1, 3, 3).long(), invariance=-1)
