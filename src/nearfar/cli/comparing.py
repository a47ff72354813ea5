"""The words of ``nearfar compare``: its options, and the grid of settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, get_type_hints

from nearfar.cli.functions import command_of
from nearfar.cli.strengths import PREFIX, values_of_strength
from nearfar.cli.words import named_values
from nearfar.comparison.arms import TRAINING, VIEWS
from nearfar.errors import UserError

_TOLD = (
    "Compare methods under equal conditions. Beside the options below, --settings.NAME "
    "VALUE,VALUE runs each method that has the\n"
    "setting with each value, and --views.NAME VALUE,VALUE each method with each strength of views "
    "(0.3:1 is one of\n"
    "two values). --training.NAME VALUE,VALUE does so with learning_rate, layer_decay, freeze and "
    "others.\n\n"
    "Args:\n    methods: names; the others are compared with the first.\n"
    "    advise: propose methods and a batch size for the data and this machine, and train "
    "nothing."
)


_SETTINGS = "--settings."
_TRAINING = f"--{TRAINING}"


def compare(words: list[str]) -> int:
    """Compare by the words behind the verb; the exit code."""
    import tyro
    from rich.console import Console

    import nearfar
    from nearfar.comparison.options import CompareOptions
    from nearfar.options import FLAGS
    from nearfar.parsing import flags_of, gathered, given, parsed

    conf = cast(Any, tyro.conf)
    rest, grid = grid_of(gathered(named_values(words, FLAGS.values()), FLAGS.values()))
    options = given(CompareOptions, "Under which conditions, equal for all.", flags=FLAGS)
    command = command_of(
        {
            "methods": (conf.Positional[tuple[str, ...]], ()),
            "advise": (bool, False),
            "conditions": (conf.OmitArgPrefixes[options], {}),
        },
        _TOLD,
    )
    flags = flags_of(get_type_hints(CompareOptions)) | {"--advise", "--no-advise"}
    found = parsed(command, rest, prog="nearfar compare", flags=flags)
    chosen = found["conditions"]
    if found["advise"]:
        asked = {name: chosen[name] for name in ("limit", "label") if name in chosen}
        advice = nearfar.advise(chosen.get("data", CompareOptions.data), **asked)
        Console().print(advice.text(), highlight=False, markup=False)
        return 0
    made = nearfar.compare(*found["methods"], settings=grid, **chosen)
    Console().print(made.table(pairs=chosen.get("pairs", False)))
    return 0


def grid_of(words: list[str]) -> tuple[list[str], dict[str, list[str]]]:
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
        prefix = next((one for one in (_SETTINGS, _TRAINING, PREFIX) if word.startswith(one)), None)
        if prefix is None:
            rest.append(word)
            continue
        option, equals, text = word.removeprefix(prefix).partition("=")
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
        if prefix == _SETTINGS:
            grid[name] = values.split(",")
        elif prefix == _TRAINING:
            grid[f"{TRAINING}{name}"] = values.split(",")
        else:
            grid[f"{VIEWS}{name}"] = values_of_strength(name, values)
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
