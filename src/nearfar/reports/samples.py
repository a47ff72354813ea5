"""Samples as small pieces of HTML: an image, a sparkline, a spectrogram, a strip of frames, points
from the side, or a text.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from nearfar.batch import Pair, Tokens
from nearfar.data.content.tokenizer import Tokenizer
from nearfar.data.spec import Spec
from nearfar.views.samples import denormalise

_LARGEST = 64
"""Side in pixels above which a thumbnail is shrunk."""
_LOSSLESS = 40
"""Side up to which PNG is as small as JPEG."""
_FRAMES = 4
"""Of a clip that are shown."""
_DOTS = 200
"""About as many points of a cloud are shown."""


def pictures(samples: Any, modality: str) -> list[str]:
    """One data address for each raw sample of a modality, or "" where there is no picture
    (text).
    """
    if isinstance(samples, Pair):
        return pictures(samples.first, "image")
    if isinstance(samples, Tokens):
        return [""] * len(samples)
    drawers: dict[str, Callable[[Tensor], str]] = {
        "image": _image,
        "audio": _spectrogram,
        "video": _strip,
        "points": _side_view,
    }
    draw = drawers.get(modality, _sparkline)
    return [draw(sample) for sample in samples]


def view_pictures(view: Any, spec: Spec) -> list[str]:
    """The same of a normalised view, undone; values outside the data's range are cut."""
    if isinstance(view, Tokens):
        return [""] * len(view)
    modality = "image" if spec.modality.startswith("image") else spec.modality
    if modality == "series":
        return pictures(view, modality)
    raw = denormalise(view, spec)
    return pictures(
        (raw.clamp(0, 1) * 255).round().to(torch.uint8) if modality in ("image", "video") else raw,
        modality,
    )


def captions(samples: Any, tokenizer: Tokenizer | None) -> list[str]:
    """The text of each sample that has one, else ""."""
    if isinstance(samples, Pair):
        return captions(samples.second, tokenizer)
    if not isinstance(samples, Tokens) or tokenizer is None:
        return [""] * len(samples)
    return [
        tokenizer.decode(ids[mask].tolist())
        for ids, mask in zip(samples.ids, samples.mask, strict=True)
    ]


def element(picture: str, caption: str, *, first: bool = False) -> str:
    """A figure with a caption; the caption alone where there is no picture. The first of a row is
    set off.
    """
    text = html.escape(caption)
    mark = ' class="first"' if first else ""
    if not picture:
        return f"<figure{mark}><figcaption>{text}</figcaption></figure>"
    return (
        f'<figure{mark}><img src="{picture}" alt="{text}" '
        f'loading="lazy"><figcaption>{text}</figcaption></figure>'
    )


def _image(pixels: Tensor, largest: int = _LARGEST) -> str:
    side = max(pixels.shape[1:])
    if side > largest:
        shape = [max(1, round(n * largest / side)) for n in pixels.shape[1:]]
        pixels = (
            torch.nn.functional.interpolate(pixels[None].float(), size=shape, mode="area")[0]
            .round()
            .to(torch.uint8)
        )
    if pixels.shape[0] not in (1, 3):
        pixels = pixels[:1]
    array = pixels.cpu().permute(1, 2, 0).numpy()
    kind = "jpeg" if max(pixels.shape[1:]) > _LOSSLESS else "png"
    encoded = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(
        encoded, kind, quality=80
    )
    return f"data:image/{kind};base64," + base64.b64encode(encoded.getvalue()).decode()


def _sparkline(series: Tensor) -> str:
    """The first channels over time as one SVG, each scaled to its own range."""
    lines = []
    for channel in series[:3]:
        values = torch.nn.functional.interpolate(
            channel[None, None].float(), size=min(60, len(channel))
        )[0, 0]
        low = values.min()
        high = values.max()
        heights = 30 - 28 * (values - low) / (high - low).clamp(min=1e-9)
        steps = torch.linspace(0, 64, len(heights))
        points = " ".join(
            f"{x:.0f},{y:.0f}" for x, y in zip(steps.tolist(), heights.tolist(), strict=True)
        )
        lines.append(f'<polyline points="{points}" fill="none" stroke="#4269d0" stroke-width="1"/>')
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 32" width="128" '
        f'height="64">{"".join(lines)}</svg>'
    )
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _spectrogram(bands: Tensor) -> str:
    """Log-mel bands (M, T), low ones below, from its 5 % quietest values (black) to its loudest
    (white).
    """
    low = bands.quantile(0.05)
    high = bands.max()
    grey = ((bands.flip(0) - low) / (high - low).clamp(min=1e-9)).clamp(0, 1)
    width = min(bands.shape[1], 2 * _LARGEST)
    resized = torch.nn.functional.interpolate(
        grey[None, None], size=(min(len(grey), _LARGEST), width), mode="area"
    )[0, 0]
    return _image((resized * 255).round().to(torch.uint8)[None], 2 * _LARGEST)


def _strip(clip: Tensor) -> str:
    """Four frames of (C, F, H, W), side by side."""
    frames = clip[:, [place * clip.shape[1] // _FRAMES for place in range(_FRAMES)]]
    return _image(torch.cat(list(frames.unbind(dim=1)), dim=2), _FRAMES * 48)


def _side_view(points: Tensor) -> str:
    """Points (3, K) seen along the second axis, height upwards, both axes at one scale."""
    shown = points[:, :: max(1, points.shape[1] // _DOTS)]
    x = shown[0]
    z = shown[2]
    extent = max(float(x.max() - x.min()), float(z.max() - z.min()), 1e-9)
    across, down = (60 * (along - (along.max() + along.min()) / 2) / extent for along in (x, z))
    dots = "".join(
        f"M{32 + a:.1f} {32 - d:.1f}h.01"
        for a, d in zip(across.tolist(), down.tolist(), strict=True)
    )
    path = f'<path d="{dots}" stroke="#4269d0" stroke-width="1.4" stroke-linecap="round"/>'
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" width="96" '
        f'height="96">{path}</svg>'
    )
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
