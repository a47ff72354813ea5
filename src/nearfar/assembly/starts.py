"""What a run may start from: a run folder, a file of weights, or a finished encoder by its name.

============================  ===================================================================
``RUN``                       a run folder, or the folder of an exported encoder
``FILE.safetensors``          weights for the architecture that ``--encoder`` names
``NAME@FILE.safetensors``     the same, with the architecture beside it
``timm:NAME@pretrained``      what the timm library has for a model
``hf:PATH``                   a model folder of the transformers library, with its weights
``hub:OWNER/NAME``            what ``nearfar push`` put on the hub, or ``hub:./FOLDER``
``nearfar:NAME``              an encoder of the wheel ``nearfar-models``
============================  ===================================================================
"""

from __future__ import annotations

import os
from pathlib import Path

from nearfar import networks, own
from nearfar.data.content.folder_tokenizer import FolderTokenizer
from nearfar.data.content.tokenizer import Tokenizer
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.methods.method import Method
from nearfar.networks.catalogue import HF, PRETRAINED, TIMM, short
from nearfar.networks.encoder import Encoder
from nearfar.runs import hub
from nearfar.runs.bundle import bundled, is_bundled
from nearfar.runs.encoder_files import (
    DESCRIPTION,
    TOKENIZER,
    encoder_spec,
    load_encoder,
    name_of,
    tokenizer_of,
)
from nearfar.runs.folder import CONFIG, RunFolder
from nearfar.runs.weight_files import SUFFIX, fill, read_weights

ENCODER = "encoder"
"""The name under which every method's own encoder starts from something."""
HUB = "hub:"


def named_starts(
    kind: type[Method], start_from: tuple[str, ...]
) -> tuple[dict[str, str], str | None]:
    """What each pretrained part comes from, and what the encoder's weights come from.

    A start without a name is the first part that is needed; of a method without such parts it is
    the encoder's start, as ``encoder=START`` is of every method.

    Args:
        kind: The method's class.
        start_from: As the user gave it: START or NAME=START.

    Raises:
        UserError: For a name that is no part, or a part that is given twice.
    """
    parts: dict[str, str] = {}
    encoder: str | None = None
    for text in start_from:
        name, equals, place = text.partition("=")
        if equals and name == ENCODER and ENCODER not in kind.pretrained:
            name = ""
        elif not equals or name not in kind.pretrained:
            if equals and kind.pretrained and not set("/:@") & set(name):
                known = ", ".join([*kind.pretrained, ENCODER])
                raise UserError(
                    f"{kind.__name__} starts from no part {name!r}; expected one of {known}."
                )
            name, place = _first_part(kind), text
        if not place:
            raise UserError(f"Nothing was named behind {text!r} to start from; give a run folder.")
        if not name:
            if encoder is not None:
                raise UserError("Two encoders were given to start from; this method takes one.")
            encoder = place
        elif name in parts:
            raise UserError(f"The part {name} was given twice to start from; give it once.")
        else:
            parts[name] = place
    return parts, encoder


def _first_part(kind: type[Method]) -> str:
    needed = [name for name, one in kind.pretrained.items() if one.needed]
    return next(iter([*needed, *kind.pretrained]), "")


def check_going_on(kind: type[Method], start_from: tuple[str, ...], encoder: str | None) -> None:
    """Refuse to go on with an encoder that nothing has trained.

    Args:
        kind: The method's class.
        start_from: As the user gave it.
        encoder: Its name, as the user gave it.

    Raises:
        UserError: If the encoder is a fresh one.
    """
    _, start = named_starts(kind, start_from)
    shares = any(one.shares for one in kind.pretrained.values())
    name = encoder or ""
    if start is None and not shares and PRETRAINED not in name and not own.is_own(name):
        raise UserError(
            "The recipe continue goes on with a finished encoder, but none was given; name one "
            "with --start-from, such as a run folder or timm:NAME@pretrained."
        )


def is_folder(start: str) -> bool:
    """Whether a start is a folder on this machine, perhaps of a run.

    Example:
        >>> [is_folder(one) for one in ("runs/first", "hub:me/net", "vit-tiny@a.safetensors")]
        [True, False, False]
    """
    return not (start.startswith((TIMM, HF, HUB)) or start.endswith(SUFFIX)) or is_bundled(start)


def started(start: str, spec: Spec, name: str | None, *, kind: str = "any") -> Encoder:
    """An encoder for the data, with the weights of a start.

    Args:
        start: What the user gave.
        spec: Of the data.
        name: The encoder that the user named; None for that of the start.
        kind: Of encoder, as for ``networks.build``.

    Raises:
        UserError: If the start cannot be read, is of another architecture, or does not fit the
            data.
    """
    if start.endswith(SUFFIX) and not Path(start).is_dir():
        return _from_file(start, spec, name, kind)
    if start.startswith((TIMM, HF)):
        return _from_library(start, spec, name, kind)
    finished = finished_encoder(start)
    held = name_of(finished)
    encoder = networks.build(name or held, spec, kind=kind)
    if not own.same(name_of(encoder), held):
        raise UserError(
            f"{start} holds the encoder {short(held)}, not {short(name_of(encoder))}; leave "
            "--encoder out to go on with it."
        )
    try:
        encoder.load_state_dict(finished.state_dict())
    except RuntimeError as error:
        known = encoder_spec(finished)
        raise UserError(
            f"The encoder in {start} was trained on {known.name} with samples of shape "
            f"{known.shape} and does not fit {spec.name} with {spec.shape}; bring the data to the "
            "same channels and size."
        ) from error
    return encoder


def part_encoder(start: str, spec: Spec) -> Encoder:
    """A finished encoder as a part of a method, in evaluation mode.

    One that nearfar wrote stays as it was built, for the data that it was trained on; a library's
    model is built for these data.

    Args:
        start: What the user gave.
        spec: Of the data.

    Raises:
        UserError: As for ``started``, or if the encoder takes other data.
    """
    if not is_folder(start) and not start.startswith(HUB):
        return started(start, spec, None).eval()
    encoder = finished_encoder(start)
    known = encoder_spec(encoder)
    found = spec.of(known.modality) or spec
    facts = [(one.modality, one.shape[:1], one.vocabulary) for one in (found, known)]
    if facts[0] != facts[1]:
        raise UserError(
            f"The encoder in {start} takes {known.modality} samples of shape {known.shape}, but "
            f"{spec.name} has {found.modality} samples of shape {found.shape}; start from one that "
            "takes the same."
        )
    return encoder


def finished_encoder(start: str) -> Encoder:
    """The encoder of a run, of an exported folder, of the hub or of the bundle, in evaluation mode.

    Raises:
        UserError: If there is none, or it cannot be read.
    """
    if start == HUB:
        raise UserError(f"{HUB} names no repository; write {HUB}OWNER/NAME, or {HUB}./FOLDER.")
    if start.startswith(HUB):
        return hub.load(start.removeprefix(HUB)).eval()
    folder = bundled(start) if is_bundled(start) else Path(start)
    if os.path.lexists(folder / DESCRIPTION) and not os.path.lexists(folder / CONFIG):
        return load_encoder(folder)[0].eval()
    return RunFolder(folder).encoder()


def tokenizer_of_start(start: str) -> tuple[Spec | None, Tokenizer | None]:
    """How texts are encoded for a start, with the spec that they are brought to; nothing where it
    has no tokenizer.

    Raises:
        UserError: If the start cannot be read.
    """
    if start.startswith(HF):
        folder = Path(start.removeprefix(HF).removesuffix(PRETRAINED))
        has_tokenizer = (folder / TOKENIZER).is_file()
        return None, FolderTokenizer.of_folder(str(folder)) if has_tokenizer else None
    if not is_folder(start) and not start.startswith(HUB):
        return None, None
    encoder = finished_encoder(start)
    tokenizer = tokenizer_of(encoder)
    return (encoder_spec(encoder), tokenizer) if tokenizer is not None else (None, None)


def _from_library(start: str, spec: Spec, name: str | None, kind: str) -> Encoder:
    """A model of a library with the library's weights."""
    if start.startswith(TIMM) and not start.endswith(PRETRAINED):
        raise UserError(
            f"{start} names an architecture with fresh weights, which are nothing to start from; "
            f"write {start}{PRETRAINED}, or give a file with its weights: {start}@FILE{SUFFIX}."
        )
    bare = start.removesuffix(PRETRAINED)
    if name is not None and short(name).replace(PRETRAINED, "") != bare:
        raise UserError(
            f"{start} is another encoder than {short(name)}; leave --encoder out to go on with it."
        )
    return networks.build(bare + PRETRAINED, spec, kind=kind)


def _from_file(start: str, spec: Spec, name: str | None, kind: str) -> Encoder:
    """An architecture by its name, with the weights of a file."""
    before, at, behind = start.partition("@")
    architecture, file = (before, behind) if at and not Path(start).exists() else ("", start)
    wanted = architecture or name
    if not Path(file).is_file():
        raise UserError(
            f"Cannot read {file}: there is no such file; give a {SUFFIX} file that exists."
        )
    if wanted is None:
        raise UserError(
            f"{start} holds weights without an architecture; name it with --encoder, or before "
            f"the file, such as timm:resnet18@{start}."
        )
    if name is not None and short(name) != wanted:
        raise UserError(
            f"{start} is another encoder than {short(name)}; leave --encoder out to go on with it."
        )
    if PRETRAINED in wanted:
        raise UserError(
            f"The weights of {wanted} would be replaced by those of {file}; write "
            f"{wanted.replace(PRETRAINED, '')}."
        )
    encoder = networks.build(wanted, spec, kind=kind)
    fill(encoder, read_weights(Path(file)), f"{file} does not fit {short(wanted)}")
    return encoder
