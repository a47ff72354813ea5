"""NAFNet, window attention and the Wiener filter: reference values, sizes, limits, wrong inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nearfar.data.degradations.degradation import kernel_blur
from nearfar.errors import UserError
from nearfar.losses.restoration.structure import psnr
from nearfar.networks.restorers.nafnet import NAFNet
from nearfar.networks.restorers.rrformer import RRFormer
from nearfar.networks.restorers.swin import ShiftedWindowBlock, window_mask
from nearfar.networks.restorers.wiener import (
    image_noise,
    median3,
    noise_to_signal,
    transfer_function,
    wiener,
)
from tests.losses.cases import close, leaves, named


def weights_of(case: Any) -> dict[str, Tensor]:
    return {
        key.removeprefix("in_w_"): value
        for key, value in case.items()
        if key.startswith("in_w_") and "attn_mask" not in key
    }


@pytest.mark.parametrize("name", named("g-multiout-mhnafnet-*"))
def test_nafnet_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    combined = bool(case["hp_combine"])
    network = NAFNet(
        3, 4, encoder=(1, 1), middle=1, decoder=(1, 1), heads=3, combined=combined
    ).double()
    network.load_state_dict(weights_of(case))
    close(network.forward_heads(case["in_x"]), case["out"])


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("width", "heads", "expected"),
    [(32, 1, 17_111_907), (32, 4, 17_114_508), (64, 1, 67_888_835), (64, 4, 67_894_028)],
)
def test_nafnet_has_the_sizes_of_the_paper(width: int, heads: int, expected: int) -> None:
    with torch.device("meta"):
        assert size(NAFNet(3, width, heads=heads)) == expected


def test_nafnet_takes_any_size_and_every_weight_learns() -> None:
    network = NAFNet(2, 4, encoder=(1, 1), decoder=(1, 1), heads=2, combined=True)
    for name, parameter in network.named_parameters():
        if name.endswith(("beta", "gamma")):
            nn.init.normal_(parameter)
    x = torch.rand(2, 2, 9, 11)
    made = network.forward_heads(x)
    assert made.shape == (2, 3, 2, 9, 11)
    assert torch.equal(network.restore(x), made[:, 0])
    (made**2).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
    assert network(x).shape == (2, network.dimension)


@pytest.mark.parametrize("name", named("g-rrformer-swinblock-*"))
def test_window_attention_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    height, width = case["hp_grid"].tolist()
    window, shift = int(case["hp_window"]), int(case["hp_shift"])
    block = ShiftedWindowBlock(6, 3, window, shift).double()
    block.load_state_dict(weights_of(case))
    close(block(case["in_x"], (height, width)), case["out"])


def test_the_seam_of_a_rolled_image_is_kept_apart() -> None:
    """Tokens of an image rolled by 1 see each other if they were neighbours before."""
    mask = window_mask(4, 4, 2, 1)
    image = torch.arange(16).view(4, 4).roll((-1, -1), dims=(0, 1))
    for number, part in enumerate(mask):
        top, left = 2 * (number // 2), 2 * (number % 2)
        tokens = image[top : top + 2, left : left + 2].flatten().tolist()
        for a, one in enumerate(tokens):
            for b, other in enumerate(tokens):
                near = abs(one // 4 - other // 4) <= 1 and abs(one % 4 - other % 4) <= 1
                assert (part[a, b] == 0) == near


def test_rrformer_learns_through_its_body() -> None:
    network = RRFormer(3, hints=2, width=12, hidden=8, groups=2, blocks=2, heads=3, window=4)
    x, hints = torch.rand(2, 3, 34, 37), torch.rand(2, 2, 34, 37)
    made = network.restore(x, hints)
    assert made.shape == x.shape
    (made**2).mean().backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still
    cut = RRFormer(3, width=12, hidden=8, groups=1, blocks=2, heads=3, window=4, positive=True)
    assert cut.restore(torch.randn(1, 3, 16, 16)).min() >= 0
    with torch.device("meta"):
        whole = RRFormer(3, hints=1472)
    assert whole.embed[0].in_channels == 1475


@pytest.mark.parametrize("name", named("g-infwide-wiener-*"))
def test_the_filter_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (x,) = leaves(case, "x")
    kernel = case["in_kernel"]
    margin = kernel.shape[2]
    padded = nn.functional.pad(x, (margin,) * 4, mode="replicate")
    close(noise_to_signal(padded), case["out_nsr"])
    found = wiener(x, kernel)
    close(found, case["out_deblurred_hw"])
    found.sum().backward()
    close(x.grad, case["out_grad_x"])
    unit = kernel / kernel.sum((2, 3), keepdim=True)
    transfer = transfer_function(unit, *x.shape[2:])
    close(transfer.real, case["out_otf_real"])
    close(transfer.imag, case["out_otf_imag"])


@pytest.mark.parametrize("name", named("g-infwide-nsr-*"))
def test_noise_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    close(median3(case["in_x"]), case["out_median"])
    close(image_noise(case["in_x"]), case["out_nsr"])


def test_a_known_blur_is_undone() -> None:
    """Patches of 8 pixels under a shaky camera and noise of 0.01."""
    draw = torch.Generator().manual_seed(0)
    image = torch.rand(4, 3, 12, 12, generator=draw, dtype=torch.float64)
    image = image.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    kernel = torch.zeros(4, 1, 9, 9, dtype=torch.float64)
    for path in kernel:
        for y, x in torch.randint(-1, 2, (12, 2), generator=draw).cumsum(0).clamp(-4, 4).tolist():
            path[0, 4 + y, 4 + x] += 1 / 12
    blurred = kernel_blur(image, kernel, mode="replicate")
    blurred = blurred + 0.01 * torch.randn(blurred.shape, generator=draw, dtype=torch.float64)
    before = psnr(blurred, image, reduction="none")
    after = psnr(wiener(blurred, kernel), image, reduction="none")
    assert after.mean() > before.mean() + 3


def test_a_constant_image_stays_and_has_a_gradient() -> None:
    x = torch.full((1, 1, 8, 8), 0.5, dtype=torch.float64, requires_grad=True)
    found = wiener(x, torch.ones(1, 1, 3, 3).double())
    found.sum().backward()
    torch.testing.assert_close(found, x, rtol=1e-6, atol=1e-6)
    assert torch.isfinite(x.grad).all()


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    image = torch.rand(2, 3, 8, 8)
    with pytest.raises(UserError, match=r"Expected kernels \(2, 1, K, L\)"):
        wiener(image, torch.ones(1, 1, 3, 3))
    with pytest.raises(UserError, match="does not fit into 4 x 4"):
        transfer_function(torch.ones(1, 1, 5, 5), 4, 4)
    with pytest.raises(UserError, match="found uint8"):
        median3(image.byte())
    with pytest.raises(UserError, match="as many sizes down as up"):
        NAFNet(3, 4, encoder=(1,), decoder=(1, 1))
    with pytest.raises(UserError, match="do not fill windows of 4"):
        ShiftedWindowBlock(6, 3, 4)(torch.zeros(1, 30, 6), (5, 6))
    with pytest.raises(UserError, match="5 heads do not divide 6"):
        ShiftedWindowBlock(6, 5, 4)
    with pytest.raises(UserError, match="shift is 4"):
        ShiftedWindowBlock(6, 3, 4, 4)
