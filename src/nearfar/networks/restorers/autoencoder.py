"""Autoencoders and the small enlarger that MS-SSIM training compares objectives on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from torch import Tensor, nn

from nearfar.errors import UserError
from nearfar.ranges import checked, whole_number

__all__ = ["SRCNN", "ConvolutionalAutoencoder", "DenseAutoencoder"]


class DenseAutoencoder(nn.Module):
    """Input, hidden, code, hidden, output, all fully connected.

    Args:
        shape: (C, H, W) of the images.
        hidden: Units of the hidden layers.
        code: Units of the code: a quarter to a sixteenth of the input in the paper.
        gaussian: Whether the encoder gives mean and log variance, for a variational autoencoder.

    Shapes:
        encode: (N, C, H, W) to (N, code), or (N, 2 code) if ``gaussian``.
        decode: (N, code) to (N, C, H, W), from 0 to 1.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.autoencoder import DenseAutoencoder
        >>> DenseAutoencoder((1, 8, 8), 16, 4).restore(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 1, 8, 8])

    Source: Snell et al. 2017, section 4.1.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 32, 32),
        hidden: int = 512,
        code: int = 64,
        *,
        gaussian: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("hidden", hidden), ("code", code)):
            checked(Annotated[int, whole_number()], name, value)
        size = math.prod(shape)
        self.dimension = code
        self.shape = shape
        self.encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(size, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2 * code if gaussian else code),
        )
        self.decoder = nn.Sequential(
            nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, size), nn.Sigmoid()
        )

    def encode(self, x: Tensor) -> Tensor:
        """The code."""
        code: Tensor = self.encoder(x)
        return code

    def decode(self, code: Tensor) -> Tensor:
        """The images of codes."""
        made: Tensor = self.decoder(code).view(-1, *self.shape)
        return made

    def restore(self, x: Tensor) -> Tensor:
        """The images rebuilt from the mean of their codes."""
        return self.decode(self.encode(x)[:, : self.dimension])

    def forward(self, x: Tensor) -> Tensor:
        """One vector an image, the mean of its code."""
        return self.encode(x)[:, : self.dimension]


class ConvolutionalAutoencoder(nn.Module):
    """5x5 convolutions of stride 2 with batch norm and ReLU to a code, and their mirror back.

    Args:
        shape: (C, H, W) of the images; sides are multiples of 2^len(widths).
        widths: Channels of the convolutions.
        code: Units of the code.
        gaussian: Whether the encoder gives mean and log variance, for a variational autoencoder.

    Shapes:
        As ``DenseAutoencoder``.

    Raises:
        UserError: If a side is no such multiple.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.autoencoder import ConvolutionalAutoencoder
        >>> network = ConvolutionalAutoencoder((3, 16, 16), (4, 8), 6)
        >>> network.restore(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 3, 16, 16])

    Source: Snell et al. 2017, section 4.2.
    """

    def __init__(
        self,
        shape: tuple[int, int, int] = (3, 96, 96),
        widths: Sequence[int] = (32, 64, 128, 256),
        code: int = 256,
        *,
        gaussian: bool = False,
    ) -> None:
        super().__init__()
        checked(Annotated[int, whole_number()], "code", code)
        channels, height, width = shape
        unit = 2 ** len(widths)
        if not widths or height % unit or width % unit:
            raise UserError(f"{len(widths)} halvings do not divide {height} x {width} pixels.")
        self.dimension = code
        self.small = (widths[-1], height // unit, width // unit)
        size = math.prod(self.small)
        encoder: list[nn.Module] = []
        for given, made in zip([channels, *widths], widths, strict=False):
            encoder += [nn.Conv2d(given, made, 5, 2, 2), nn.BatchNorm2d(made), nn.ReLU()]
        self.encoder = nn.Sequential(
            *encoder, nn.Flatten(), nn.Linear(size, 2 * code if gaussian else code)
        )
        decoder: list[nn.Module] = []
        for given, made in zip(widths[::-1], [*widths[-2::-1], channels], strict=True):
            decoder.append(nn.ConvTranspose2d(given, made, 5, 2, 2, output_padding=1))
            decoder += [nn.BatchNorm2d(made), nn.ReLU()]
        self.widen = nn.Linear(code, size)
        self.decoder = nn.Sequential(*decoder[:-2], nn.Sigmoid())

    def encode(self, x: Tensor) -> Tensor:
        """The code."""
        code: Tensor = self.encoder(x)
        return code

    def decode(self, code: Tensor) -> Tensor:
        """The images of codes."""
        made: Tensor = self.decoder(self.widen(code).relu().view(-1, *self.small))
        return made

    def restore(self, x: Tensor) -> Tensor:
        """The images rebuilt from the mean of their codes."""
        return self.decode(self.encode(x)[:, : self.dimension])

    def forward(self, x: Tensor) -> Tensor:
        """One vector an image, the mean of its code."""
        return self.encode(x)[:, : self.dimension]


class SRCNN(nn.Module):
    """Three convolutions, 9x9, 1x1 and 5x5, on images enlarged beforehand.

    Args:
        channels: Channels of the images.
        widths: Channels of the first two convolutions.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.autoencoder import SRCNN
        >>> SRCNN(1).restore(torch.zeros(1, 1, 9, 9)).shape
        torch.Size([1, 1, 9, 9])

    Source: Dong et al. 2016 (SRCNN); as in Snell et al. 2017, section 4.3.
    """

    def __init__(self, channels: int = 1, widths: tuple[int, int] = (64, 32)) -> None:
        super().__init__()
        self.dimension = widths[1]
        self.features = nn.Sequential(
            nn.Conv2d(channels, widths[0], 9, padding=4),
            nn.ReLU(),
            nn.Conv2d(widths[0], widths[1], 1),
            nn.ReLU(),
        )
        self.last = nn.Conv2d(widths[1], channels, 5, padding=2)

    def restore(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        made: Tensor = self.last(self.features(x))
        return made

    def forward(self, x: Tensor) -> Tensor:
        """One vector an image, (N, widths[1])."""
        features: Tensor = self.features(x)
        return features.mean(dim=(2, 3))
