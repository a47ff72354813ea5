"""A chain's residues as a small picture: how much each matters, and which belong to the site."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

__all__ = ["residue_picture"]

_WIDTH = 320
_HEIGHT = 96
_LEFT = 24
_RIGHT = 314
_TOP = 6
_BOTTOM = 66
_SITE = 70
_THICK = 7
"""Height of the strip that marks the site."""
_INK = "#475467"
_CURVE = "#3c69d2"
_MARK = "#c3003c"


def residue_picture(importance: Sequence[float], site: Sequence[bool] | None = None) -> str:
    """Importance along a chain as a data address, the residues of the true site marked below.

    The vertical axis runs from 0 to the chain's largest importance, which is written on it.

    Args:
        importance: L numbers, at least 0.
        site: L, whether a residue belongs to the known site; None where no site is known.

    Example:
        >>> residue_picture([0.1, 0.9, 0.2], [False, True, True]).partition(",")[0]
        'data:image/svg+xml;base64'
    """
    count = len(importance)
    most = max([*importance, 1e-12])
    step = (_RIGHT - _LEFT) / max(count, 1)
    heights = [_BOTTOM - (_BOTTOM - _TOP) * max(one, 0.0) / most for one in importance]
    points = "".join(
        f"L{_LEFT + step * place:.1f} {y:.1f}H{_LEFT + step * (place + 1):.1f}"
        for place, y in enumerate(heights)
    )
    curve = f'<path d="M{_LEFT} {_BOTTOM}{points}V{_BOTTOM}Z" fill="{_CURVE}"/>'
    marks = ""
    if site is not None:
        marks = "".join(
            f'<rect x="{_LEFT + step * first:.1f}" y="{_SITE}" '
            f'width="{max(step * (last - first), 1.0):.1f}" height="{_THICK}" fill="{_MARK}"/>'
            for first, last in _runs(site)
        )
    frame = (
        f'<path d="M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}" fill="none" stroke="{_INK}" '
        'stroke-width="1"/>'
    )
    texts = [
        (_LEFT - 3, _TOP + 7, "end", f"{most:.2g}"),
        (_LEFT - 3, _BOTTOM, "end", "0"),
        (_LEFT, _HEIGHT - 4, "start", "1"),
        (_RIGHT, _HEIGHT - 4, "end", f"{count} residues"),
    ]
    if site is not None:
        texts.append((_LEFT - 3, _SITE + _THICK, "end", "site"))
    words = "".join(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="9" font-family="sans-serif" '
        f'fill="{_INK}">{text}</text>'
        for x, y, anchor, text in texts
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}"><rect width="100%" height="100%" fill="#fff"/>'
        f"{curve}{marks}{frame}{words}</svg>"
    )
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _runs(site: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """First place and end of each unbroken stretch."""
    start = None
    for place, inside in enumerate([*site, False]):
        if inside and start is None:
            start = place
        elif not inside and start is not None:
            yield start, place
            start = None
