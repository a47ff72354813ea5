"""``--with branch``: the terms of one branch of an ontology, such as biological processes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from nearfar.data.samples import Samples, Source
from nearfar.errors import UserError

_SHORT = {
    "mf": "molecular_function",
    "bp": "biological_process",
    "cc": "cellular_component",
}
"""What the three branches of the Gene Ontology are called for short."""


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Only the terms of one branch of the ontology are labels; samples without one of them stay.

    Attributes:
        of: The branch as the .obo file calls it ("namespace"); mf, bp and cc stand for the three of
            the Gene Ontology.
    """

    of: str

    def __call__(self, source: Source, *, seed: int) -> Source:
        spec = source.spec
        branches = spec.extra.get("branches", ())
        wanted = _SHORT.get(self.of.lower(), self.of)
        places = [place for place, one in enumerate(branches) if one == wanted]
        if not places:
            known = ", ".join(sorted(set(branches) - {""})) or "none"
            raise UserError(
                f"No term of {spec.name} is of the branch {wanted!r}; its branches are: {known}."
            )
        number = {place: new for new, place in enumerate(places)}
        extra = dict(spec.extra)
        for name in ("branches", "term names"):
            if name in extra:
                extra[name] = [extra[name][place] for place in places]
        if "above" in extra:
            extra["above"] = [
                [number[one] for one in extra["above"][place] if one in number] for place in places
            ]
        index = torch.tensor(places)
        note = f"{len(places):,} of {len(branches):,} terms are of the branch {wanted}."
        return replace(
            source,
            spec=replace(spec, classes=tuple(spec.classes[place] for place in places), extra=extra),
            train=_only(source.train, index),
            test=None if source.test is None else _only(source.test, index),
            notes=[*source.notes, note],
        )


def _only(samples: Samples, terms: torch.Tensor) -> Samples:
    if samples.label is None:
        return samples
    return replace(samples, label=samples.label[:, terms.to(samples.label.device)])


PREPARATION = Branch
