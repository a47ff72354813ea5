"""C-BSN: a denoiser whose first convolutions can be told not to see their centre."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from nearfar.errors import UserError
from nearfar.ranges import checked, whole_number

__all__ = ["BlindSpotNetwork", "MaskedConvolution", "standardised"]


class MaskedConvolution(nn.Conv2d):
    """A convolution of odd size with zeros around the image that may ignore its own place.

    Args:
        given: Channels of the input.
        made: Channels of the output.
        size: Side of the kernel, odd.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.blind_spot import MaskedConvolution
        >>> MaskedConvolution(3, 4, 5)(torch.zeros(1, 3, 6, 7), masked=True).shape
        torch.Size([1, 4, 6, 7])

    Source: Jang et al. 2023 (C-BSN), section 3.2.
    """

    def __init__(self, given: int, made: int, size: int) -> None:
        if size % 2 == 0:
            raise UserError(f"size is {size}; expected an odd number.")
        super().__init__(given, made, size, padding=size // 2)

    def forward(self, x: Tensor, *, masked: bool = False) -> Tensor:
        """(N, given, H, W) to (N, made, H, W); without the centre if ``masked``."""
        weight = self.weight
        if masked:
            keep = torch.ones_like(weight)
            keep[:, :, self.kernel_size[0] // 2, self.kernel_size[1] // 2] = 0
            weight = weight * keep
        return conv2d(x, weight, self.bias, padding=self.kernel_size[0] // 2)


class _Dilated(nn.Module):
    """x + relu(1x1(relu(3x3 dilated)))."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.b = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.b(self.a(x).relu()).relu()
        return x + added


class _Branch(nn.Module):
    def __init__(self, width: int, blocks: int, size: int, dilation: int) -> None:
        super().__init__()
        self.mask = MaskedConvolution(width, width, size)
        self.before = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(2))
        self.blocks = nn.Sequential(*(_Dilated(width, dilation) for _ in range(blocks)))
        self.after = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, masked: bool) -> Tensor:
        x = self.mask(x, masked=masked).relu()
        for convolution in self.before:
            x = convolution(x).relu()
        last: Tensor = self.after(self.blocks(x)).relu()
        return last


class BlindSpotNetwork(nn.Module):
    """Two branches of dilated convolutions behind a masked one of 3x3 and of 5x5 pixels.

    Told ``masked``, no output depends on the input at its own place: the dilations are 2 and 3.

    Args:
        channels: Channels of the images.
        width: Channels of the branches.
        blocks: Dilated blocks of each branch.
        hidden: Channels of the last hidden layers.

    Shapes:
        forward: (N, channels, H, W) to (N, channels, H, W).

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.blind_spot import BlindSpotNetwork
        >>> BlindSpotNetwork(1, 4, 1)(torch.zeros(1, 1, 8, 8), masked=True).shape
        torch.Size([1, 1, 8, 8])

    Source: Jang et al. 2023, "Self-supervised Image Denoising with Downsampled Invariance Loss and
    Conditional Blind-Spot Network".
    """

    def __init__(
        self, channels: int = 3, width: int = 128, blocks: int = 9, hidden: int = 64
    ) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("width", width), ("hidden", hidden)):
            checked(Annotated[int, whole_number()], name, value)
        self.dimension = hidden
        self.first = nn.Conv2d(channels, width, 1)
        self.branches = nn.ModuleList((_Branch(width, blocks, 3, 2), _Branch(width, blocks, 5, 3)))
        self.tail = nn.ModuleList(
            (
                nn.Conv2d(2 * width, width, 1),
                nn.Conv2d(width, hidden, 1),
                nn.Conv2d(hidden, hidden, 1),
            )
        )
        self.last = nn.Conv2d(hidden, channels, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def body(self, x: Tensor, *, masked: bool = False) -> Tensor:
        """The map before the last convolution, (N, hidden, H, W)."""
        x = self.first(x).relu()
        x = torch.cat([branch(x, masked) for branch in self.branches], dim=1)
        for convolution in self.tail:
            x = convolution(x).relu()
        return x

    def forward(self, x: Tensor, *, masked: bool = False) -> Tensor:
        """The denoised images, blind at each place if ``masked``."""
        made: Tensor = self.last(self.body(x, masked=masked))
        return made

    def restore(self, x: Tensor, *, margin: int = 32) -> Tensor:
        """Denoise whole images: standardise, reflect the borders, see everything, undo.

        Args:
            x: (N, channels, H, W) in [0, 1].
            margin: Pixels reflected at each side; at most the shorter side minus 1 is taken.
        """
        standard, mean, deviation = standardised(x)
        side = min(margin, min(x.shape[2:]) - 1)
        made = self(pad(standard, (side,) * 4, mode="reflect"))
        height, width = x.shape[2:]
        made = made[:, :, side : side + height, side : side + width]
        whole: Tensor = made * deviation + mean
        return whole.clamp(0, 1)


def standardised(image: Tensor, floor: float | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Each channel of each image minus its mean and over its deviation.

    Args:
        image: (N, C, H, W).
        floor: Least deviation; None for 1 / sqrt(H W), as at test. In training the authors take
            1 / P of crops of side P.

    Returns:
        The image, its mean and its deviation, which undo it.

    Example:
        >>> import torch
        >>> from nearfar.networks.restorers.blind_spot import standardised
        >>> image, mean, deviation = standardised(torch.rand(1, 1, 8, 8))
        >>> bool((image.mean().abs() < 1e-6) & ((image.std(correction=0) - 1).abs() < 1e-5))
        True

    Source: Jang et al. 2023 (C-BSN), the authors' code.
    """
    mean = image.mean(dim=(2, 3), keepdim=True)
    deviation = image.std(dim=(2, 3), keepdim=True, correction=0)
    least = (image.shape[2] * image.shape[3]) ** -0.5 if floor is None else floor
    deviation = deviation.clamp(min=least)
    return (image - mean) / deviation, mean, deviation
