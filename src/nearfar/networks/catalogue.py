"""Names of the built-in encoders, what each is, and which one a modality gets by default. Imports
no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nearfar.errors import UserError

KINDS = ("any", "tokens", "towers")
"""What a method may ask of an encoder: nothing, a ``TokenEncoder``, or a pair of encoders."""

TIMM = "timm:"
PRETRAINED = "@pretrained"


@dataclass(frozen=True)
class Entry:
    """One built-in encoder.

    Attributes:
        modality: "image", "series", "text", "audio", "video" or "points".
        summary: one line for lists.
        home: "module:Class" under ``nearfar.networks``; the class is called with the spec and
            ``options``.
        options: keyword arguments that make this one of the class's variants.
    """

    modality: str
    summary: str
    home: str
    options: Mapping[str, int] = field(default_factory=dict)


_VIT = "patch_transformer:PatchTransformer"
_MICRO = {"width": 96, "depth": 4, "heads": 3}

ENTRIES: Mapping[str, Entry] = {
    "small-convnet": Entry(
        "image",
        "four convolutions, 0.4 M parameters; trains in a minute on a laptop",
        "convnet:SmallConvNet",
    ),
    "perceptron": Entry(
        "image",
        "two linear layers on the pixels, for tiny images and trials of seconds",
        "perceptron:Perceptron",
    ),
    "resnet18": Entry(
        "image",
        "ResNet-18, 11 M parameters; 3x3 stem up to 64 pixels",
        "resnet:ResNet",
        {"layers": 18},
    ),
    "resnet50": Entry(
        "image",
        "ResNet-50, 24 M parameters; 3x3 stem up to 64 pixels",
        "resnet:ResNet",
        {"layers": 50},
    ),
    **{
        f"scatnet{blocks}": Entry(
            "image",
            f"fixed wavelet scattering and {blocks} residual blocks",
            "scatnet:ScatNet",
            {"blocks": blocks},
        )
        for blocks in (8, 12, 16, 30, 45)
    },
    "vit-micro": Entry(
        "image", "vision transformer for small images on a laptop, 0.5 M parameters", _VIT, _MICRO
    ),
    "vit-tiny": Entry(
        "image", "vision transformer, 5 M parameters", _VIT, {"width": 192, "depth": 12, "heads": 3}
    ),
    "vit-small": Entry(
        "image",
        "vision transformer, 21 M parameters",
        _VIT,
        {"width": 384, "depth": 12, "heads": 6},
    ),
    "vit-base": Entry(
        "image",
        "vision transformer, 85 M parameters",
        _VIT,
        {"width": 768, "depth": 12, "heads": 12},
    ),
    "series-convnet": Entry(
        "series", "dilated convolutions over time, 0.2 M parameters", "series_convnet:SeriesConvNet"
    ),
    "series-perceptron": Entry(
        "series",
        "two linear layers on the values, for short series and rows",
        "perceptron:Perceptron",
    ),
    "series-transformer": Entry(
        "series", "transformer over patches of time, 0.4 M parameters", _VIT, _MICRO
    ),
    "text-transformer": Entry(
        "text",
        "bidirectional transformer over tokens, mean of the tokens",
        "text_transformer:TextTransformer",
    ),
    "audio-convnet": Entry(
        "audio",
        "small-convnet over time and frequency, 0.4 M parameters",
        "audio_convnet:AudioConvNet",
    ),
    "frame-convnet": Entry(
        "video",
        "small-convnet on frames, their mean and change, 0.4 M parameters",
        "frame_convnet:FrameConvNet",
    ),
    "point-net": Entry(
        "points", "PointNet without alignment, 0.04 M parameters", "point_net:PointNet"
    ),
}

# vit-micro, not vit-tiny, is the default for masked methods: forward and backward take it a fifth
# of the time at 32 pixels, so that it gets five times the updates in the minutes that a laptop has.
_DEFAULTS = {
    ("image", "any"): "small-convnet",
    ("image", "tokens"): "vit-micro",
    ("series", "any"): "series-convnet",
    ("series", "tokens"): "series-transformer",
    ("text", "any"): "text-transformer",
    ("audio", "any"): "audio-convnet",
    ("video", "any"): "frame-convnet",
    ("points", "any"): "point-net",
}


def names() -> list[str]:
    """All built-in names; beside them there is ``timm:NAME`` for any model of the timm library."""
    return list(ENTRIES)


def names_for(modality: str) -> list[str]:
    """The built-in names that encode one modality."""
    return [name for name, entry in ENTRIES.items() if entry.modality == modality]


def default(modality: str, kind: str = "any") -> str:
    """The encoder that a modality gets when none is named.

    Raises:
        UserError: if there is none.
    """
    name = _DEFAULTS.get((modality, kind))
    if name is None:
        what = {"any": "encoder", "tokens": "encoder over patches", "towers": "pair of encoders"}[
            kind
        ]
        known = ", ".join(sorted({m for m, k in _DEFAULTS if k == kind})) or "image-text"
        raise UserError(
            f"There is no {what} for {modality} data; expected data of one of these modalities: "
            f"{known}."
        )
    return name
