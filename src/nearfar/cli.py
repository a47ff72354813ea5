"""The command line: each verb is the Python function of the same name; options come from its signature and docstring."""

from __future__ import annotations

import dataclasses
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

from nearfar.errors import UserError, unknown_name

_VERBS = {
    "pretrain": "train an encoder on unlabelled data and judge it",
    "evaluate": "judge a run's encoder: kNN, linear probe, few labels, outsiders, robustness ...",
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it went well, 2 for the user's mistake, 1 for ours, 130 when interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Read when torch is first imported: threads that wait spin for some microseconds only, by GNU's OpenMP, or not at all. Longer, and a
    # step takes ten times as long once another program wants one of the cores; without, and small steps on idle cores take up to twice.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        return _dispatch(words)
    except UserError as error:
        print(f"nearfar: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("nearfar: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except Exception:
        traceback.print_exc()
        print("nearfar: this is a defect of nearfar, not of yours; please report the lines above", file=sys.stderr)
        return 1


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] in ("-V", "--version"):
        from nearfar import __version__

        print(f"nearfar {__version__}")
        return 0
    verb, rest = words[0], words[1:]
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

        Console().print(result.table())
    return 0


def _overview() -> str:
    width = max(map(len, _VERBS))
    lines = [f"  {verb:<{width}}  {text}" for verb, text in _VERBS.items()]
    return "\n".join(
        [
            "usage: nearfar COMMAND ...", "",
            "Self-supervised representation learning: every method on one engine, compared fairly.", "", *lines, "",
            "`nearfar COMMAND --help` lists a command's options. Start with: nearfar pretrain simclr",
        ]
    )


def _with_positional_first(function: Callable[..., Any]) -> Callable[..., Any]:
    """From its arguments to a call of the function that is still to be made; its positional-or-keyword arguments are positional words
    of the command line."""
    import inspect
    import typing

    import tyro

    hints = typing.get_type_hints(function, include_extras=True, localns=_annotation_names())
    signature = inspect.signature(function)

    several = next((name for name, p in signature.parameters.items() if p.kind is p.VAR_POSITIONAL), None)

    def command(*args: Any, **kwargs: Any) -> Any:
        return lambda: function(*args, *kwargs.pop(several or "", ()), **kwargs)

    parameters, positional = [], cast(Any, tyro.conf.Positional)
    for parameter in signature.parameters.values():
        hint = hints[parameter.name]
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            hint = positional[hint]
        if parameter.kind is parameter.VAR_POSITIONAL:
            parameter, hint = parameter.replace(kind=parameter.KEYWORD_ONLY), positional[tuple[hint, ...]]  # type: ignore[valid-type]
        parameters.append(parameter.replace(annotation=hint))
    command.__signature__ = signature.replace(parameters=parameters, return_annotation=Any)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    return command


def _annotation_names() -> dict[str, Any]:
    """Names that verbs import for type checkers only; the command line has no use for a return type."""
    return {"Evaluation": Any, "Source": Any, "np": Any}


def _pretrain(words: list[str]) -> int:
    import tyro

    from nearfar.methods import registry
    from nearfar.options import PretrainOptions
    from nearfar.parsing import parsed

    name = words[0] if words and not words[0].startswith("-") else None
    settings: Any = None
    if name is not None and (any(w.startswith("--settings") for w in words) or {"-h", "--help"} & set(words)):
        settings = registry.get(name).Settings
    elif name is not None and ":" not in name and name not in registry.names():
        registry.get(name)
    fields: list[Any] = [
        ("method", cast(Any, tyro.conf.Positional)[str | None], dataclasses.field(default=None)),
        ("config", Path | None, dataclasses.field(default=None)),
        ("profile", bool, dataclasses.field(default=False)),
        ("options", Annotated[PretrainOptions, tyro.conf.arg(name="")], dataclasses.field(default_factory=PretrainOptions)),
    ]
    if settings is not None:
        _indent_attributes(settings)
        fields.append(("settings", settings, dataclasses.field(default_factory=settings)))
    command = dataclasses.make_dataclass("pretrain", fields)
    command.__doc__ = (
        "Pretrain an encoder and judge it.\n\n"
        "Attributes:\n    method: a name from `nearfar methods`.\n    config: a config.toml to start from.\n"
        "    profile: print where the time of the first steps went; the result is the same."
    )
    made = parsed(command, words, prog="nearfar pretrain")
    given = _given(words)
    options = {k: v for k, v in vars(made.options).items() if k in given}
    chosen = {k: v for k, v in vars(made.settings).items() if f"settings.{k}" in given} if settings is not None else {}
    import nearfar

    nearfar.pretrain(made.method, settings=chosen, config=made.config, profile=made.profile, **options)
    return 0


def _indent_attributes(kind: type) -> None:
    """Where a docstring opens with its attributes, dedenting takes their indentation for the text's own and the parser finds no
    attributes; behind an empty line it does."""
    for part in kind.__mro__:
        text = part.__doc__ or ""
        if part is not object and text.startswith("Attributes:"):
            body = textwrap.indent(textwrap.dedent(text.partition("\n")[2]), "    ")
            part.__doc__ = f"\nAttributes:\n{body}"


def _compare(words: list[str]) -> int:
    import tyro
    from rich.console import Console

    import nearfar
    from nearfar.comparison.options import CompareOptions
    from nearfar.parsing import parsed

    rest, grid = _grid(words)
    fields: list[Any] = [
        ("methods", cast(Any, tyro.conf.Positional)[tuple[str, ...]], dataclasses.field(default=())),
        ("advise", bool, dataclasses.field(default=False)),
        ("options", Annotated[CompareOptions, tyro.conf.arg(name="")], dataclasses.field(default_factory=CompareOptions)),
    ]
    command = dataclasses.make_dataclass("compare", fields)
    command.__doc__ = (
        "Compare methods under equal conditions. Beside the options below, --settings.NAME VALUE,VALUE runs each method that has the\n"
        "setting with each value.\n\n"
        "Attributes:\n    methods: names; the others are compared with the first.\n"
        "    advise: propose methods and a batch size for the data and this machine, and train nothing."
    )
    made = parsed(command, rest, prog="nearfar compare")
    if made.advise:
        advice = nearfar.advise(made.options.data, limit=made.options.limit, label=made.options.label)
        Console().print(advice.text(), highlight=False, markup=False)
        return 0
    Console().print(nearfar.compare(*made.methods, settings=grid, **vars(made.options)).table())
    return 0


def _grid(words: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The words without those that set a method's settings, and these: ``--settings.temperature 0.1,0.2`` or with "="."""
    rest: list[str] = []
    grid: dict[str, list[str]] = {}
    left = iter(words)
    for word in left:
        if not word.startswith("--settings."):
            rest.append(word)
            continue
        name, equals, values = word.removeprefix("--settings.").partition("=")
        values = values if equals else next(left, "")
        if not values or values.startswith("--"):
            raise UserError(f"{word} has no value; expected values to try, joined by commas, such as --settings.temperature 0.1,0.2.")
        grid[name.replace("-", "_")] = values.split(",")
    return rest, grid


def _given(words: list[str]) -> set[str]:
    """Names of the options that stand on the command line, as Python names; ``--no-evaluate`` gives "evaluate"."""
    names = {w[2:].partition("=")[0].replace("-", "_") for w in words if w.startswith("--")}
    return names | {n.removeprefix("no_") for n in names}
