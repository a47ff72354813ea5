"""How strong image views are, and what each style means by default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from nearfar.errors import UserError
from nearfar.views.choice import Styles

_SMALL_SIDE = 64
_MOST = {
    "flip": 1,
    "rotation": 180,
    "jitter": 1,
    "brightness": math.inf,
    "contrast": math.inf,
    "saturation": math.inf,
}
_MOST |= {"hue": 0.5, "grey": 1, "blur": 1, "solarise": 1}
_MOST_OF_RANGE = {"scale": 1, "ratio": math.inf, "sigma": math.inf}


@dataclass(frozen=True)
class ImageViewSettings:
    """One distribution of image views, applied in the order of the attributes; the defaults change
    nothing.

    Attributes:
        scale: share of the area that a crop covers, least and most, in (0, 1]; a least of 1 is the
            whole image.
        ratio: width over height of a crop in pixels, least and most.
        flip: probability of a mirror image.
        rotation: every view is turned by up to this many degrees either way, at most 180.
        jitter: probability that the colours are jittered at all.
        brightness: factor in 1 +- this, never below 0.
        contrast: likewise.
        saturation: likewise; RGB only.
        hue: turn by up to this share of the circle either way, at most 0.5; RGB only.
        grey: probability of greyscale; RGB only.
        blur: probability of a Gaussian blur.
        sigma: standard deviation of the blur in pixels, least and most.
        solarise: probability that values of one half and more are inverted.

    Raises:
        UserError: for a value outside its range.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.0
    rotation: float = 0.0
    jitter: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    sigma: tuple[float, float] = (0.1, 2.0)
    solarise: float = 0.0

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise UserError(
                    f"The image view setting {name} is {value}: expected a number from 0 to {most}."
                )
        for name, most in _MOST_OF_RANGE.items():
            low, high = getattr(self, name)
            if not 0 < low <= high <= most:
                raise UserError(
                    f"The image view setting {name} is {(low, high)}: expected least and most, "
                    f"above 0 and up to {most}, in that order."
                )


PLAIN = ImageViewSettings()

# Chen et al. 2020 (SimCLR), appendix A, at colour strength 1.
CONTRASTIVE = ImageViewSettings(
    scale=(0.08, 1.0),
    flip=0.5,
    jitter=0.8,
    brightness=0.8,
    contrast=0.8,
    saturation=0.8,
    hue=0.2,
    grey=0.2,
    blur=0.5,
)

# Wang et al. 2024 (AdaInf), authors' configuration: what inflated data need.
WEAK = replace(
    CONTRASTIVE, scale=(0.2, 1.0), jitter=0.4, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1
)

# Grill et al. 2020 (BYOL), table 6: the first view is always blurred, the second rarely, but it is
# sometimes solarised.
BYOL_FIRST = replace(CONTRASTIVE, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, blur=1.0)
BYOL_SECOND = replace(BYOL_FIRST, blur=0.1, solarise=0.2)

# Caron et al. 2021 (DINO), authors' code: the small crops that go with the pair above.
DINO_LOCAL = replace(BYOL_FIRST, blur=0.5)

# He et al. 2022 (MAE), table 8 and authors' code.
CROP = ImageViewSettings(scale=(0.2, 1.0), flip=0.5)

STYLES = {
    "contrastive": ((CONTRASTIVE,), CONTRASTIVE),
    "weak": ((WEAK,), WEAK),
    "asymmetric": ((BYOL_FIRST, BYOL_SECOND), DINO_LOCAL),
    "crop": ((CROP,), CROP),
    "plain": ((PLAIN,), PLAIN),
}

# Chen et al. 2020, appendix B.9 (CIFAR-10): colour strength one half, which BYOL's pair has about
# already, and no blur.
_ON_SMALL_IMAGES = {
    settings: replace(settings, blur=0.0)
    for settings in (WEAK, BYOL_FIRST, BYOL_SECOND, DINO_LOCAL)
}
_ON_SMALL_IMAGES[CONTRASTIVE] = replace(
    CONTRASTIVE, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, blur=0.0
)


def styles_for(side: int, facts: Mapping[str, Any]) -> Styles[ImageViewSettings]:
    """The presets for images of a size.

    Args:
        side: the image's shorter side in pixels; up to 64 the practice on CIFAR-10 is followed.
        facts: of the data (``Spec.extra``). "flip" or "solarise" false: a mirror image, or inverted
            bright parts, would change the meaning. "crop": the least share of the area that shows
            what an image is of.
    """

    def fitted(settings: ImageViewSettings) -> ImageViewSettings:
        settings = _ON_SMALL_IMAGES.get(settings, settings) if side <= _SMALL_SIDE else settings
        flip, solarise = (
            value if facts.get(name, True) else 0.0
            for name, value in (("flip", settings.flip), ("solarise", settings.solarise))
        )
        return replace(
            settings, scale=at_least(settings.scale, facts), flip=flip, solarise=solarise
        )

    return {
        style: (tuple(map(fitted, whole)), fitted(local))
        for style, (whole, local) in STYLES.items()
    }


def at_least(scale: tuple[float, float], facts: Mapping[str, Any]) -> tuple[float, float]:
    """A range of crops whose least is no less than the data's, nor the most less than twice that
    (or all).
    """
    least = float(facts.get("crop", 0.0))
    return max(scale[0], least), max(scale[1], min(1.0, 2 * least))
