"""What nearfar knows of one kind of sample, as a value. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nearfar.data.spec import Spec


@dataclass(frozen=True, kw_only=True)
class Network:
    """One built-in encoder.

    Attributes:
        summary: One line for lists.
        home: "module:Class"; the class is called with the spec and ``options``.
        options: Keyword arguments that make this one of the class's variants.
        kind: The kind of encoder that it is, where methods may ask for no less: "restorer". Such an
            encoder takes the first part of samples with several parts. "any" for all others.
    """

    summary: str
    home: str
    options: Mapping[str, object] = field(default_factory=dict)
    kind: str = "any"


@dataclass(frozen=True, kw_only=True)
class Modality:
    """One kind of sample: how it is seen, drawn, encoded and made up.

    Functions are given as "module:function", so that lists of modalities import no torch.

    Attributes:
        axes: Number of axes of one sample's shape.
        plain: (samples, spec) to what encoders take, without chance.
        views: (spec, wanted views, settings) to a maker of views; None where methods bring their
            own.
        strengths: Of its views, a settings dataclass; "" where there is none.
        raw: (plain view) to features (N, D) for the row of the raw input; None where there is no
            such row.
        simple: (raw features, training samples) to what makes simple features; None: none.
        pictures: (raw samples) to one data address each, or "" where there is no picture.
        toy: The spec of a tiny data set.
        toy_samples: (spec, count, generator) to that many made-up raw samples.
        tiny: By kind of encoder, its home and options for the toys.
        networks: The built-in encoders by name.
        encoders: By kind of encoder, the name of the one that is taken when none is named.
        scale: What raw values are divided by before they are normalised; above 1 the values then
            lie in [0, 1].
        has_boxes: Whether views are crops of a picture, which have boxes.
        model_input: What models of the transformers library call such samples; "" where there are
            none for them.
        smallest: The least length of an axis after the first that encoders take.
        channels_last: Whether networks run faster with channels in the last place.
        whole: Whether the views that all processes make must be one draw, as of a graph that all of
            them see.
        beside: The style of its views where it is one part of several; "" takes what the method
            wants.
        one_scale: Whether its pictures share one vertical axis and a legend of channels.
        wide: Whether its pictures are much wider than high.
        query: What a search may be for, in words, such as "an image file".
    """

    axes: int
    plain: str
    toy: Spec
    toy_samples: str
    tiny: Mapping[str, tuple[str, Mapping[str, object]]]
    networks: Mapping[str, Network]
    encoders: Mapping[str, str]
    views: str | None = None
    strengths: str = ""
    raw: str | None = "nearfar.evaluation.features:averaged"
    simple: str | None = "nearfar.evaluation.simple:components"
    pictures: str = "nearfar.reports.pictures.samples:no_pictures"
    scale: int = 1
    has_boxes: bool = False
    model_input: str = ""
    smallest: int = 1
    channels_last: bool = False
    whole: bool = False
    beside: str = ""
    one_scale: bool = False
    wide: bool = True
    query: str = ""
