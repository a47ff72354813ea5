"""Which views a method wants, as a small value that every modality understands."""

from __future__ import annotations

from dataclasses import dataclass


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
        boxes: whether the crop boxes of the whole and local views follow as one more view (N, whole
            + local, 4): left, top, right and bottom as shares of the image, left and right (top and
            bottom) exchanged where the view is mirrored. Images only.
        centre_distance: least distance of the centres of the first two boxes, over the image's
            diagonal, in [0, 1). Images only.
        mask: whether a last view of uniform noise in [0, 1), (N, number of patches), is wanted to
            draw masks from.
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
    mask: bool = False
