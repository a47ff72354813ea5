"""How a view is coloured: torchvision's colour operators with one parameter a sample, for whole
batches.

All operators take and give (N, C, H, W) floats in [0, 1] and equal torchvision's on float images
(to rounding). Operators on uint8 or PIL images differ from both by their rounding to 256 levels
after each step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nearfar.views.rows import change_rows

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


def luma(images: Tensor) -> Tensor:
    """Perceived lightness (N, 1, H, W) of RGB images (ITU-R 601 weights); the mean of the channels
    for any other number.
    """
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    red, green, blue = images.unbind(1)
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).unsqueeze(1)


def greyscale(images: Tensor) -> Tensor:
    """All channels replaced by the luma, same shape."""
    return luma(images).expand_as(images)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with black; ``factor`` (N,) at least 0, 1 changes nothing."""
    return (images * factor.to(images).view(-1, 1, 1, 1)).clamp_(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean luma of the image, or each of other than 1 or 3 channels with its own
    mean; ``factor`` (N,) at least 0, 1 changes nothing.
    """
    return _blend(_flat(images), images, factor)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the image's own luma; ``factor`` (N,) at least 0, 1 changes nothing."""
    return _blend(luma(images), images, factor)


def _flat(images: Tensor) -> Tensor:
    """What images without contrast are: (N, 1, 1, 1), or (N, C, 1, 1) where channels are no
    colours.
    """
    shades = luma(images) if images.shape[1] in (1, 3) else images
    return shades.mean((2, 3), keepdim=True)


def _blend(other: Tensor, images: Tensor, factor: Tensor, out: Tensor | None = None) -> Tensor:
    return torch.lerp(other, images, factor.to(images).view(-1, 1, 1, 1), out=out).clamp_(0, 1)


def adjust_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by ``shift`` (N,) of the full circle, in [-0.5, 0.5]; other than RGB images are
    returned as they are.

    The exact HSV rotation in closed form. On the hue circle, counted in sixths from cyan (so that
    red lies at +-3),

        hue = +-(1 + (max + R - G - B) / (max - min)), with the sign of B - G,

    and each channel is max - (max - min) * clamp(ramp, 0, 1), where the ramp depends on the
    distance from the channel's own
    hue only: 2 - |hue| for red, |hue + 1| - 1 for green, |hue - 1| - 1 for blue.
    """
    if images.shape[1] != 3:
        return images
    red, green, blue = images.unbind(1)
    # Two at a time: a reduction over three channels takes twice as long.
    largest = torch.maximum(red, green).maximum(blue)
    chroma = largest - torch.minimum(red, green).minimum(blue)
    sixth = images.new_full((), 1 / 6)
    # Here hue is counted in full circles, which takes two passes fewer.
    hue = (largest + red).sub_(green).sub_(blue)
    hue = torch.addcdiv(sixth, hue, chroma.clamp_min(torch.finfo(images.dtype).tiny), value=1 / 6)
    hue = hue.copysign_(blue - green).add_(shift.to(images).view(-1, 1, 1))
    hue.sub_(hue.round())
    # torch.rsub(x, b, alpha=a) is b - a x in one pass.
    ramps = (
        torch.rsub(hue.abs(), 2, alpha=6),
        torch.rsub((hue + 1 / 6).abs_(), -1, alpha=-6),
        torch.rsub((hue - 1 / 6).abs_(), -1, alpha=-6),
    )
    turned = torch.empty_like(images)
    for channel, ramp in enumerate(ramps):
        torch.addcmul(largest, ramp.clamp_(0, 1), chroma, value=-1, out=turned[:, channel])
    return turned


def colour_jitter(images: Tensor, rows: Tensor, factors: Tensor, order: Tensor) -> None:
    """Brightness, contrast, saturation and hue of some samples, in an order of each sample's own;
    in place.

    Brightness, contrast and saturation are one operation (a blend, with black, the mean luma or the
    own luma), so samples need to be grouped only by the turn at which their hue is changed.

    Args:
        images: (N, C, H, W) float in [0, 1], changed in place.
        rows: int64 numbers of the samples to change.
        factors: (N, 4) of brightness, contrast, saturation, and the shift of the hue.
        order: (N, 4) int64, which of the four (0 to 3 in that order) comes first, second, third,
            last.
    """
    hue_turn = (order[rows] == HUE).int().argmax(1)
    for turn in range(4):

        def jitter(part: Tensor, index: Tensor, turn: int = turn) -> Tensor:
            return _jitter(part, factors[index].to(part), order[index].to(part.device), turn)

        change_rows(images, rows[hue_turn == turn], jitter)


def _jitter(images: Tensor, factors: Tensor, order: Tensor, hue_turn: int) -> Tensor:
    """The four operations for samples that all change their hue at the same turn; overwrites
    ``images``.
    """
    for turn in range(4):
        if turn == hue_turn:
            images = adjust_hue(images, factors[:, HUE])
            continue
        kind = order[:, turn]
        if images.shape[1] not in (1, 3):
            other = _flat(images) * _flag(kind == CONTRAST, images)
            other = other + luma(images) * _flag(kind == SATURATION, images)
            images = _blend(other, images, factors.gather(1, kind[:, None]), out=images)
            continue
        grey = luma(images)
        mean = grey.mean((2, 3), keepdim=True) * _flag(kind == CONTRAST, images)
        other = grey.mul_(_flag(kind == SATURATION, images)).add_(mean)
        images = _blend(other, images, factors.gather(1, kind[:, None]), out=images)
    return images


def _flag(chosen: Tensor, images: Tensor) -> Tensor:
    return chosen.to(images).view(-1, 1, 1, 1)


def solarise(images: Tensor) -> Tensor:
    """Invert every value of one half or more: what torchvision's ``solarize`` does at the threshold
    0.5.
    """
    return torch.minimum(images, 1 - images)
