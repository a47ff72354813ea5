"""Samples as small pieces of HTML: an image, curves, a spectrogram, a strip of frames, points
from the side, or a text.
"""

from __future__ import annotations

import base64
import html
from typing import Any

import torch
from torch import Tensor

from nearfar import modalities
from nearfar.data.content.tokenizer import Tokenizer
from nearfar.data.spec import Spec
from nearfar.found import at_home
from nearfar.reports.pictures.series_pictures import Scale, scale_of, series_picture
from nearfar.results.drawing import image_address
from nearfar.rows import Parts, Tokens
from nearfar.views.samples import denormalise

_LARGEST = 64
"""Side in pixels above which a thumbnail is shrunk."""
_LOSSLESS = 40
"""Side up to which PNG is as small as JPEG."""
_FRAMES = 4
"""Of a clip that are shown."""
_DOTS = 200
"""About as many points of a cloud are shown."""


def pictures(samples: Any, spec: Spec, scale: Scale | None = None) -> list[str]:
    """One data address for each raw sample, or "" where there is no picture (text).

    Args:
        samples: Raw, as the data give them.
        spec: Of the data.
        scale: Of the vertical axis of series; by default the range of these samples.
    """
    drawer = at_home(modalities.get(spec.modality).pictures)
    found: list[str] = drawer(samples, spec, scale)
    return found


def view_pictures(view: Any, spec: Spec, scale: Scale | None = None) -> list[str]:
    """The same of a normalised view, undone; values outside the data's range are cut."""
    if isinstance(view, Parts):
        name = next(iter(spec.parts))
        return view_pictures(view[name], spec.parts[name], scale)
    if not isinstance(view, Tensor):
        return pictures(view, spec, scale)
    raw = denormalise(view, spec)
    largest = modalities.get(spec.modality).scale
    if largest > 1:
        raw = (raw.clamp(0, 1) * largest).round().to(torch.uint8)
    return pictures(raw, spec, scale)


def channels_told(spec: Spec) -> str:
    """A sentence on which channels of pictures are drawn, where these are not all; "" else."""
    if modalities.get(spec.modality).scale == 1 or not spec.shape or spec.shape[0] in (1, 3):
        return ""
    if spec.shape[0] == 2:
        return "Of the 2 channels the first is drawn, in grey."
    return f"Of the {spec.shape[0]} channels the first three are drawn, as red, green and blue."


def no_pictures(samples: Any, spec: Spec, scale: Scale | None = None) -> list[str]:
    """Of samples that cannot be seen."""
    return [""] * len(samples)


def images(samples: Tensor, spec: Spec, scale: Scale | None = None) -> list[str]:
    """Of images (N, C, H, W)."""
    return [image_address(sample) for sample in samples]


def sparklines(samples: Tensor, spec: Spec, scale: Scale | None = None) -> list[str]:
    """Of series (N, C, T), all on one scale."""
    common = scale or scale_of(samples)
    return [series_picture(sample, common) for sample in samples]


def spectrograms(samples: Tensor, spec: Spec, scale: Scale | None = None) -> list[str]:
    """Of sound (N, bands, T)."""
    return [_spectrogram(sample) for sample in samples]


def strips(samples: Tensor, spec: Spec, scale: Scale | None = None) -> list[str]:
    """Of uint8 clips (N, C, F, H, W)."""
    return [_strip(sample) for sample in samples]


def side_views(samples: Tensor, spec: Spec, scale: Scale | None = None) -> list[str]:
    """Of clouds of points (N, 3, K)."""
    return [_side_view(sample) for sample in samples]


def first_pictures(samples: Parts, spec: Spec, scale: Scale | None = None) -> list[str]:
    """Of the first part that can be seen."""
    for name, part in spec.parts.items():
        found = pictures(samples[name], part)
        if any(found):
            return found
    return [""] * len(samples)


def captions(samples: Any, tokenizer: Tokenizer | None) -> list[str]:
    """The text of each sample that has one, else ""."""
    if isinstance(samples, Parts):
        texts = next((part for part in samples.values() if isinstance(part, Tokens)), samples)
        return [""] * len(samples) if texts is samples else captions(texts, tokenizer)
    if not isinstance(samples, Tokens) or tokenizer is None:
        return [""] * len(samples)
    return [
        tokenizer.decode(ids[mask].tolist())
        for ids, mask in zip(samples.ids, samples.mask, strict=True)
    ]


def element(picture: str, caption: str, *, first: bool = False, kind: str = "") -> str:
    """A figure with a caption; the caption alone where there is no picture. The first of a row is
    set off; ``kind`` names a further style.
    """
    text = html.escape(caption)
    styles = " ".join(["first"] * first + [kind] * bool(kind))
    mark = f' class="{styles}"' if styles else ""
    if not picture:
        return f"<figure{mark}><figcaption>{text}</figcaption></figure>"
    return (
        f'<figure{mark}><img src="{picture}" alt="{text}" '
        f'loading="lazy"><figcaption>{text}</figcaption></figure>'
    )


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
    return image_address((resized * 255).round().to(torch.uint8)[None], 2 * _LARGEST)


def _strip(clip: Tensor) -> str:
    """Four frames of (C, F, H, W), side by side."""
    frames = clip[:, [place * clip.shape[1] // _FRAMES for place in range(_FRAMES)]]
    return image_address(torch.cat(list(frames.unbind(dim=1)), dim=2), _FRAMES * 48)


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
