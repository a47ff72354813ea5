"""Projections, dilated encoder and running average: slow forms, invariances, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from nearfar.errors import UserError
from nearfar.networks.series.dilated import DilatedEncoder, span_mask
from nearfar.networks.series.frames import amplitude_and_phase, morlet_scales, scalogram
from nearfar.targets.running_average import RunningAverage
from tests.losses.cases import close


def slow_scalogram(x: np.ndarray, scale: float) -> np.ndarray:
    """The plain sums: convolution with the sampled integral, difference, cut."""
    t = np.linspace(-8, 8, 4096)
    step = t[1] - t[0]
    psi = np.exp(-(t**2)) * np.exp(2j * np.pi * t) / np.sqrt(np.pi)
    integral = np.conj(np.cumsum(psi) * step)
    places = [int(m / (scale * step)) for m in range(int(scale * 16) + 1)]
    kernel = np.array([integral[p] for p in places if p < 4096])[::-1]
    change = -math.sqrt(scale) * np.diff(np.convolve(x, kernel))
    excess = (len(change) - len(x)) / 2
    return np.abs(change[math.floor(excess) : len(change) - math.ceil(excess)])


@pytest.mark.parametrize("scale", [1.0, 1.7, 6.3, 40.0])
def test_the_scalogram_equals_its_plain_sums(scale: float) -> None:
    x = torch.randn(50, dtype=torch.float64)
    found = scalogram(x, [scale])[0]
    close(found, torch.from_numpy(slow_scalogram(x.numpy(), scale)), 1e-8)


def test_a_shifted_series_has_a_shifted_scalogram() -> None:
    x = torch.zeros(2, 3, 400, dtype=torch.float64)
    x[..., 150:250] = torch.randn(100, dtype=torch.float64)
    first = scalogram(x, [1.0, 4.0, 8.0])
    second = scalogram(x.roll(30, -1), [1.0, 4.0, 8.0])
    assert first.shape == (2, 3, 3, 400)
    close(first.roll(30, -1)[..., 110:290], second[..., 110:290])
    assert len(morlet_scales()) == 48


def test_the_fourier_view_keeps_the_energy() -> None:
    x = torch.randn(4, 32, dtype=torch.float64)
    amplitude, phase = amplitude_and_phase(x)
    energy = amplitude.square() * torch.tensor([1.0] + [2.0] * 15 + [1.0])
    close(energy.sum(1), x.square().sum(1))
    close(torch.fft.irfft(torch.polar(amplitude, phase), norm="ortho"), x)


def test_a_hidden_step_does_not_reach_the_blocks() -> None:
    encoder = DilatedEncoder(2, 8, hidden=4, depth=3).double().eval()
    x = torch.randn(2, 20, 2, dtype=torch.float64)
    mask = span_mask(2, 20, torch.Generator().manual_seed(0))
    changed = torch.where(mask[..., None], x, x + 9)
    close(encoder(x, mask), encoder(changed, mask))
    assert not torch.allclose(encoder(x), encoder(changed))
    close(encoder.pooled(x), encoder(x).amax(dim=1))
    assert 10 <= int(mask[0].sum()) <= 18


def test_the_average_is_the_mean_of_all_weights() -> None:
    layer = nn.Linear(2, 1)
    average = RunningAverage(layer)
    seen = [layer.weight.detach().clone()]
    for _ in range(5):
        with torch.no_grad():
            layer.weight.add_(torch.randn(1, 2))
        seen.append(layer.weight.detach().clone())
        average.update(layer)
    torch.testing.assert_close(average.module.weight, torch.stack(seen).mean(0))
    assert int(average.count) == 6


def test_wrong_inputs_get_one_sentence() -> None:
    with pytest.raises(UserError, match="Scales from 1 on"):
        scalogram(torch.zeros(5), [0.5])
    with pytest.raises(UserError, match="at least 2"):
        morlet_scales(1)
    with pytest.raises(UserError, match=r"\(N, T, C\)"):
        DilatedEncoder(2)(torch.zeros(3, 2))
    with pytest.raises(UserError, match="expected a share"):
        span_mask(1, 5, torch.Generator(), share=0.0)
