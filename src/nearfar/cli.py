"""The command line: each verb is the Python function of the same name; options come from its
signature and docstring.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_type_hints

from nearfar.errors import UserError, unknown_name

if TYPE_CHECKING:
    from nearfar.methods.method import Method

_VERBS = {
    "pretrain": "train an encoder on unlabelled data and judge it",
    "evaluate": "judge a run's encoder: kNN, linear probe, few labels, outsiders, robustness ...",
    "predict": "what a run's method says of samples: classes, values, restored images, terms ...",
    "embed": "features of data as parquet or npz",
    "search": "the samples that are most like an image, a series, a text or another sample",
    "dedupe": "groups of near-duplicates",
    "label": "what to label next, and which labels are likely wrong",
    "export": "the encoder as safetensors, ONNX or a torch program",
    "push": "the encoder and its model card to the Hugging Face hub",
    "report": "one self-contained page about a run",
    "compare": "several methods under equal conditions, with intervals and a verdict",
    "claim": "a paper's central claim, as an experiment with seeds and intervals",
    "methods": "the methods, or one method's paper and settings",
    "datasets": "the data sets known by name",
    "doctor": "what is installed and what limits speed here",
}

_INTERRUPTED = 130
_OUTSIDE = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EMFILE,
    errno.ENAMETOOLONG,
    errno.ENFILE,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
}
"""What the system may refuse for reasons outside of nearfar: the disk is full, the folder is
read-only ...
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it went well, 2 for the user's mistake, 1 for ours, 130 when
    interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Read when torch is first imported: threads that wait spin for some microseconds only, by GNU's
    # OpenMP, or not at all. Longer, and a step takes ten times as long once another program wants
    # one of the cores; without, and small steps on idle cores take up to twice.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        return _dispatch(words)
    except UserError as error:
        print(f"nearfar: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("nearfar: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OUTSIDE:
            place = f" {error.filename}" if error.filename else ""
            print(
                f"nearfar: the system refuses{place}: {error.strerror}; mend that and try again",
                file=sys.stderr,
            )
            return 2
        traceback.print_exc()
        print(
            "nearfar: this is a defect of nearfar, not of yours; please report the lines above",
            file=sys.stderr,
        )
        return 1


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] in ("-V", "--version"):
        from nearfar.version import __version__

        print(f"nearfar {__version__}")
        return 0
    verb = words[0]
    rest = words[1:]
    if verb not in _VERBS:
        raise unknown_name("command", verb, _VERBS)
    if verb == "pretrain":
        return _pretrain(rest)
    if verb == "compare":
        return _compare(rest)
    import importlib

    from nearfar import HOMES
    from nearfar.parsing import parsed

    function: Callable[..., Any] = getattr(importlib.import_module(HOMES[verb]), verb)
    result = parsed(_with_positional_first(function), rest, prog=f"nearfar {verb}")()
    if isinstance(result, Path):
        print(result)
    elif hasattr(result, "table"):
        from rich.console import Console

        console = Console()
        if verb == "evaluate":
            from nearfar.reports.terminal import judged_lines
            from nearfar.reports.told import shown

            for label, text in judged_lines(result):
                console.print(f"[cyan]{label}[/] {shown(text)}", highlight=False, soft_wrap=True)
        console.print(result.table())
    return 0


def _overview() -> str:
    width = max(map(len, _VERBS))
    lines = [f"  {verb:<{width}}  {text}" for verb, text in _VERBS.items()]
    return "\n".join(
        [
            "usage: nearfar COMMAND ...",
            "",
            "Self-supervised representation learning: every method on one engine, compared fairly.",
            "",
            *lines,
            "",
            "`nearfar COMMAND --help` lists a command's options. Start with: nearfar pretrain "
            "simclr",
        ]
    )


def _with_positional_first(function: Callable[..., Any]) -> Callable[..., Any]:
    """From its arguments to a call of the function that is still to be made; its
    positional-or-keyword arguments are positional words of the command line.
    """
    import inspect
    import typing

    import tyro

    hints = typing.get_type_hints(function, include_extras=True, localns=_annotation_names())
    signature = inspect.signature(function)

    several = next(
        (name for name, p in signature.parameters.items() if p.kind is p.VAR_POSITIONAL), None
    )

    def command(*args: Any, **kwargs: Any) -> Any:
        return lambda: function(*args, *kwargs.pop(several or "", ()), **kwargs)

    parameters = []
    positional = cast(Any, tyro.conf.Positional)
    for parameter in signature.parameters.values():
        hint = hints[parameter.name]
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            hint = positional[hint]
        if parameter.kind is parameter.VAR_POSITIONAL:
            parameter = parameter.replace(kind=parameter.KEYWORD_ONLY)
            hint = positional[tuple[hint, ...]]  # type: ignore[valid-type]
        parameters.append(parameter.replace(annotation=hint))
    command.__signature__ = signature.replace(parameters=parameters, return_annotation=Any)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__name__ = function.__name__
    command.__doc__ = function.__doc__
    return command


def _annotation_names() -> dict[str, Any]:
    """Names that verbs import for type checkers only; the command line has no use for a return
    type.
    """
    return {"Evaluation": Any, "Result": Any, "Source": Any, "np": Any}


def _pretrain(words: list[str]) -> int:
    from nearfar.options import FLAGS, OPTION_GROUPS, REMOVED, PretrainOptions
    from nearfar.parsing import flags_of, gathered, given, parsed

    for word in words:
        name = word.partition("=")[0].removeprefix("--").replace("-", "_")
        if word.startswith("--") and name in REMOVED:
            raise UserError(f"The option --{name} is no more: {REMOVED[name]}.")
    words = gathered(words, FLAGS.values())
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
    found = parsed(_pretrain_command(groups), words, prog="nearfar pretrain", flags=flags)
    settings = found.pop("settings", {})
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
}


def _pretrain_command(groups: Mapping[str, Any]) -> Callable[..., dict[str, Any]]:
    """A function whose signature holds the words of ``nearfar pretrain``, group by group, and that
    returns what was given.
    """
    import inspect

    import tyro

    def command(**found: Any) -> dict[str, Any]:
        return found

    keyword = inspect.Parameter.KEYWORD_ONLY
    conf = cast(Any, tyro.conf)
    parameters = [
        inspect.Parameter(
            "method",
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=None,
            annotation=conf.Positional[str | None],
        ),
        inspect.Parameter("config", keyword, default=None, annotation=Path | None),
        inspect.Parameter("profile", keyword, default=False, annotation=bool),
    ]
    for name, group in groups.items():
        kind = group if name == "settings" else conf.OmitArgPrefixes[group]
        parameters.append(inspect.Parameter(name, keyword, default={}, annotation=kind))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = (
        "Pretrain an encoder and judge it. `nearfar pretrain METHOD --help` also lists the "
        "method's own settings, --settings.NAME.\n\n"
        "Args:\n    method: a name from `nearfar methods`.\n    config: a config.toml to start "
        "from.\n"
        "    profile: print where the time of the first steps went; the result is the same."
    )
    return command


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
    if name is None and any(word.startswith("--settings.") for word in words):
        source = _value_of(words, "--config") or _value_of(words, "--resume")
        if source is None:
            raise UserError(
                "--settings.NAME was given without a method; name the method first: nearfar "
                "pretrain METHOD ..."
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
    names = {f.name for f in dataclasses.fields(PretrainOptions)} | {"config", "profile"}
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


def _compare(words: list[str]) -> int:
    import tyro
    from rich.console import Console

    import nearfar
    from nearfar.comparison.options import CompareOptions
    from nearfar.parsing import parsed

    rest, grid = _grid(words)
    fields: list[Any] = [
        (
            "methods",
            cast(Any, tyro.conf.Positional)[tuple[str, ...]],
            dataclasses.field(default=()),
        ),
        ("advise", bool, dataclasses.field(default=False)),
        (
            "options",
            Annotated[CompareOptions, tyro.conf.arg(name="")],
            dataclasses.field(default_factory=CompareOptions),
        ),
    ]
    command = dataclasses.make_dataclass("compare", fields)
    command.__doc__ = (
        "Compare methods under equal conditions. Beside the options below, --settings.NAME "
        "VALUE,VALUE runs each method that has the\n"
        "setting with each value.\n\n"
        "Attributes:\n    methods: names; the others are compared with the first.\n"
        "    advise: propose methods and a batch size for the data and this machine, and train "
        "nothing."
    )
    made = parsed(command, rest, prog="nearfar compare")
    if made.advise:
        advice = nearfar.advise(
            made.options.data, limit=made.options.limit, label=made.options.label
        )
        Console().print(advice.text(), highlight=False, markup=False)
        return 0
    Console().print(
        nearfar.compare(*made.methods, settings=grid, **vars(made.options)).table(
            pairs=made.options.pairs
        )
    )
    return 0


def _grid(words: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The words without those that set a method's settings, and these: ``--settings.temperature
    0.1,0.2`` or with "=".

    A setting that is true or false may stand alone, ``--settings.no-decoupled`` for false.
    """
    flags = _boolean_settings(words)
    rest: list[str] = []
    grid: dict[str, list[str]] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("--settings."):
            rest.append(word)
            continue
        option, equals, text = word.removeprefix("--settings.").partition("=")
        name = option.replace("-", "_")
        if not equals and name.removeprefix("no_") in flags and not _are_truths(left[:1]):
            grid[name.removeprefix("no_")] = ["false" if name.startswith("no_") else "true"]
            continue
        values = text if equals else (left.pop(0) if left else "")
        if not values or values.startswith("--"):
            raise UserError(
                f"{word} has no value; expected values to try, joined by commas, such as "
                "--settings.temperature 0.1,0.2."
            )
        grid[name] = values.split(",")
    return rest, grid


def _boolean_settings(words: list[str]) -> set[str]:
    """Names of the settings that are true or false of the methods among the words."""
    from nearfar.methods import registry

    if not any(word.startswith("--settings.") for word in words):
        return set()
    kinds = [registry.get(name).Settings for name in registry.names() if name in words]
    return {name for kind in kinds for name, hint in get_type_hints(kind).items() if hint is bool}


def _are_truths(words: Sequence[str]) -> bool:
    return any(set(word.lower().split(",")) <= {"true", "false"} for word in words)
