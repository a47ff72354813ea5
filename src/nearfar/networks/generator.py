"""A small generator of image variations, trained on the user's own images: a convolutional
variational autoencoder.

It stands where GenView has a pretrained diffusion model. Anything with ``generate(images, level,
generator)`` can take its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from nearfar.rows.levels import from_unit, largest_level
from nearfar.views.draws import randn

LEVELS = 1000
"""Noise levels run from 0 to this."""
_LARGEST = 64
_DEVIATION = 0.15
"""Standard deviation of pixels about the decoder's mean, of values in [0, 1]: small, so that
variations keep what they show.
"""


class Generator(Protocol):
    """What makes variations of images."""

    def generate(
        self, images: Tensor, level: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Variations uint8 (N, C, H, W) of images uint8 (N, C, H, W); ``level`` (N,) int64 from 0
        (close) to ``LEVELS`` (anything).
        """


class VariationalGenerator(nn.Module):
    """Variations by noise on an image's standardised latent: sqrt(a) z + sqrt(1 - a) e, with a =
    cos^2(pi / 2 * level / LEVELS).

    At level 0 an image is only reconstructed; images of more than 64 pixels a side are varied at
    64.

    Args:
        shape: (C, H, W) of the images.
        width: of the first convolution; the second is twice as wide.
        latent: dimensions.

    Attributes:
        map: images in [0, 1] to a map (N, map_dimension, H / 4, W / 4), which serves as a frozen
            encoder once fitted.

    Source: Kingma and Welling 2014, "Auto-Encoding Variational Bayes"; noise on the condition as in
        Li et al. 2024 (GenView).
    """

    def __init__(self, shape: tuple[int, ...], *, width: int = 32, latent: int = 64) -> None:
        super().__init__()
        channels, *sides = shape
        self.map_dimension = 2 * width
        self.size = tuple(4 * math.ceil(min(side, _LARGEST) / 4) for side in sides)
        inner = (2 * width, self.size[0] // 4, self.size[1] // 4)
        flat = math.prod(inner)
        self.map = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.ReLU(),
        )
        self.posterior = nn.Sequential(nn.Flatten(), nn.Linear(flat, 2 * latent))
        self.decoder = nn.Sequential(
            nn.Linear(latent, flat),
            nn.ReLU(),
            nn.Unflatten(1, inner),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(width, channels, 4, 2, 1),
            nn.Sigmoid(),
        )
        self.centre: Tensor
        self.spread: Tensor
        self.register_buffer("centre", torch.zeros(latent))
        self.register_buffer("spread", torch.ones(latent))

    def fit(
        self,
        draw: Callable[[torch.Generator], Tensor],
        steps: int,
        *,
        seed: int,
        learning_rate: float = 2e-3,
    ) -> float:
        """Train on batches of uint8 images (N, C, H, W) from ``draw``, then freeze; the last
        batch's mean squared error.

        Weights and noise come from ``seed`` alone, so that all processes fit the same generator.
        """
        source = torch.Generator().manual_seed(seed)
        self._start(source)
        self.requires_grad_(True).train()
        optimizer = torch.optim.Adam(self.parameters(), lr=learning_rate)
        error = torch.zeros(())
        with torch.enable_grad():
            for _ in range(steps):
                target = self._sized(draw(source))
                mean, log_variance = self.posterior(self.map(target)).chunk(2, dim=1)
                latent = mean + (log_variance / 2).exp() * self._noise(mean, source)
                error = (self.decoder(latent) - target).square()
                divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(
                    1
                ).mean() / 2
                optimizer.zero_grad(set_to_none=True)
                (error.flatten(1).sum(1).mean() / (2 * _DEVIATION**2) + divergence).backward()
                optimizer.step()
        self.requires_grad_(False).eval()
        with torch.no_grad():
            found = torch.cat([self._mean(self._sized(draw(source))) for _ in range(4)])
        self.centre.copy_(found.mean(0))
        self.spread.copy_(found.std(0).clamp(min=1e-3))
        return float(error.detach().mean())

    @torch.no_grad()
    def generate(
        self, images: Tensor, level: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """See ``Generator.generate``; noise from ``generator``, or torch's global state."""
        standard = (self._mean(self._sized(images)) - self.centre) / self.spread
        angle = (math.pi / 2 * level.to(standard) / LEVELS)[:, None]
        latent = angle.cos() * standard + angle.sin() * self._noise(standard, generator)
        made = self.decoder(latent * self.spread + self.centre)
        if made.shape[2:] != images.shape[2:]:
            made = interpolate(made, images.shape[2:], mode="bilinear")
        return from_unit(made, images.dtype)

    def _mean(self, x: Tensor) -> Tensor:
        mean: Tensor = self.posterior(self.map(x)).chunk(2, dim=1)[0]
        return mean

    def _sized(self, images: Tensor) -> Tensor:
        """Raw pixels as floats in [0, 1] of the working size."""
        values = images.to(self.centre.dtype) / largest_level(images.dtype)
        return (
            values
            if values.shape[2:] == self.size
            else interpolate(values, self.size, mode="bilinear", antialias=True)
        )

    @staticmethod
    def _noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
        return (torch.randn(like.shape) if generator is None else randn(like.shape, generator)).to(
            like
        )

    def _start(self, generator: torch.Generator) -> None:
        for parameter in self.parameters():
            fan = parameter[0].numel() if parameter.ndim > 1 else 0
            values = (
                torch.randn(parameter.shape, generator=generator) * (2 / fan) ** 0.5
                if fan
                else torch.zeros(parameter.shape)
            )
            with torch.no_grad():
                parameter.copy_(values)
