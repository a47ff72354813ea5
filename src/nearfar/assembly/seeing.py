"""The views of a run: those that its method wants, in the strengths or by the function that its
configuration says.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from nearfar import modalities, own
from nearfar.data.spec import Spec
from nearfar.errors import UserError, unknown_name
from nearfar.found import at_home
from nearfar.methods.method import Method
from nearfar.options import Config
from nearfar.ranges import checked
from nearfar.views import OwnViews, Strengths, Views, WantedViews


def views_of(method: Method, config: Config) -> Views:
    """What makes the views of a run.

    Args:
        method: Of the run.
        config: Its configuration.

    Raises:
        UserError: For strengths that the modality has not or that are out of range, views of the
            user's own that are not at hand, or a method that makes its views by itself.
    """
    return method.views(settings_of(method, config))


def settings_of(method: Method, config: Config) -> OwnViews | Strengths | None:
    """What of the method's views is other than it wants them; None where nothing is.

    Raises:
        UserError: As ``views_of``.
    """
    chosen = config.views
    if not chosen:
        return None
    if not isinstance(method.wanted_views, WantedViews):
        raise UserError(
            f"{config.method} makes views of a kind of its own, which cannot be changed; leave "
            "--views and --views.NAME out."
        )
    if isinstance(chosen, str):
        return OwnViews(own.handed("views", chosen), chosen)
    found = Strengths(_checked(chosen, method.spec.first))
    wanted = method.wanted_views
    if {wanted.style, *wanted.further} == {"plain"}:
        raise UserError(
            f"{config.method} sees samples as they are, so --views.{next(iter(chosen))} would "
            "change nothing; leave it out."
        )
    return found


def _checked(chosen: Mapping[str, Any], spec: Spec) -> dict[str, Any]:
    home = modalities.get(spec.modality).strengths
    if not home:
        raise UserError(
            f"There are no strengths of views of {spec.modality} data; leave --views.NAME out."
        )
    kind = at_home(home)
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, value in chosen.items():
        if name not in hints:
            raise unknown_name(f"strength of {spec.modality} views", name, hints)
        values[name] = checked(hints[name], f"View setting {name}", value)
    kind(**values)  # refuses what is out of range
    return values
