"""What a method's views are made with, in words that stand beside their pictures."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping
from typing import Any

from nearfar.data.spec import Spec
from nearfar.views import Wanted, WantedViews
from nearfar.views.parts import PartViews


def parameters(spec: Spec, wanted: Wanted, settings: Any = None) -> list[tuple[str, str]]:
    """(view, parameters) of each view that a method gets; views of the same parameters share a
    line. ``settings`` as for ``WantedViews.maker``.
    """
    if not isinstance(wanted, WantedViews):
        return []
    maker = dataclasses.replace(wanted, noise=0).maker(spec, settings)
    if isinstance(maker, PartViews):
        maker = next(iter(maker.makers.values()))
    of_images = getattr(maker, "frames", maker)
    kinds = getattr(of_images, "kinds", ())
    told: dict[str, list[str]] = {}
    for name, kind in zip(_names(wanted), kinds, strict=False):
        settings, size = kind if isinstance(kind, tuple) else (kind, None)
        told.setdefault(_in_words(settings, size), []).append(name)
    return [(", ".join(names), text) for text, names in told.items()]


def parameters_table(spec: Spec, wanted: Wanted, settings: Any = None) -> str:
    """The same as HTML, below one line on what is asked of all views."""
    if not isinstance(wanted, WantedViews):
        return f"<p>{html.escape(repr(wanted))}</p>"
    asked = [f"{wanted.whole} whole view{'s' * (wanted.whole > 1)}"]
    asked += [f"{wanted.local} local views"] * bool(wanted.local)
    asked += [f"further views: {', '.join(wanted.further)}"] * bool(wanted.further)
    asked += ["their boxes"] * wanted.boxes + ["noise for masks"] * bool(wanted.noise)
    own = getattr(settings, "name", "")
    style = f"Views of the user's own, {own}" if own else f"Style {wanted.style}"
    head = f"{style}; {'; '.join(asked)}."
    lines = "".join(
        f"<tr><th scope='row'>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
        for name, text in parameters(spec, wanted, settings)
    )
    table = f"<table class='stack'><tbody>{lines}</tbody></table>" if lines else ""
    return f"<p>{html.escape(head)}</p>{table}"


def _names(wanted: WantedViews) -> list[str]:
    names = [f"view {number + 1}" for number in range(wanted.whole)]
    names += [f"local view {number + 1}" for number in range(wanted.local)]
    return names + [f"further view {number + 1}" for number in range(len(wanted.further))]


def _in_words(settings: Any, size: Any) -> str:
    """What of the settings differs from a view that changes nothing."""
    plain = type(settings)()
    found: Mapping[str, Any] = {
        field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)
    }
    parts = [
        name.replace("_", " ") if value is True else f"{name.replace('_', ' ')} {_number(value)}"
        for name, value in found.items()
        if value != getattr(plain, name)
    ]
    if size is not None:
        parts.append(f"size {_number(size)}")
    return "; ".join(parts) or "the sample itself"


def _number(value: Any) -> str:
    if isinstance(value, tuple):
        joint = " x " if all(isinstance(one, int) for one in value) else " to "
        return joint.join(map(_number, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)
