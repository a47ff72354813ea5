"""Samples as small pieces of HTML: an image, a sparkline or a text."""

from __future__ import annotations

import base64
import html
from typing import Any

import torch
from torch import Tensor
from torchvision.io import encode_png

from nearfar.batch import Pair, Tokens

_LARGEST = 64
"""Side in pixels above which a thumbnail is shrunk."""


def pictures(samples: Any, ids: list[str]) -> list[str]:
    """One data address (images and series) for each sample, or "" where there is no picture (text)."""
    if isinstance(samples, Pair):
        return pictures(samples.first, ids)
    if isinstance(samples, Tokens):
        return [""] * len(samples)
    if samples.dtype == torch.uint8:
        return [_image(sample) for sample in samples]
    return [_sparkline(sample) for sample in samples]


def element(picture: str, caption: str) -> str:
    """A figure with a caption; the caption alone where there is no picture."""
    text = html.escape(caption)
    if not picture:
        return f"<figure><figcaption>{text}</figcaption></figure>"
    return f'<figure><img src="{picture}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def _image(pixels: Tensor) -> str:
    side = max(pixels.shape[1:])
    if side > _LARGEST:
        shape = [max(1, round(n * _LARGEST / side)) for n in pixels.shape[1:]]
        pixels = torch.nn.functional.interpolate(pixels[None].float(), size=shape, mode="area")[0].round().to(torch.uint8)
    if pixels.shape[0] not in (1, 3):
        pixels = pixels[:1]
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels.cpu()).numpy().tobytes()).decode()


def _sparkline(series: Tensor) -> str:
    """The first channels over time as one SVG, each scaled to its own range."""
    lines = []
    for channel in series[:3]:
        values = torch.nn.functional.interpolate(channel[None, None].float(), size=min(60, len(channel)))[0, 0]
        low, high = values.min(), values.max()
        heights = 30 - 28 * (values - low) / (high - low).clamp(min=1e-9)
        steps = torch.linspace(0, 64, len(heights))
        points = " ".join(f"{x:.0f},{y:.0f}" for x, y in zip(steps.tolist(), heights.tolist(), strict=True))
        lines.append(f'<polyline points="{points}" fill="none" stroke="#4269d0" stroke-width="1"/>')
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 32" width="128" height="64">{"".join(lines)}</svg>'
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
