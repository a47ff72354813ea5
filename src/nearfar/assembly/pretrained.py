"""The finished parts that a method starts from: opened from runs, or trained first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nearfar import own
from nearfar.assembly.opened import method_of
from nearfar.data.content.folder_tokenizer import FolderTokenizer
from nearfar.data.content.tokenizer import Tokenizer
from nearfar.data.options import FORMS
from nearfar.data.prepare import makes_parts
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.methods import registry
from nearfar.methods.method import Method, Pretrained
from nearfar.networks.catalogue import folder_of
from nearfar.options import Config, PretrainOptions
from nearfar.runs.encoder_files import TOKENIZER, encoder_spec, tokenizer_of
from nearfar.runs.folder import RunFolder

FOLDER = "pretrained"
"""Where a run keeps those of its parts that were trained for it."""


def named_starts(
    kind: type[Method], start_from: tuple[str, ...]
) -> tuple[dict[str, Path], Path | None]:
    """Which run each pretrained part comes from, and whose weights the encoder starts from.

    A run without a name is the first part that is needed; of a method without such parts it is the
    encoder's start.

    Args:
        kind: The method's class.
        start_from: As the user gave it: RUN or NAME=RUN.

    Raises:
        UserError: For a name that is no part, or a part that is given twice.
    """
    parts: dict[str, Path] = {}
    encoder: Path | None = None
    for text in start_from:
        name, equals, place = text.partition("=")
        if not equals or name not in kind.pretrained:
            if equals and kind.pretrained and "/" not in name:
                known = ", ".join(kind.pretrained)
                raise UserError(
                    f"{kind.__name__} starts from no part {name!r}; expected one of {known}."
                )
            name, place = _first(kind), text
        if not name:
            if encoder is not None:
                raise UserError("Two runs were given to start from; this method takes one.")
            encoder = Path(place)
        elif name in parts:
            raise UserError(f"The part {name} was given twice to start from; give it once.")
        else:
            parts[name] = Path(place)
    return parts, encoder


def _first(kind: type[Method]) -> str:
    needed = [name for name, part in kind.pretrained.items() if part.needed]
    return next(iter([*needed, *kind.pretrained]), "")


def pretrained_parts(
    kind: type[Method], config: Config, folder: Path, train: Callable[..., RunFolder]
) -> dict[str, Any]:
    """The finished parts of a method by name: methods or encoders, in evaluation mode.

    What is needed and not given is trained first, into ``folder/pretrained/NAME``: an ordinary run
    on the same data, which goes on where it was stopped.

    Args:
        kind: The method's class.
        config: Of the run that needs the parts.
        folder: Its run folder.
        train: ``nearfar.pretrain``.

    Raises:
        UserError: If a run holds another kind of method than the part may be.
    """
    given, _ = named_starts(kind, config.options.start_from)
    found: dict[str, Any] = {}
    for name, part in kind.pretrained.items():
        place = given.get(name)
        if place is None and not part.needed:
            continue
        run = RunFolder(place) if place is not None else _trained(part, config, folder, name, train)
        if part.kinds and run.config.method not in part.kinds:
            raise UserError(
                f"{run.folder} was trained with {run.config.method}, but {config.method} starts "
                f"from {' or '.join(part.kinds)}; give another --start-from."
            )
        found[name] = method_of(run) if part.gives == "method" else run.encoder()
    return found


def _trained(
    part: Pretrained, config: Config, folder: Path, name: str, train: Callable[..., RunFolder]
) -> RunFolder:
    if not part.kinds:
        raise UserError(
            f"{config.method} starts from a finished run as its {name}; name one with "
            f"--start-from {name}=RUN."
        )
    place = folder / FOLDER / name
    if (place / "config.toml").exists():
        run = RunFolder(place)
        finished = (place / "encoder.json").exists() and (place / "method.json").exists()
        return run if finished else train(resume=place)
    shared = {**_shared(config.options, part)}
    if part.shares and config.options.encoder is not None:
        shared["encoder"] = _at_hand("encoder", config.options.encoder)
    return train(part.kinds[0], output=place, **shared)


def data_of_start(
    kind: type[Method], options: PretrainOptions
) -> tuple[Spec | None, Tokenizer | None]:
    """What the data must be brought to where a method goes on with an encoder of texts: the spec
    and the tokenizer of the run that it is from. Where the encoder is a folder with a tokenizer of
    its own, that one; nothing for any other start.

    Args:
        kind: The method's class.
        options: Of the run that starts.

    Raises:
        UserError: If a run goes on whose model folder is gone.
    """
    given, _ = named_starts(kind, options.start_from)
    for name, part in kind.pretrained.items():
        if part.shares and name in given:
            encoder = RunFolder(given[name]).encoder()
            tokenizer = tokenizer_of(encoder)
            if tokenizer is not None:
                return encoder_spec(encoder), tokenizer
    folder = folder_of(options.encoder)
    if folder is None:
        return None, None
    if options.resume is not None and not Path(folder).is_dir():
        raise UserError(
            f"The folder {folder}, whose model this run was started with, is gone; bring it back "
            "to go on."
        )
    if (Path(folder) / TOKENIZER).is_file():
        return None, FolderTokenizer.of_folder(folder)
    return None, None


def _at_hand(kind: str, name: str) -> Any:
    """The object that a name of the user's own stands for, which is not looked up in a file: the
    name may come from a folder. All other names as they are.
    """
    return own.handed(kind, name) if own.is_own(name) else name


def _shared(options: PretrainOptions, part: Pretrained) -> Mapping[str, Any]:
    """What the run of a part shares with the run that needs it: data and machine.

    Preparations that make parts are left out where the finished method learns from no such parts.
    """
    names = (
        "data",
        "label",
        "group",
        *FORMS,
        "limit",
        "prepare",
        "seed",
        "device",
        "precision",
    )
    known = {field.name for field in dataclasses.fields(options)}
    shared = {name: getattr(options, name) for name in names if name in known}
    shared["data"] = _at_hand("data", options.data)
    if not registry.get(part.kinds[0]).learns_from:
        shared["prepare"] = tuple(text for text in options.prepare if not makes_parts(text))
    return {**shared, "recipe": part.recipe, "evaluate": False}
