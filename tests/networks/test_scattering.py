"""The scattering transform: reference filters and coefficients, its order of paths, what it is
blind to, and what is refused.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nearfar import networks
from nearfar.errors import UserError
from nearfar.networks.scattering import Scattering
from tests.losses.cases import close, named

from .specs import images


def test_filters_equal_the_reference(golden: Any) -> None:
    case = golden("b-scatsimclr-filters")
    made = Scattering(
        (16, 16), scale=int(case["hp_J"]), angles=int(case["hp_L"]), dtype=torch.float64
    )
    assert made.low_0.shape == (case["hp_M"], case["hp_N"])
    # The reference is complex64 and takes 3.1415 for pi, a relative difference of 3e-5.
    close(made.low_0, case["out_phi"].double(), rtol=1e-4)
    close(torch.cat([made.band_0_0, made.band_1_0]), case["out_psi"].double(), rtol=1e-4)


@pytest.mark.parametrize("name", named("b-scatsimclr-scattering-*"))
def test_coefficients_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    x = case["in_x"].double()
    made = Scattering(
        tuple(x.shape[2:]), scale=int(case["hp_J"]), angles=int(case["hp_L"]), dtype=torch.float64
    )
    expected = case["out_S_float64"].flatten(1, 2)
    assert made.paths * x.shape[1] == case["out_num_channels"]
    close(made(x), expected, rtol=1e-9)
    close(made(x), case["out_S"].double().flatten(1, 2), rtol=1e-4)
    single = Scattering(tuple(x.shape[2:]), scale=int(case["hp_J"]), angles=int(case["hp_L"]))
    close(single(x.float()), expected, rtol=2e-6)


def test_three_scales_follow_the_order_of_paths() -> None:
    """Each path, computed alone by plain circular convolution at full resolution, has its place."""
    made = Scattering((32, 32), scale=3, angles=2, dtype=torch.float64)
    x = torch.rand(1, 1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = made(x)[0]
    assert found.shape == (made.paths, 4, 4) == (1 + 6 + 12, 4, 4)
    (top, bottom), (left, right) = made.margins
    padded = torch.nn.functional.pad(x, (left, right, top, bottom), mode="reflect")[0, 0]

    def through(signal: torch.Tensor, spectrum: torch.Tensor) -> torch.Tensor:
        return torch.fft.ifft2(torch.fft.fft2(signal) * spectrum)

    bands = [made.get_buffer(f"band_{j}_0") for j in range(3)]
    paths = [padded]
    paths += [through(padded, bands[j][t]).abs() for j in range(3) for t in range(2)]
    for j1 in range(2):
        for t1 in range(2):
            first = through(padded, bands[j1][t1]).abs()
            paths += [
                through(first, bands[j2][t2]).abs() for j2 in range(j1 + 1, 3) for t2 in range(2)
            ]
    expected = torch.stack([through(path, made.low_0).real[8:-8:8, 8:-8:8] for path in paths])
    error = (found[:, None] - expected).flatten(2).norm(dim=2) / expected.flatten(1).norm(dim=1)
    assert error.argmin(1).tolist() == list(range(made.paths))


def test_wavelets_do_not_see_a_constant_and_the_average_keeps_it() -> None:
    made = Scattering((16, 16), scale=2, angles=4, dtype=torch.float64)
    found = made(torch.full((1, 1, 16, 16), 3.0, dtype=torch.float64))
    torch.testing.assert_close(found[:, 0], torch.full((1, 4, 4), 3.0, dtype=torch.float64))
    assert found[:, 1:].abs().max() < 1e-10


def test_a_shift_changes_coefficients_less_than_pixels() -> None:
    from nearfar.data import load

    images = load("digits").train.take(torch.arange(200)).double() / 255
    images = torch.nn.functional.interpolate(images, size=16, mode="bilinear")
    shifted = images.roll(1, 3)
    made = Scattering((16, 16), scale=2, angles=8, dtype=torch.float64)
    before = made(images)
    after = made(shifted)
    assert (after - before).norm() / before.norm() < 0.8 * (shifted - images).norm() / images.norm()


def test_nothing_in_it_learns_but_gradients_pass() -> None:
    made = Scattering((8, 8), scale=1, angles=4)
    assert not list(made.parameters())
    assert not made.state_dict()
    x = torch.rand(2, 1, 8, 8, requires_grad=True)
    made(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.any()
    blank = torch.zeros(1, 1, 8, 8, requires_grad=True)
    made(blank).sum().backward()
    assert blank.grad is not None
    assert blank.grad.isfinite().all()


def test_other_sizes_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"Images of 8 x 8 pixels are too small for scattering over 2\^3 pixels"
    ):
        Scattering((8, 8), scale=3)
    with pytest.raises(UserError, match="made for 16 x 16 pixels and was given 8 x 16"):
        Scattering((16, 16))(torch.zeros(1, 1, 8, 16))


def test_kymatio_gives_the_same() -> None:
    torch_scattering = pytest.importorskip("kymatio.torch", reason="kymatio is not installed")
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    theirs = torch_scattering.Scattering2D(J=2, shape=(32, 32), L=8)(x).flatten(1, 2)
    close(Scattering((32, 32), scale=2, angles=8)(x), theirs, rtol=1e-4)


@pytest.mark.parametrize(("blocks", "first"), [(8, 32), (12, 256), (16, 256), (30, 256), (45, 256)])
def test_adapters_have_the_papers_blocks(blocks: int, first: int) -> None:
    with torch.device("meta"):
        network = networks.build(f"scatnet{blocks}", images(3, 32, 32))
    assert network.adapter[0].weight.shape == (first, 3 * (256 + 32 + 1), 3, 3)
    assert len(network.adapter) == 3 + blocks
    assert network.dimension == 2048


def test_the_smallest_learns_fewer_parameters_than_resnet18() -> None:
    with torch.device("meta"):
        small, large = (
            networks.build(name, images(3, 96, 96)) for name in ("scatnet8", "resnet18")
        )
        assert small(torch.empty(2, 3, 96, 96)).shape == (2, 2048)
    counts = [sum(p.numel() for p in network.parameters()) for network in (small, large)]
    assert counts[0] < counts[1] / 5


def test_odd_numbers_of_angles_turn_as_the_authors_software_does() -> None:
    """With three angles the first wavelet lies along the first axis: int(3/2 - 1) = 0."""
    made = Scattering((16, 16), scale=1, angles=3, dtype=torch.float64)
    band = made.band_0_0[0]
    assert band[:, 0].abs().max() > 0.9
    assert band[0].abs().max() < 0.1
