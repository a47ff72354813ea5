"""The finished parts that a method starts from: opened from runs, or trained first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nearfar import own
from nearfar.assembly.opened import method_of
from nearfar.assembly.starts import is_folder, named_starts, part_encoder, tokenizer_of_start
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
from nearfar.runs.encoder_files import TOKENIZER
from nearfar.runs.folder import RunFolder

FOLDER = "pretrained"
"""Where a run keeps those of its parts that were trained for it."""


def pretrained_parts(
    kind: type[Method],
    config: Config,
    spec: Spec,
    folder: Path,
    train: Callable[..., RunFolder],
) -> dict[str, Any]:
    """The finished parts of a method by name: methods or encoders, in evaluation mode.

    What is needed and not given is trained first, into ``folder/pretrained/NAME``: an ordinary run
    on the same data, which goes on where it was stopped.

    Args:
        kind: The method's class.
        config: Of the run that needs the parts.
        spec: Of its data.
        folder: Its run folder.
        train: ``nearfar.pretrain``.

    Raises:
        UserError: If a run holds another kind of method than the part may be.
    """
    given, _ = named_starts(kind, config.options.start_from)
    found: dict[str, Any] = {}
    for name, wanted in kind.pretrained.items():
        place = given.get(name)
        if place is None:
            if wanted.needed:
                found[name] = _handed(wanted, _trained(wanted, config, folder, name, train))
        elif wanted.gives == "encoder" and not wanted.kinds:
            found[name] = part_encoder(place, spec)
        else:
            found[name] = _of_run(wanted, place, config.method)
    return found


def _of_run(wanted: Pretrained, place: str, method: str) -> Any:
    """A part that must come from a run.

    Raises:
        UserError: If it is no run, or one of another method.
    """
    expected = " or ".join(wanted.kinds) or "any method"
    if not is_folder(place):
        raise UserError(
            f"{place} is a bare encoder, but {method} starts from a finished run of {expected}; "
            "give a run folder to --start-from."
        )
    run = RunFolder(place)
    if wanted.kinds and run.config.method not in wanted.kinds:
        raise UserError(
            f"{run.folder} was trained with {run.config.method}, but {method} starts from "
            f"{expected}; give another --start-from."
        )
    return _handed(wanted, run)


def _handed(wanted: Pretrained, run: RunFolder) -> Any:
    """What of a run the method is handed."""
    return method_of(run) if wanted.gives == "method" else run.encoder()


def _trained(
    part: Pretrained, config: Config, folder: Path, name: str, train: Callable[..., RunFolder]
) -> RunFolder:
    if not part.kinds:
        raise UserError(
            f"{config.method} starts from a finished run as its {name}; name one with "
            f"--start-from.{name} RUN."
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
    """What the data must be brought to where a method starts from an encoder of texts, as its own
    or as a part: the spec and the tokenizer that this has. Where the encoder is a folder with a
    tokenizer of its own, that one; nothing for any other start.

    Args:
        kind: The method's class.
        options: Of the run that starts.

    Raises:
        UserError: If a run goes on whose model folder is gone.
    """
    given, start = named_starts(kind, options.start_from)
    parts = [name for name in given if kind.pretrained[name].gives == "encoder"]
    shared = [name for name in given if kind.pretrained[name].shares]
    places = [*(given[name] for name in shared), start, *(given[name] for name in parts)]
    for place in places:
        found = (None, None) if place is None else tokenizer_of_start(place)
        if found[1] is not None:
            return found
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
