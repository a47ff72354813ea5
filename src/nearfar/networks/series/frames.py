"""Two projections of a series: on an orthonormal basis, and on an overcomplete frame of wavelets.

Source: "Learning Without Augmenting: Unsupervised Time Series Representation Learning via Frame
Projections" 2025.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.errors import UserError

__all__ = ["amplitude_and_phase", "morlet_scales", "scalogram"]

_POINTS = 4096
_EDGE = 8.0


def amplitude_and_phase(x: Tensor) -> tuple[Tensor, Tensor]:
    """The orthonormal Fourier transform of real series (..., T) along time.

    Args:
        x: Series.

    Returns:
        Amplitude and phase, (..., T // 2 + 1) each.

    Example:
        >>> amplitude, _ = amplitude_and_phase(torch.ones(4))
        >>> amplitude
        tensor([2., 0., 0.])
    """
    found = torch.fft.rfft(x, norm="ortho")
    return found.abs(), found.angle()


def morlet_scales(count: int = 48, most: float = 128.0) -> list[float]:
    """Scales from 1 to ``most`` in equal ratios.

    >>> morlet_scales(3, 4.0)
    [1.0, 2.0, 4.0]
    """
    if count < 2 or not most > 1:
        raise UserError(f"{count} scales up to {most}; expected at least 2, above 1.")
    return [round(one, 12) for one in np.geomspace(1.0, most, count).tolist()]


def scalogram(x: Tensor, scales: list[float] | None = None) -> Tensor:
    """Amplitudes of the continuous transform with complex Morlet wavelets.

        psi(t) = exp(-t^2) exp(2 pi i t) / sqrt(pi) on [-8, 8]
        W_s = -sqrt(s) * first difference of x convolved with the sampled integral of psi(t / s)

    cut to the length of x in the middle. Series far longer than the scales lose nothing at their
    ends; near the ends x counts as 0.

    Args:
        x: (..., T).
        scales: s, from 1 on; None for ``morlet_scales()``.

    Returns:
        (..., S, T).

    Example:
        >>> wave = torch.sin(2 * torch.pi * torch.arange(400.0) / 8)
        >>> scalogram(wave, [2.0, 8.0, 32.0])[:, 200].argmax()
        tensor(1)

    Source: Frame projections 2025, with the discretisation of PyWavelets.
    """
    wanted = morlet_scales() if scales is None else scales
    if not wanted or not all(one >= 1 and math.isfinite(one) for one in wanted) or not x.shape[-1]:
        raise UserError(f"Scales from 1 on and series of some length; found {wanted[:5]}.")
    length = x.shape[-1]
    kernels = [_kernel(float(one)) for one in wanted]
    size = length + max(map(len, kernels))
    spectrum = torch.fft.fft(x.to(torch.promote_types(x.dtype, torch.float32)), size)
    rows = []
    for scale, kernel in zip(wanted, kernels, strict=True):
        taps = torch.from_numpy(kernel).to(spectrum)
        whole = torch.fft.ifft(spectrum * torch.fft.fft(taps, size))
        whole = whole[..., : length + len(kernel) - 1]
        change = -math.sqrt(scale) * (whole[..., 1:] - whole[..., :-1])
        excess = (change.shape[-1] - length) / 2
        if excess > 0:
            change = change[..., math.floor(excess) : change.shape[-1] - math.ceil(excess)]
        rows.append(change.abs())
    return torch.stack(rows, dim=-2)


@functools.lru_cache(maxsize=256)
def _kernel(scale: float) -> NDArray[np.complex128]:
    """The sampled integral of the wavelet at a scale, reversed."""
    t = np.linspace(-_EDGE, _EDGE, _POINTS)
    step = t[1] - t[0]
    wavelet = np.exp(-(t**2)) * np.exp(2j * np.pi * t) / math.sqrt(math.pi)
    integral = np.conj(np.cumsum(wavelet) * step)
    place = (np.arange(scale * (t[-1] - t[0]) + 1) / (scale * step)).astype(np.int64)
    found: NDArray[np.complex128] = integral[place[place < _POINTS]][::-1].copy()
    return found
