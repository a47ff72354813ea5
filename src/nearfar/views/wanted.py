"""Which views a method wants, as a small value that every modality understands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nearfar import modalities
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.found import at_home

if TYPE_CHECKING:
    from nearfar.views.made import Views


@dataclass(frozen=True)
class WantedViews:
    """What a method asks of the modality; how a view is made is the modality's affair.

    Attributes:
        whole: number of views of (nearly) the whole sample, the "global crops" of images; at least
            1.
        local: number of small views, after the whole ones.
        style: "contrastive" (one strong distribution for all views), "weak" (the same with less
            cropping and jitter), "asymmetric" (the BYOL pair: the first view is blurred always, the
            second rarely but sometimes solarised), "crop" (crop and flip only), "plain" (no change
            at all).
        whole_scale: share of the area (length) that a whole view covers, least and most; None for
            the style's own.
        local_scale: the same for a local view.
        local_size: side of a local view relative to a whole one.
        further: styles of further views of a whole view's size, after the whole and local ones:
            ("crop",) for a normally augmented view, ("plain",) for the sample itself.
        boxes: whether the crop boxes of the whole and local views come with them as "boxes", (N,
            whole + local, 4): left, top, right and bottom as shares of the image, left and right
            (top and bottom) exchanged where the view is mirrored. Images only.
        centre_distance: least distance of the centres of the first two boxes, over the image's
            diagonal, in [0, 1). Images only.
        noise: Number of values in [0, 1) that come with each sample as "noise", (N, noise), to draw
            masks from; 0: none.
        parts: Of samples with several parts, what is wanted of some of them instead, by name.
    """

    whole: int = 2
    local: int = 0
    style: str = "contrastive"
    whole_scale: tuple[float, float] | None = None
    local_scale: tuple[float, float] = (0.05, 0.4)
    local_size: float = 0.43
    further: tuple[str, ...] = ()
    boxes: bool = False
    centre_distance: float = 0.0
    noise: int = 0
    parts: Mapping[str, WantedViews] = field(default_factory=dict)

    def maker(self, spec: Spec, settings: Any = None) -> Views:
        """What makes these views of data of this spec.

        Args:
            spec: Of the data.
            settings: Strengths, instead of the style's preset: the modality's settings dataclass,
                one for all views or a sequence with one for each; ``Strengths``, which change the
                preset; ``OwnViews``, which take the place of ours; by name for several parts.

        Raises:
            UserError: For a modality without views or without boxes, an unknown style, or settings
                that do not fit.
        """
        modality = modalities.get(spec.modality)
        own = hasattr(settings, "made_for") and not spec.parts
        if modality.views is None and not own:
            raise UserError(
                f"There are no views of {spec.modality} data; choose a method that brings its own."
            )
        boxed = self.boxes or bool(self.centre_distance)
        if boxed and not (modality.has_boxes or spec.parts or own):
            raise UserError(
                f"This method needs crop boxes, which {spec.modality} views do not have: choose "
                "images."
            )
        maker: Views = (
            settings.made_for(spec, self)
            if own
            else at_home(str(modality.views))(spec, self, settings)
        )
        if not self.noise:
            return maker
        from nearfar.views.noise import WithNoise

        return WithNoise(maker, self.noise)
