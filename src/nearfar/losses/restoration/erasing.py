"""Text erasing: what STE asks of the erased image, and the triplet against its coarse draft.

Masks are 1 on background and 0 on text, with as many channels as the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nearfar.errors import UserError
from nearfar.losses.kernels.similarity import full_precision
from nearfar.losses.restoration.features import feature_distance
from nearfar.losses.restoration.fidelity import dice, masked_l1
from nearfar.losses.restoration.inputs import expect_number, expect_pictures
from nearfar.ranges import above, at_least

__all__ = ["composed", "erasure", "erasure_triplet", "multi_scale_l1"]

_HOLE_WEIGHTS = (8.0, 6.0, 5.0)
_VALID_WEIGHTS = (0.8, 1.0, 0.8)


@full_precision
def composed(made: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """The made image where text is, the given image elsewhere: made (1 - mask) + image mask.

    Args:
        made: (N, C, H, W).
        image: (N, C, H, W).
        mask: (N, C, H, W), 0 on text.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.erasing import composed
        >>> mask = torch.tensor([[[[0.0, 1.0]]]])
        >>> composed(torch.full((1, 1, 1, 2), 7.0), torch.zeros(1, 1, 1, 2), mask)
        tensor([[[[7., 0.]]]])

    Source: Jiang et al. 2022 (STE).
    """
    expect_pictures(made=(made, "N C H W"), image=(image, "N C H W"), mask=(mask, "N C H W"))
    return made * (1 - mask) + image * mask


@full_precision
def multi_scale_l1(
    drafts: Sequence[Tensor],
    truth: Tensor,
    mask: Tensor,
    *,
    valid: bool = False,
    raw_mask: Tensor | None = None,
) -> Tensor:
    """L1 of the drafts at full, half and quarter size inside the holes, weights 8, 6 and 5.

    With ``valid`` the background counts as well, weights 0.8, 1 and 0.8. Truth and masks are made
    smaller by taking the nearest pixels.

    Args:
        drafts: (N, C, H, W), (N, C, H/2, W/2) and (N, C, H/4, W/4), the largest first.
        truth: (N, C, H, W).
        mask: (N, C, H, W), 0 on text that was pasted.
        valid: Whether the background counts.
        raw_mask: (N, C, H, W), 0 on text that was there before; None for none.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.erasing import multi_scale_l1
        >>> drafts = [torch.ones(1, 1, side, side) for side in (4, 2, 1)]
        >>> multi_scale_l1(drafts, torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))
        tensor(19.)

    Source: Liu et al. 2020 (EraseNet); as in STE.
    """
    if len(drafts) != 3:
        raise UserError(f"Expected drafts at full, half and quarter size; found {len(drafts)}.")
    total = torch.zeros((), dtype=truth.dtype, device=truth.device)
    for draft, hole, kept in zip(drafts, _HOLE_WEIGHTS, _VALID_WEIGHTS, strict=True):
        size = draft.shape[2:]
        expected, around = (interpolate(x, size=size, mode="nearest") for x in (truth, mask))
        total = total + hole * masked_l1(draft, expected, 1 - around)
        if valid:
            background = around
            if raw_mask is not None:
                background = background * interpolate(raw_mask, size=size, mode="nearest")
            total = total + kept * masked_l1(draft, expected, background)
    return total


@full_precision
def erasure(
    made: Tensor,
    drafts: Sequence[Tensor],
    mask_logits: Tensor,
    image: Tensor,
    truth: Tensor,
    mask: Tensor,
    raw_mask: Tensor,
    features: tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]],
    *,
    paste: bool = True,
) -> dict[str, Tensor]:
    """The eraser's loss but for its critic, in its terms and in all.

        hole = 10 L1((1 - m) o, (1 - m) gt)      msr = multi_scale_l1
        perceptual = 0.01 sum [ L1(phi(o), phi(gt)) + L1(phi(o_c), phi(gt)) ]
        style = 120 sum of the same with Gram matrices      mask = dice(s(g), 1 - m raw)

    o is the made image, o_c = ``composed``; with ``paste`` o is o_c from the start. Without, also
    valid = 2 L1(raw m o, raw m gt), and the background counts in msr.

    Args:
        made: (N, C, H, W), o.
        drafts: Drafts at full, half and quarter size.
        mask_logits: (N, C, H, W), g.
        image: (N, C, H, W) with pasted text.
        truth: (N, C, H, W) before text was pasted, gt.
        mask: (N, C, H, W), 0 on pasted text, m.
        raw_mask: (N, C, H, W), 0 on text that was there before, raw.
        features: Feature maps of o (o_c with ``paste``), of o_c and of gt, one a layer each.
        paste: Whether only what is pasted over text is judged.

    Returns:
        "hole", "valid", "msr", "perceptual", "style", "mask" and their sum "loss". The critic's
        term is -0.1 mean D(o, m), ``adversarial.generator`` of the kind "hinge-of-mean".

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.erasing import erasure
        >>> x = torch.zeros(1, 3, 8, 8)
        >>> drafts = [torch.zeros(1, 3, side, side) for side in (8, 4, 2)]
        >>> terms = erasure(x, drafts, x - 20, x, x, x + 1, x + 1, ([x], [x], [x]))
        >>> terms["hole"], terms["msr"], terms["style"]
        (tensor(0.), tensor(0.), tensor(0.))

    Source: Jiang et al. 2022, "Self-Supervised Text Erasing with Controllable Image Synthesis",
    section 3.4; Liu et al. 2020 (EraseNet).
    """
    expect_pictures(
        made=(made, "N C H W"),
        mask_logits=(mask_logits, "N C H W"),
        image=(image, "N C H W"),
        truth=(truth, "N C H W"),
        mask=(mask, "N C H W"),
        raw_mask=(raw_mask, "N C H W"),
    )
    if paste:
        made = composed(made, image, mask)
    of_made, of_composed, of_truth = features
    terms = {
        "hole": 10 * masked_l1(made, truth, 1 - mask),
        "valid": made.new_zeros(()),
        "msr": multi_scale_l1(drafts, truth, mask, valid=not paste, raw_mask=raw_mask),
        "perceptual": 0.01
        * (feature_distance(of_made, of_truth) + feature_distance(of_composed, of_truth)),
        "style": 120
        * (
            feature_distance(of_made, of_truth, distance="gram-l1")
            + feature_distance(of_composed, of_truth, distance="gram-l1")
        ),
        "mask": dice(mask_logits.sigmoid(), 1 - mask * raw_mask),
    }
    if not paste:
        terms["valid"] = 2 * masked_l1(made, truth, raw_mask * mask)
    return {**terms, "loss": torch.stack(list(terms.values())).sum()}


@full_precision
def erasure_triplet(
    made: Tensor,
    truth: Tensor,
    draft: Tensor,
    *,
    weight: float = 0.01,
    ratio: float = 50.0,
) -> Tensor:
    """The erased image is near the truth and away from its coarse draft.

        loss = weight d(o, gt) / (1e-7 + d(o, gt) + ratio max(1e-7, d(sg(draft), o)^2))

    d is the mean L1.

    Args:
        made: (N, C, H, W) composed result, o.
        truth: (N, C, H, W).
        draft: (N, C, H, W) composed coarse result; receives no gradient.
        weight: At least 0.
        ratio: Above 0.

    Example:
        >>> import torch
        >>> from nearfar.losses.restoration.erasing import erasure_triplet
        >>> x = torch.zeros(1, 1, 2, 2)
        >>> erasure_triplet(x, x, x + 1)
        tensor(0.)

    Source: Jiang et al. 2022 (STE), equation 9; the truth, not the text, is the positive.
    """
    expect_pictures(made=(made, "N C H W"), truth=(truth, "N C H W"), draft=(draft, "N C H W"))
    expect_number(Annotated[float, at_least(0)], weight=weight)
    expect_number(Annotated[float, above(0)], ratio=ratio)
    near = (made - truth).abs().mean()
    away = (draft.detach() - made).abs().mean()
    return weight * near / (1e-7 + near + ratio * away.square().clamp(min=1e-7))
