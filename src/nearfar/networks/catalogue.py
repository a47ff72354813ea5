"""Names of the built-in encoders, what each is, and which one a modality gets by default. Imports
no torch.
"""

from __future__ import annotations

import re
from functools import cache

from nearfar import modalities, own
from nearfar.errors import UserError
from nearfar.modalities import Network

GENERAL = ("any", "tokens", "towers")
"""What a method may ask of an encoder of any modality: nothing, a ``TokenEncoder``, or one for each
part. Modalities have further kinds.
"""

TIMM = "timm:"
HF = "hf:"
PRETRAINED = "@pretrained"
FRESH = "@fresh"
"""Behind the name of an encoder of the user's own: with weights that are drawn anew."""
_PER_KIND = {"tokens": "encoder over patches", "towers": "set of encoders"}


@cache
def entries() -> dict[str, tuple[str, Network]]:
    """The modality and the network of each built-in encoder, as the modalities' files list them."""
    return {
        name: (modality, network)
        for modality in modalities.names()
        for name, network in modalities.get(modality).networks.items()
    }


@cache
def kinds() -> list[str]:
    """The kinds of encoder that a method may ask for: the general ones, and those of which a
    modality's file names a default.

    Example:
        >>> "tokens" in kinds(), "restorer" in kinds()
        (True, True)
    """
    own = {kind for one in modalities.names() for kind in modalities.get(one).encoders}
    return [*GENERAL, *sorted(own - set(GENERAL))]


def kind_of(name: str) -> str:
    """The kind of a built-in encoder; "any" for names that are not built in.

    Example:
        >>> kind_of("srresnet"), kind_of("resnet18")
        ('restorer', 'any')
    """
    found = entries().get(name)
    if found is None or found[1].kind != "any":
        return "any" if found is None else found[1].kind
    defaults = modalities.get(found[0]).encoders
    own = (kind for kind, one in defaults.items() if one == name and kind not in GENERAL)
    return next(own, "any")


def names_of_kind(kind: str) -> list[str]:
    """The built-in names of one kind."""
    return [name for name in entries() if kind_of(name) == kind]


def names() -> list[str]:
    """All built-in names; beside them there are ``timm:NAME`` for any model of the timm library and
    ``hf:PATH`` for a folder of the transformers library.
    """
    return list(entries())


def names_for(modality: str) -> list[str]:
    """The built-in names that encode one modality."""
    return [name for name, (encoded, _) in entries().items() if encoded == modality]


def default(modality: str, kind: str = "any") -> str:
    """The encoder that a modality gets when none is named.

    Raises:
        UserError: if there is none.
    """
    name = modalities.get(modality).encoders.get(kind)
    if name is None:
        what = _PER_KIND.get(kind, "encoder" if kind == "any" else f"encoder of the kind {kind}")
        having = [one for one in modalities.names() if kind in modalities.get(one).encoders]
        known = ", ".join(having) or "several parts, such as image+text"
        raise UserError(
            f"There is no {what} for {modality} data; expected data of one of these modalities: "
            f"{known}."
        )
    return name


def folder_of(name: str | None) -> str | None:
    """The model folder that an encoder's name names, of several the first; None for others.

    Example:
        >>> folder_of("resnet18+hf:models/bert@pretrained")
        'models/bert'
    """
    folders = (one.partition("*")[2] or one for one in (name or "").split("+"))
    found = next((one for one in folders if one.startswith(HF)), None)
    return None if found is None else short(found).removeprefix(HF).removesuffix(PRETRAINED)


def short(name: str | None) -> str:
    """An encoder's name without what a finished run remembers of a folder.

    Example:
        >>> short("hf:models/vit#eJyrVkrOz0vLTFeyUqpOzs9Lyy9KUbKqBQA=")
        'hf:models/vit'
    """
    return re.sub(r"#[\w=-]*", "", name or "")


def fresh(name: str) -> str:
    """The name of the same encoder with random weights.

    Example:
        >>> fresh("timm:resnet18@pretrained"), fresh("own:Net")
        ('timm:resnet18', 'own:Net@fresh')
    """
    bare = [one.removesuffix(PRETRAINED).removesuffix(FRESH) for one in name.split("+")]
    return "+".join(f"{one}{FRESH}" if own.is_own(one.split("*")[-1]) else one for one in bare)
