"""Text views: ``Tokens`` in, ``Tokens`` of the same shape out, with other tokens deleted, masked or
cut off for every sample.

Token numbers: 0 padding, 1 unknown, 2 start, 3 end, 4 mask. Start and end always stay, and so does
at least one other token.

Sources: Wu et al. 2020 (CLEAR) and Gao et al. 2021 (SimCSE, table 1) for deletion and cropping to a
    span; Devlin et al. 2019
(BERT) for the mask token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.rows import Tokens
from nearfar.views.choice import settings_by_view
from nearfar.views.draws import rand, uniform
from nearfar.views.wanted import WantedViews

PADDING, UNKNOWN, START, END, MASK = range(5)


@dataclass(frozen=True)
class TextViewSettings:
    """One distribution of text views, applied in the order of the attributes; the defaults change
    nothing.

    Attributes:
        scale: share of the tokens that a span covers, least and most, in (0, 1].
        delete: probability that a token is deleted.
        mask: probability that a token left over is replaced by the mask token.

    Raises:
        UserError: for a value outside its range.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    delete: float = 0.0
    mask: float = 0.0

    def __post_init__(self) -> None:
        for name in ("delete", "mask"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(
                    f"The text view setting {name} is {getattr(self, name)}: expected a number "
                    "from 0 to 1."
                )
        low, high = self.scale
        if not 0 < low <= high <= 1:
            raise UserError(
                f"The text view setting scale is {(low, high)}: expected least and most, above 0 "
                "and up to 1, in that order."
            )


PLAIN = TextViewSettings()
CROP = TextViewSettings(scale=(0.5, 1.0))
CONTRASTIVE = TextViewSettings(delete=0.1, mask=0.1)

STYLES = {
    "contrastive": ((CONTRASTIVE,), CONTRASTIVE),
    "weak": ((CONTRASTIVE,), CONTRASTIVE),
    "asymmetric": ((CONTRASTIVE,), CONTRASTIVE),
    "crop": ((CROP,), CROP),
    "plain": ((PLAIN,), PLAIN),
}


@dataclass(frozen=True)
class TextViews:
    """``views(samples, generator)``: ``Tokens`` (N, L) to one ``Tokens`` (N, L) for each entry of
    ``kinds``.
    """

    spec: Spec
    kinds: tuple[TextViewSettings, ...]

    def __call__(self, samples: Tokens, generator: torch.Generator) -> list[Tokens]:
        tokens = plain_text(samples, self.spec)
        return [augment(tokens, settings, generator) for settings in self.kinds]


def text_views(
    spec: Spec,
    wanted: WantedViews,
    settings: TextViewSettings | Sequence[TextViewSettings] | None = None,
) -> TextViews:
    """The view maker of texts; local views are short spans (of the same padded length),
    ``settings`` as ``settings_by_view`` takes them.
    """
    return TextViews(spec, tuple(settings_by_view(wanted, STYLES, TextViewSettings, settings)))


def plain_text(samples: Tokens, spec: Spec) -> Tokens:
    """The texts themselves.

    Raises:
        UserError: if the samples are not ``Tokens``.
    """
    if not isinstance(samples, Tokens):
        raise UserError(
            f"The samples of {spec.name!r} are a {type(samples).__name__}: text views expect "
            "nearfar.rows.Tokens."
        )
    return samples


def augment(tokens: Tokens, settings: TextViewSettings, generator: torch.Generator) -> Tokens:
    """One view, (N, L) as before. All parameters of all samples are drawn at once."""
    shape = tokens.ids.shape
    if settings.scale[0] < 1:
        share = uniform(shape[0], settings.scale, generator)
        tokens = keep_span(tokens, share, uniform(shape[0], (0, 1), generator))
    if settings.delete > 0:
        draws = rand(shape, generator)
        tokens = delete_tokens(tokens, draws, settings.delete)
    if settings.mask > 0:
        draws = rand(shape, generator)
        tokens = mask_tokens(tokens, draws, settings.mask)
    return tokens


def keep_span(tokens: Tokens, share: Tensor, place: Tensor) -> Tokens:
    """Keep a run of ordinary tokens, with start and end.

    Args:
        tokens: (N, L).
        share: (N,) of the ordinary tokens, in (0, 1]; rounded, at least one token.
        place: (N,) where the run lies among all its possible places, in [0, 1).
    """
    ordinary = _ordinary(tokens)
    share = share.to(tokens.ids.device)
    place = place.to(tokens.ids.device)
    number = ordinary.sum(1)
    length = (number * share).round().clamp_min(1)
    first = (place * (number - length + 1)).floor()[:, None]
    position = ordinary.cumsum(1) - 1
    inside = (position >= first) & (position < first + length[:, None])
    return _kept(tokens, inside | ~ordinary)


def delete_tokens(tokens: Tokens, draws: Tensor, probability: float) -> Tokens:
    """Delete ordinary tokens whose draw lies below the probability, and close the gaps; the largest
    draw always stays.

    Args:
        tokens: (N, L).
        draws: (N, L) uniform in [0, 1).
        probability: of deletion.
    """
    keep, ordinary = _spared(tokens, draws, probability)
    return _kept(tokens, keep | ~ordinary)


def mask_tokens(tokens: Tokens, draws: Tensor, probability: float) -> Tokens:
    """Replace ordinary tokens whose draw lies below the probability by the mask token; the largest
    draw always stays.
    """
    keep, ordinary = _spared(tokens, draws, probability)
    return Tokens(tokens.ids.masked_fill(ordinary & ~keep, MASK), tokens.mask)


def _ordinary(tokens: Tokens) -> Tensor:
    """(N, L) bool: tokens that may be dropped."""
    return tokens.mask & (tokens.ids != START) & (tokens.ids != END)


def _spared(tokens: Tokens, draws: Tensor, probability: float) -> tuple[Tensor, Tensor]:
    """Which tokens a draw spares, the row's last hope included; and which are ordinary."""
    ordinary = _ordinary(tokens)
    draws = draws.to(tokens.ids.device).masked_fill(~ordinary, -1.0)
    largest = torch.zeros_like(ordinary).scatter_(1, draws.argmax(1, keepdim=True), True)
    return (draws >= probability) | largest, ordinary


def _kept(tokens: Tokens, keep: Tensor) -> Tokens:
    """The kept tokens moved together at the front, padding behind."""
    keep = keep & tokens.mask
    order = keep.int().argsort(dim=1, descending=True, stable=True)
    mask = keep.gather(1, order)
    return Tokens(tokens.ids.gather(1, order).masked_fill(~mask, PADDING), mask)
