"""Kinds of samples: one file each, and combinations of them ("image+text") made of theirs.

``get("image")`` gives the ``Modality`` that ``modalities/image.py`` defines. Imports no torch.
"""

from __future__ import annotations

from typing import Any

from nearfar import found
from nearfar.data.spec import Spec
from nearfar.modalities.modality import Modality, Network

__all__ = ["Modality", "Network", "get", "names", "parts_of", "plain_of", "toy_of"]


def names() -> list[str]:
    """The names of all modalities, sorted."""
    return found.names_in(__name__, "MODALITY")


def parts_of(name: str) -> tuple[str, ...]:
    """The modalities that a combined one is made of; of a single one, itself.

    Example:
        >>> parts_of("image+text")
        ('image', 'text')
    """
    return tuple(name.split("+"))


def get(name: str) -> Modality:
    """The modality of that name; "A+B" combines modalities.

    Example:
        >>> get("image").axes
        3

    Raises:
        UserError: If there is no such modality; names the nearest.
    """
    parts = parts_of(name)
    if len(parts) > 1:
        from nearfar.modalities.parts import combined

        return combined([get(part) for part in parts], name)
    modality: Modality = found.part_in(__name__, name, "MODALITY", "modality", Modality)
    return modality


def plain_of(spec: Spec, samples: Any) -> Any:
    """Raw samples as encoders take them, whole and without chance."""
    return found.at_home(get(spec.modality).plain)(samples, spec)


def toy_of(spec: Spec, count: int, generator: Any) -> Any:
    """Made-up raw samples of a spec, drawn from a ``torch.Generator``."""
    return found.at_home(get(spec.modality).toy_samples)(spec, count, generator)
