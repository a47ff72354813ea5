"""Views of samples with several parts: each view holds a view of every part.

A part whose modality is seen unchanged beside others (a text, of which a word less can turn a true
caption into a wrong one) is the same in all views.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from nearfar import modalities
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.rows import Parts, Picked
from nearfar.views.made import Made, Views, about, by_row, draws_globally
from nearfar.views.wanted import WantedViews


@dataclass(frozen=True)
class PartViews:
    """``views(samples, generator)``: ``Parts`` to one ``Parts`` for each wanted view.

    Attributes:
        spec: Of the data.
        makers: By part, what makes its views; all make equally many, or one that all views share.
    """

    spec: Spec
    makers: Mapping[str, Views]

    @property
    def by_row(self) -> bool:
        """Whether all makers are."""
        return all(map(by_row, self.makers.values()))

    @property
    def draws_globally(self) -> bool:
        """Whether any maker does."""
        return any(map(draws_globally, self.makers.values()))

    def __call__(self, samples: Parts, generator: torch.Generator) -> Made:
        parts = check_parts(samples, self.spec)
        made = {name: maker(parts[name], generator) for name, maker in self.makers.items()}
        count = max(map(len, made.values()))
        views = [
            Parts({name: one[view if len(one) > 1 else 0] for name, one in made.items()})
            for view in range(count)
        ]
        known = {name: value for one in made.values() for name, value in about(one).items()}
        return Made(views, known)


def part_views(spec: Spec, wanted: WantedViews, settings: Any = None) -> PartViews:
    """The maker of views of samples with several parts.

    Args:
        spec: Of the data, with a spec for each part.
        wanted: Which views; ``wanted.parts`` may say otherwise for some parts.
        settings: Strengths, by name of the part; of the first part alone where it is no mapping.

    Raises:
        UserError: For settings of a part that is not there.
    """
    names = list(spec.parts)
    by_part = settings if isinstance(settings, Mapping) else {names[0]: settings}
    for name in by_part:
        if name not in spec.parts:
            raise UserError(
                f"View settings are given for the part {name!r}; expected one of "
                f"{', '.join(names)}."
            )
    makers = {}
    for name, part in spec.parts.items():
        style = modalities.get(part.modality).beside
        own = wanted.parts.get(name)
        if own is None and style:
            own = WantedViews(whole=1, style=style)
        chosen = own or replace(wanted, parts={})
        makers[name] = chosen.maker(part, by_part.get(name))
    return PartViews(spec, makers)


def plain_parts(samples: Parts, spec: Spec) -> Parts:
    """Every part as encoders take it, without chance; parts that are not there are left out.

    Raises:
        UserError: If the samples are not ``Parts`` with at least one part of the spec.
    """
    if not isinstance(samples, Parts) or not any(name in spec.parts for name in samples):
        check_parts(samples, spec)
    return Parts(
        {name: _plain(part, samples[name]) for name, part in spec.parts.items() if name in samples}
    )


def _plain(spec: Spec, part: Any) -> Any:
    """One part, or the things that it is picked from, as encoders take them."""
    if isinstance(part, Picked):
        return part.map(lambda things: modalities.plain_of(spec, things))
    return modalities.plain_of(spec, part)


def check_parts(samples: Any, spec: Spec) -> Parts:
    """The samples, if they have all parts of the spec.

    Raises:
        UserError: If they do not.
    """
    if isinstance(samples, Parts) and all(name in samples for name in spec.parts):
        return samples
    found = (
        f"parts named {', '.join(samples)}"
        if isinstance(samples, Parts)
        else f"a {type(samples).__name__}"
    )
    raise UserError(
        f"The samples of {spec.name!r} are {found}: {spec.modality} views expect "
        f"nearfar.rows.Parts with {', '.join(spec.parts)}."
    )
