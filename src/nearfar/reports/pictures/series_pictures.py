"""Series as small pictures with axes: every channel in its colour, all on one scale."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import torch
from torch import Tensor

from nearfar.reports.palette import COLOURS, swatch

MOST_CHANNELS = 8
"""Channels that are drawn; more would hide each other."""
_POINTS = 80
_WIDTH = 190
_HEIGHT = 96
_LEFT = 30
_RIGHT = 186
_TOP = 5
_BOTTOM = 82
_INK = "#475467"


Scale = tuple[float, float]
"""The least and the largest value of the vertical axis."""


def scale_of(series: Sequence[Tensor] | Tensor) -> Scale:
    """The range that the drawn channels of some series (C, T) fill, but for one value in 500 at
    either end.
    """
    values = torch.cat([one[:MOST_CHANNELS].reshape(-1).float() for one in series])
    values = values[values.isfinite()]
    if not len(values):
        return -1.0, 1.0
    values = values[:: max(1, len(values) // 100_000)].sort().values
    low = float(values[len(values) // 500])
    high = float(values[len(values) - 1 - len(values) // 500])
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def series_picture(series: Tensor, scale: Scale) -> str:
    """A series (C, T) as a data address; values outside the scale lie on its edge."""
    low, high = scale
    channels = series[:MOST_CHANNELS].float().nan_to_num()
    steps = channels.shape[1]
    shown = torch.nn.functional.interpolate(
        channels[None], size=min(_POINTS, steps), mode="linear" if steps > 1 else "nearest"
    )[0]
    heights = _BOTTOM - (_BOTTOM - _TOP) * ((shown - low) / (high - low)).clamp(0, 1)
    across = torch.linspace(_LEFT, _RIGHT, shown.shape[1]).tolist()
    lines = []
    for number, channel in enumerate(heights.tolist()):
        points = " ".join(f"{x:.0f},{y:.1f}" for x, y in zip(across, channel, strict=True))
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="{COLOURS[number]}" '
            'stroke-width="1.2"/>'
        )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}"><rect width="100%" height="100%" fill="#fff"/>'
        f"{_axes(scale, steps)}{''.join(lines)}</svg>"
    )
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _axes(scale: Scale, steps: int) -> str:
    """Both axes with their ends, and a thin line at zero where it is in sight."""
    low, high = scale
    frame = (
        f'<path d="M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}" fill="none" stroke="{_INK}" '
        'stroke-width="1"/>'
    )
    texts = [
        (_LEFT - 3, _TOP + 6, "end", f"{high:.3g}"),
        (_LEFT - 3, _BOTTOM, "end", f"{low:.3g}"),
        (_LEFT, _HEIGHT - 3, "start", "0"),
        (_RIGHT, _HEIGHT - 3, "end", f"{steps} steps"),
    ]
    if low < 0 < high:
        zero = _BOTTOM - (_BOTTOM - _TOP) * (-low / (high - low))
        frame += (
            f'<path d="M{_LEFT} {zero:.1f}H{_RIGHT}" stroke="{_INK}" stroke-width=".5" '
            'stroke-dasharray="2 2"/>'
        )
    return frame + "".join(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="9" '
        f'font-family="sans-serif" fill="{_INK}">{text}</text>'
        for x, y, anchor, text in texts
    )


def legend(channels: int) -> str:
    """Which colour is which channel, as HTML."""
    shown = min(channels, MOST_CHANNELS)
    names = "".join(
        f'<span class="key">{swatch(COLOURS[number])}channel {number + 1}</span>'
        for number in range(shown)
    )
    left = f" The first {shown} of {channels} channels are drawn." if channels > shown else ""
    return (
        f"<p><small>{names}All pictures of a section have one scale, in the units of the "
        f"data.{left}</small></p>"
    )
