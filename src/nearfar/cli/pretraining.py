"""The words of ``nearfar pretrain``: the options of every run, by groups, and the settings of the
method that is named.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_type_hints

from nearfar.cli.functions import command_of
from nearfar.cli.strengths import PREFIX, pairs_of, spread, strengths_of
from nearfar.cli.words import named_values
from nearfar.errors import UserError

if TYPE_CHECKING:
    from nearfar.methods.method import Method

_INTERRUPTED = 130


def pretrain(words: list[str]) -> int:
    """Train by the words behind the verb; the exit code."""
    from nearfar.options import FLAGS, OPTION_GROUPS, REMOVED, PretrainOptions
    from nearfar.parsing import flags_of, gathered, given, parsed

    for word in words:
        name = word.partition("=")[0].removeprefix("--").replace("-", "_")
        if word.startswith("--") and name in REMOVED:
            raise UserError(f"The option --{name} is no more: {REMOVED[name]}.")
    words = gathered(named_values(words, FLAGS.values()), FLAGS.values())
    kind = _method_of(words)
    groups = {
        name: given(PretrainOptions, _GROUPS[name], names, flags=FLAGS)
        for name, names in OPTION_GROUPS.items()
    }
    flags = flags_of(get_type_hints(PretrainOptions)) | {"--profile", "--no-profile"}
    if kind is not None:
        hints = get_type_hints(kind.Settings)
        _refuse_bare_settings(words, hints, get_type_hints(PretrainOptions))
        flags |= flags_of(hints, "settings.")
        groups["settings"] = given(
            kind.Settings, _GROUPS["settings"], defaults=_setting_defaults(kind)
        )
        strengths = strengths_of(kind)
        flags |= flags_of(get_type_hints(strengths), "views.")
        words = spread(words, pairs_of(strengths))
        groups["strengths"] = given(strengths, _GROUPS["strengths"])
    found = parsed(_command(groups), words, prog="nearfar pretrain", flags=flags)
    settings = found.pop("settings", {})
    strengths_given = found.pop("strengths", {})
    if strengths_given and found["views"] is not None:
        raise UserError(
            f"Views of your own, {found['views']}, and strengths of ours, "
            f"--views.{next(iter(strengths_given))}, were both given; choose one."
        )
    own_views = found.pop("views")
    if strengths_given or own_views is not None:
        found["views"] = strengths_given or own_views
    options = {key: value for group in OPTION_GROUPS for key, value in found.pop(group).items()}
    import nearfar

    run = nearfar.pretrain(found.pop("method"), settings=settings, **found, **options)
    return _INTERRUPTED if run.interrupted else 0


_GROUPS = {
    "data": "What to learn from.",
    "training": "How to train; what is left out is as the method's recipe says.",
    "machine": "Where and how to compute.",
    "output": "What is written, watched and continued.",
    "settings": "The method's own settings.",
    "strengths": "How strong views are, by modality; what is left out is as the method wants it.",
}


def _command(groups: Mapping[str, Any]) -> Callable[..., Any]:
    """A function whose signature holds the words of ``nearfar pretrain``, group by group, and that
    returns what was given.
    """
    import tyro

    conf = cast(Any, tyro.conf)
    parameters: dict[str, tuple[Any, Any]] = {
        "method": (conf.Positional[str | None], None),
        "config": (Path | None, None),
        "views": (str | None, None),
        "profile": (bool, False),
        "trace": (Path | None, None),
    }
    for name, group in groups.items():
        parameters[name] = (conf.OmitArgPrefixes[group], {})
    if "settings" in groups:
        parameters["settings"] = (groups["settings"], {})
    strengths = groups.get("strengths")
    if strengths is not None:
        parameters["strengths"] = (Annotated[strengths, conf.arg(name="views")], {})
    text = (
        "Pretrain an encoder and judge it. `nearfar pretrain METHOD --help` also lists the "
        "method's own settings, --settings.NAME, and the strengths of views, --views.NAME.\n\n"
        "Args:\n    method: a name from `nearfar methods`.\n    config: a config.toml to start "
        "from.\n"
        "    views: views of your own, FILE.py:NAME: a function of a batch, or a transform of a "
        "sample.\n"
        "    profile: print where the time of the first steps went; the result is the same.\n"
        "    trace: a folder for a trace of ten of the first steps, by PyTorch's profiler."
    )
    return command_of(parameters, text)


def _method_of(words: list[str]) -> type[Method] | None:
    """The method that the words name, by itself or through the configuration or run that they
    continue; None if there is none.
    """
    from nearfar.methods import registry
    from nearfar.options import read_config

    known = registry.names()
    first = words[0] if words and not words[0].startswith("-") else None
    given_name = first or next((word for word in words if word in known), None)
    name = given_name
    if name is None and any(word.startswith(("--settings.", PREFIX)) for word in words):
        source = _value_of(words, "--config") or _value_of(words, "--resume")
        if source is None:
            raise UserError(
                "--settings.NAME or --views.NAME was given without a method; name the method "
                "first: nearfar pretrain METHOD ..."
            )
        path = Path(source)
        name = read_config(path / "config.toml" if path.is_dir() else path).method
    if name is None or (":" not in name and name in known and not _asks_for_settings(words)):
        return None
    return registry.named_by_user(name) if name == given_name else registry.get(name)


def _asks_for_settings(words: list[str]) -> bool:
    """Whether any word may concern a setting: asks for help, names a setting, or is no option of
    every run.
    """
    from nearfar.options import PretrainOptions

    if {"-h", "--help"} & set(words):
        return True
    names = {f.name for f in dataclasses.fields(PretrainOptions)} | {
        "config",
        "views",
        "profile",
        "trace",
    }
    options = [
        word[2:].partition("=")[0].replace("-", "_") for word in words if word.startswith("--")
    ]
    return any(
        option not in names and option.removeprefix("no_") not in names for option in options
    )


def _value_of(words: list[str], option: str) -> str | None:
    """The word behind ``option``, or behind its "="."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name == option:
            return value if equals else following
    return None


def _refuse_bare_settings(
    words: list[str], settings: Mapping[str, Any], options: Mapping[str, Any]
) -> None:
    """``--temperature`` is answered with ``--settings.temperature``."""
    for word in words:
        name = word.removeprefix("--").partition("=")[0]
        plain = name.replace("-", "_")
        if word.startswith("--") and plain in settings and plain not in options:
            raise UserError(f"Unknown option --{name}: did you mean --settings.{name}?")


def _setting_defaults(kind: type[Method]) -> dict[str, str]:
    """What help says of a setting's default: the paper's value and, where the recipe for laptops
    has another, that one, too.
    """
    plain = vars(kind.Settings())
    paper, small = (
        {**plain, **kind.recipes[name].settings} if name in kind.recipes else plain
        for name in ("paper", "small")
    )
    same = {name: f"default: {_in_words(value)}" for name, value in paper.items()}
    other = {
        n: f"paper: {_in_words(paper[n])}; small: {_in_words(v)}"
        for n, v in small.items()
        if v != paper[n]
    }
    return {**same, **other}


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
