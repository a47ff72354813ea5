"""Whether the fields of a spec fit together."""

from __future__ import annotations

import math

from nearfar import modalities
from nearfar.data.spec import Spec
from nearfar.errors import UserError, unknown_name

_MOST_IN_SAMPLE = 1 << 30
"""More values than a sample has that is trained on."""


def check_spec(spec: Spec, where: str) -> None:
    """Refuse a spec, read from a file, whose fields have the right types but do not fit together.

    Raises:
        UserError: that says what does not fit; ``where`` names the file.
    """
    known = modalities.names()
    for name in modalities.parts_of(spec.modality):
        if name not in known:
            raise unknown_name(f"modality in {where}", name, known)
    axes = modalities.get(spec.modality).axes
    expected = modalities.parts_of(spec.modality)
    found = tuple(part.modality for part in spec.parts.values())
    if found != (expected if len(expected) > 1 else ()):
        raise UserError(
            f"The parts in {where} are {', '.join(found) or 'none'}; expected those of "
            f"{spec.modality} data: restore it."
        )
    for name, part in spec.parts.items():
        check_spec(part, f"the part {name} of {where}")
    if len(spec.shape) != axes:
        raise UserError(
            f"The shape in {where} has {len(spec.shape)} axes; expected {axes} for {spec.modality} "
            "data: restore it."
        )
    if math.prod(spec.shape) > _MOST_IN_SAMPLE:
        raise UserError(
            f"The shape in {where} is one of {math.prod(spec.shape):,} values; expected at most "
            f"{_MOST_IN_SAMPLE:,}."
        )
    channels = spec.shape[0] if spec.shape else 0
    for name, values in (("mean", spec.mean), ("std", spec.std)):
        if len(values) not in (0, 1, channels) or not all(map(math.isfinite, values)):
            raise UserError(
                f"The {name} in {where} holds {len(values)} numbers; expected {channels} finite "
                "ones: restore it."
            )
    if 0 in spec.std:
        raise UserError(f"The std in {where} holds 0; expected numbers above 0: restore it.")
