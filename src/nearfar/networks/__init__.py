"""Encoders by name: ``build(name, spec)``. The module itself imports no torch; the encoder's own
file is imported on demand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearfar import modalities, own
from nearfar.data.spec import Spec
from nearfar.errors import UserError, brief, unknown_name
from nearfar.found import at_home
from nearfar.networks import catalogue
from nearfar.networks.catalogue import names

if TYPE_CHECKING:
    from nearfar.networks.encoder import Encoder

__all__ = ["build", "fresh", "names", "several"]

_MOST = 256
_DIGITS = 6
"""Encoders side by side, at most, and digits of the number of them."""


def build(name: str | None, spec: Spec, *, kind: str = "any") -> Encoder:
    """A fresh encoder for data of this spec, its weights drawn from torch's global random state.

    Args:
        name: one of ``names()``, ``timm:MODEL`` or ``hf:PATH``, the last two followed by
            "@pretrained" for their weights, or the name of the user's own encoder while it is at
            hand (``nearfar.own``); of several parts, one for each joined by "+" (the last ones may
            be left out); "3*NAME" for three of the same, features concatenated. None takes the
            default of the modality and kind.
        spec: of the data.
        kind: for the default: "any", "tokens" (a ``TokenEncoder``), "towers" (``Towers``) or a
            modality's own, such as "restorer". Several parts get towers, but for encoders of such
            a kind of its own, which take the first part.

    Returns:
        The encoder; its ``architecture`` holds the resolved name and the spec, which is all it
        takes to build it again.

    Raises:
        UserError: for an unknown name (with the nearest), one of another modality, images under 8 x
            8 pixels, or an encoder for which there is no memory.
    """
    from nearfar.networks.room import check_room

    shown = name or "The default encoder"
    check_room(
        lambda: _one(name, spec, kind),
        shown,
        "choose a smaller encoder, or smaller samples with --size",
        count=_count(name),
    )
    return _built(name, spec, kind)


def _one(name: str | None, spec: Spec, kind: str) -> Encoder:
    """As ``_built``, but one encoder of several, without weights that are fetched."""
    _, times, each = (name or "").partition("*")
    one = each if times and not spec.parts else name
    return _built(one and one.replace(catalogue.PRETRAINED, ""), spec, kind)


def _count(name: str | None) -> int:
    """How many encoders a name asks for.

    Raises:
        UserError: for more than ``_MOST``.
    """
    counts = [part.partition("*") for part in (name or "").split("+")]
    numbers = [count for count, times, _ in counts if times and count.isdecimal()]
    for count in numbers:
        if len(count) > _DIGITS or int(count) > _MOST:
            raise UserError(
                f"The encoder {brief(name)} stands for more than {_MOST} encoders; expected at "
                f"most {_MOST} side by side."
            )
    return max(map(int, numbers), default=1) or 1


def _built(name: str | None, spec: Spec, kind: str) -> Encoder:
    """As ``build``, without the check of memory."""
    if kind not in catalogue.kinds():
        raise unknown_name("kind of encoder", kind, catalogue.kinds())
    found = catalogue.kind_of(name) if name else kind
    if kind not in catalogue.GENERAL and found != kind:
        fitting = ", ".join(catalogue.names_of_kind(kind)) or "none yet"
        raise UserError(
            f"{name} is no encoder of the kind {kind}, which is needed here; choose one of "
            f"{fitting}."
        )
    if spec.parts and found not in catalogue.GENERAL:
        if kind == "towers":
            raise UserError(
                f"{name} takes one part of {spec.name}, and an encoder of each part is needed "
                f"here; choose others, joined by +."
            )
        spec = spec.first
    if spec.parts:
        return _remembered(*_towers(name, spec), spec)
    chosen = name or catalogue.default(spec.modality, kind)
    count, times, each = chosen.partition("*")
    if times and count.isdecimal() and _count(chosen) and int(count) > 0:
        return several(_remembered(each, _single(each, spec), spec), int(count))
    return _remembered(chosen, _single(chosen, spec), spec)


def weight_shapes(name: str, spec: Spec) -> dict[str, Any]:
    """The shape of each weight of the encoder of a name, without memory for it; nothing where it
    cannot be made so.
    """
    from nearfar.networks.room import shapes_of

    return shapes_of(lambda: _built(name, spec, "any"))


def several(encoder: Encoder, count: int) -> Encoder:
    """``count`` encoders as a ``SideBySide``: this one, and others of its architecture with fresh
    weights of their own.

    An encoder that ``build`` did not make is copied, and what can be is initialised anew. Of
    towers, each becomes several.
    """
    from nearfar.networks.side_by_side import SideBySide
    from nearfar.networks.towers import Towers

    if isinstance(encoder, Towers):
        made: Any = Towers({name: several(encoder.part(name), count) for name in encoder.parts})
    else:
        made = SideBySide([encoder, *(fresh(encoder) for _ in range(count - 1))])
    architecture: Any = getattr(encoder, "architecture", None)
    if architecture is not None:
        made.architecture = {
            **architecture,
            "name": "+".join(f"{count}*{name}" for name in architecture["name"].split("+")),
        }
    several_encoders: Encoder = made
    return several_encoders


def fresh(encoder: Encoder) -> Encoder:
    """Another encoder of the same architecture, its weights drawn from torch's global random
    state.
    """
    architecture: Any = getattr(encoder, "architecture", None)
    if architecture is not None:
        name = architecture["name"]
        return _built(
            catalogue.fresh(name) if own.is_own(name) else name, architecture["spec"], "any"
        )
    import copy

    other = copy.deepcopy(encoder)
    for module in other.modules():
        reset: Any = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()
    return other


def _remembered(name: str, encoder: Any, spec: Spec) -> Encoder:
    name = getattr(encoder, "described", name)
    encoder.architecture = {"name": name, "spec": spec}
    built: Encoder = encoder
    return built


def _single(name: str, spec: Spec) -> Encoder:
    if own.is_own(name.removesuffix(catalogue.FRESH)):
        from nearfar.networks.own_encoder import build_own

        return build_own(name, spec)
    if name.startswith(catalogue.HF):
        from nearfar.networks.folder_encoder import FolderEncoder

        return FolderEncoder(spec, name.removeprefix(catalogue.HF))
    is_timm = name.startswith(catalogue.TIMM)
    if not is_timm and name not in catalogue.entries():
        raise unknown_name(
            "encoder", name, [*names(), f"{catalogue.TIMM}NAME", f"{catalogue.HF}PATH"]
        )
    modality = "image" if is_timm else catalogue.entries()[name][0]
    if spec.modality != modality:
        fitting = ", ".join(catalogue.names_for(spec.modality)) or "none yet"
        raise UserError(
            f"{name} encodes {modality} data, but {spec.name} holds {spec.modality} data; encoders "
            f"for those: {fitting}."
        )
    kind: Any = None if is_timm else at_home(catalogue.entries()[name][1].home)
    any_size = getattr(kind, "any_size", False)
    smallest = 1 if any_size else modalities.get(modality).smallest
    if min(spec.shape[1:], default=smallest) < smallest:
        size = " x ".join(map(str, spec.shape[1:]))
        raise UserError(
            f"The images of {spec.name} have {size} pixels; encoders need at least {smallest} a "
            "side, so enlarge them."
        )
    if is_timm:
        from nearfar.networks.timm_encoder import TimmEncoder

        return TimmEncoder(spec, name.removeprefix(catalogue.TIMM))
    encoder: Encoder = kind(spec, **catalogue.entries()[name][1].options)
    return encoder


def _towers(name: str | None, spec: Spec) -> tuple[str, Encoder]:
    """The resolved name and the encoders for data of several parts."""
    from nearfar.networks.towers import Towers

    given = (name or "").split("+")
    if len(given) > len(spec.parts):
        raise UserError(
            f"The encoder {brief(name or '')} names {len(given)} encoders, but samples of "
            f"{spec.name} have {len(spec.parts)} parts; name at most one for each."
        )
    chosen = {
        part: (given[place] if place < len(given) else "") or catalogue.default(one.modality)
        for place, (part, one) in enumerate(spec.parts.items())
    }
    towers = Towers({part: _built(one, spec.parts[part], "any") for part, one in chosen.items()})
    built: Any = list(towers.parts.values())
    return "+".join(one.architecture["name"] for one in built), towers
