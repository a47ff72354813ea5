"""Which settings each wanted view is made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from nearfar.errors import UserError, unknown_name
from nearfar.views.wanted import WantedViews

S = TypeVar("S", bound=Any)


@dataclass(frozen=True)
class Strengths:
    """Some fields of a modality's settings that a user wants otherwise; a preset has the others.

    Attributes:
        values: By the field's name.
    """

    values: Mapping[str, Any]

    def over(self, preset: S) -> S:
        """The preset with these values; one that changes nothing stays so."""
        return preset if preset == type(preset)() else replace(preset, **self.values)


Styles = Mapping[str, tuple[tuple[S, ...], S]]
"""By style: the settings of whole views, taken in turn, and those of local views. A settings
dataclass has a ``scale``.
"""


def settings_by_view(
    wanted: WantedViews,
    styles: Styles[S],
    kind: type[S],
    settings: S | Sequence[S] | Strengths | None,
) -> list[S]:
    """Settings of all whole views, then of all local ones, then of the further ones.

    Args:
        wanted: its style selects the preset; ``whole_scale`` replaces the preset's.
        styles: presets of this modality.
        kind: the modality's settings class.
        settings: instead of a preset: one for all views (local ones with ``wanted.local_scale``),
            or a sequence with one for each view, each used as it is. Further views keep the presets
            of their styles unless a sequence names them. ``Strengths`` change the presets of all
            views that are changed at all, but for the scale of local ones.

    Raises:
        UserError: for an unknown style, or settings that do not fit the views.
    """
    for style in (wanted.style, *wanted.further):
        if style not in styles:
            raise unknown_name("view style", style, styles)
    strengths = settings if isinstance(settings, Strengths) else Strengths({})
    if settings is None or isinstance(settings, Strengths):
        whole, local = styles[wanted.style]
        if wanted.whole_scale is not None:
            whole = tuple(replace(one, scale=wanted.whole_scale) for one in whole)
        whole = tuple(map(strengths.over, whole))
        local = strengths.over(local)
    elif isinstance(settings, kind):
        whole = (settings,)
        local = settings
    else:
        return _checked(settings, wanted.whole + wanted.local + len(wanted.further), kind)
    chosen = [whole[view % len(whole)] for view in range(wanted.whole)]
    return (
        chosen
        + [replace(local, scale=wanted.local_scale)] * wanted.local
        + [strengths.over(styles[style][0][0]) for style in wanted.further]
    )


def _checked(settings: Any, views: int, kind: type[S]) -> list[S]:
    given = list(settings) if isinstance(settings, Sequence) else [settings]
    if len(given) != views or not all(isinstance(one, kind) for one in given):
        found = (
            f"{len(given)} of "
            f"{', '.join(sorted({type(one).__name__ for one in given})) or 'nothing'}"
        )
        raise UserError(
            f"The view settings are {found}: expected one {kind.__name__} for all views, or "
            f"{views}, one for each wanted view."
        )
    return given
