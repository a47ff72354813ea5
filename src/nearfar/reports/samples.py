"""Samples as small pieces of HTML: an image, a sparkline or a text."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from nearfar.batch import Pair, Tokens
from nearfar.data.spec import Spec
from nearfar.data.tokenizer import Tokenizer
from nearfar.views.samples import denormalise

_LARGEST = 64
"""Side in pixels above which a thumbnail is shrunk."""
_LOSSLESS = 40
"""Side up to which PNG is as small as JPEG."""


def pictures(samples: Any) -> list[str]:
    """One data address (images and series) for each raw sample, or "" where there is no picture (text)."""
    if isinstance(samples, Pair):
        return pictures(samples.first)
    if isinstance(samples, Tokens):
        return [""] * len(samples)
    if samples.dtype == torch.uint8:
        return [_image(sample) for sample in samples]
    return [_sparkline(sample) for sample in samples]


def view_pictures(view: Any, spec: Spec) -> list[str]:
    """The same of a normalised view, undone; values outside the data's range are cut."""
    if isinstance(view, Tokens):
        return [""] * len(view)
    if spec.modality.startswith("image"):
        return pictures((denormalise(view, spec).clamp(0, 1) * 255).round().to(torch.uint8))
    return pictures(view)


def captions(samples: Any, tokenizer: Tokenizer | None) -> list[str]:
    """The text of each sample that has one, else ""."""
    if isinstance(samples, Pair):
        return captions(samples.second, tokenizer)
    if not isinstance(samples, Tokens) or tokenizer is None:
        return [""] * len(samples)
    return [tokenizer.decode(ids[mask].tolist()) for ids, mask in zip(samples.ids, samples.mask, strict=True)]


def element(picture: str, caption: str, *, first: bool = False) -> str:
    """A figure with a caption; the caption alone where there is no picture. The first of a row is set off."""
    text, mark = html.escape(caption), ' class="first"' if first else ""
    if not picture:
        return f"<figure{mark}><figcaption>{text}</figcaption></figure>"
    return f'<figure{mark}><img src="{picture}" alt="{text}" loading="lazy"><figcaption>{text}</figcaption></figure>'


def _image(pixels: Tensor) -> str:
    side = max(pixels.shape[1:])
    if side > _LARGEST:
        shape = [max(1, round(n * _LARGEST / side)) for n in pixels.shape[1:]]
        pixels = torch.nn.functional.interpolate(pixels[None].float(), size=shape, mode="area")[0].round().to(torch.uint8)
    if pixels.shape[0] not in (1, 3):
        pixels = pixels[:1]
    array = pixels.cpu().permute(1, 2, 0).numpy()
    kind, encoded = "jpeg" if max(pixels.shape[1:]) > _LOSSLESS else "png", io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(encoded, kind, quality=80)
    return f"data:image/{kind};base64," + base64.b64encode(encoded.getvalue()).decode()


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
