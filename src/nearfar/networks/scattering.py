"""The wavelet scattering transform of images to the second order: fixed filters, moduli and
averages; nothing learns.

    S0 = x * phi,  S1(j, t) = |x * psi_jt| * phi,
      S2(j1, t1, j2, t2) = ||x * psi_j1t1| * psi_j2t2| * phi  with j2 > j1
phi averages over 2^J pixels, psi_jt is a Morlet wavelet at the scale 2^j and the angle t. All
convolutions are products in Fourier space; each signal is kept at the lowest resolution that its
filter allows.
Source: Bruna and Mallat 2013, "Invariant Scattering Convolution Networks", section 3; filters and
    sampling as in kymatio's
authors' software (Andreux et al. 2020), with exact pi.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nearfar.errors import UserError

_SHIFTS = 2
"""Periods on each side over which a filter is made periodic."""
_ROWS = 4
"""Images at once: the moduli of more leave the cache, which takes half as long again."""


class Scattering(nn.Module):
    """Images (N, C, H, W) to coefficients (N, C * paths, H / 2^J, W / 2^J), all paths of the first
    channel first.

    Paths are ordered: order 0; order 1 by scale, then angle; order 2 by (first scale, first angle),
    then (second scale, angle).

    Args:
        size: (H, W) of the images.
        scale: J, at least 1; the averages cover 2^J pixels.
        angles: L, number of wavelet directions, at least 1.
        dtype: of filters and coefficients, float32 or float64.

    Attributes:
        paths: 1 + L J + L^2 J (J - 1) / 2.

    Raises:
        UserError: if the images are too small for the scale.
    """

    def __init__(
        self,
        size: tuple[int, int],
        *,
        scale: int = 2,
        angles: int = 8,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.size = size
        self.scale = scale
        self.angles = angles
        self.paths = 1 + angles * scale + angles**2 * scale * (scale - 1) // 2
        self.margins = [_margin(side, scale) for side in size]
        if any(margin >= side for (_, margin), side in zip(self.margins, size, strict=True)):
            raise UserError(
                f"Images of {size[0]} x {size[1]} pixels are too small for scattering over "
                f"2^{scale} pixels; enlarge them."
            )
        padded = tuple(side + sum(margin) for side, margin in zip(size, self.margins, strict=True))
        low = _spectrum(_gabor(padded, 0.8 * 2 ** (scale - 1), 0.0, 0.0, 1.0)).real
        for level in range(scale):
            self.register_buffer(f"low_{level}", _coarser(low, level).to(dtype), persistent=False)
        for j in range(scale):
            band = torch.stack(
                [_spectrum(_morlet(padded, j, t, angles)).real for t in range(angles)]
            )
            for level in range(max(1, j)):
                self.register_buffer(
                    f"band_{j}_{level}", _coarser(band, level).to(dtype), persistent=False
                )

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != self.size:
            found = " x ".join(map(str, x.shape[2:]))
            raise UserError(
                f"This scattering was made for {self.size[0]} x {self.size[1]} pixels and was "
                f"given {found}."
            )
        return torch.cat([self._coefficients(block) for block in torch.split(x, _ROWS)])

    def _coefficients(self, x: Tensor) -> Tensor:
        (top, bottom), (left, right) = self.margins
        spectrum = _spectrum(
            pad(x.to(self.get_buffer("low_0").dtype), (left, right, top, bottom), mode="reflect")
        )
        found = [self._averaged(spectrum, 0)[:, :, None]]
        second = []
        for j in range(self.scale):
            first = self._modulus(spectrum, j, 0)
            found.append(self._averaged(first, j))
            if j + 1 < self.scale:
                deeper = [
                    self._averaged(self._modulus(first, k, j), k) for k in range(j + 1, self.scale)
                ]
                second.append(torch.cat(deeper, dim=3).flatten(2, 3))
        return torch.cat([*found, *second], dim=2).flatten(1, 2)

    def _modulus(self, spectrum: Tensor, j: int, level: int) -> Tensor:
        """Spectra (..., L, h, w) of the moduli at scale j of signals (..., h, w) that are sampled
        at 2^level pixels.
        """
        filtered = spectrum.unsqueeze(-3) * self.get_buffer(f"band_{j}_{level}")
        return _spectrum(_signal(_sampled(filtered, 2 ** (j - level))).abs())

    def _averaged(self, spectrum: Tensor, level: int) -> Tensor:
        """The average of signals sampled at 2^level pixels, at 2^J pixels and without the
        border.
        """
        filtered = _sampled(spectrum * self.get_buffer(f"low_{level}"), 2 ** (self.scale - level))
        return _signal(filtered).real[..., 1:-1, 1:-1]


def _margin(side: int, scale: int) -> tuple[int, int]:
    """Pixels before and after, so that at least one coarse pixel of border surrounds the image."""
    step = 2**scale
    missing = ((side + step) // step + 1) * step - side
    return missing // 2, (missing + 1) // 2


def _sampled(spectrum: Tensor, factor: int) -> Tensor:
    """Every ``factor``-th pixel of a signal, in Fourier space: the mean of the blocks of its
    spectrum.
    """
    if factor == 1:
        return spectrum
    rows = spectrum.shape[-2] // factor
    columns = spectrum.shape[-1] // factor
    return spectrum.reshape(*spectrum.shape[:-2], factor, rows, factor, columns).mean((-4, -2))


def _coarser(spectrum: Tensor, level: int) -> Tensor:
    """A filter for signals sampled at 2^level pixels: its high frequencies set to zero, the rest
    folded.
    """
    kept = spectrum.clone()
    factor = 1 << level
    for axis in (-2, -1):
        side = kept.shape[axis]
        start = side // (2 * factor)
        length = int(side * (1 - 1 / factor))
        kept.narrow(axis, start, length).zero_()
    return _sampled(kept, factor) * (factor * factor)


def _spectrum(signal: Tensor) -> Tensor:
    found: Tensor = torch.fft.fft2(signal)
    return found


def _signal(spectrum: Tensor) -> Tensor:
    found: Tensor = torch.fft.ifft2(spectrum)
    return found


def _gabor(
    size: tuple[int, ...], deviation: float, angle: float, frequency: float, slant: float
) -> Tensor:
    """A Gaussian times a plane wave along ``angle``, periodic on the grid, (H, W) complex128; axis
    0 is the wave's first coordinate.
    """
    cos = math.cos(angle)
    sin = math.sin(angle)
    down, across = (
        torch.arange(-_SHIFTS * side, (_SHIFTS + 1) * side, dtype=torch.float64) for side in size
    )
    along = down[:, None] * cos + across * sin
    aside = across * cos - down[:, None] * sin
    values = torch.exp(
        -(along.square() + slant**2 * aside.square()) / (2 * deviation**2) + 1j * frequency * along
    )
    periods = 2 * _SHIFTS + 1
    folded: Tensor = values.reshape(periods, size[0], periods, size[1]).sum((0, 2))
    return folded * (slant / (2 * math.pi * deviation**2))


def _morlet(size: tuple[int, ...], j: int, t: int, angles: int) -> Tensor:
    """Wavelet of zero mean at scale 2^j and the t-th of the angles."""
    shape = 0.8 * 2**j, (int(angles / 2 - 1) - t) * math.pi / angles
    wave, envelope = (
        _gabor(size, *shape, frequency, 4 / angles) for frequency in (0.75 * math.pi / 2**j, 0.0)
    )
    return wave - wave.sum() / envelope.sum() * envelope
