"""The pages of the site that are made from classes: one for each method, family of losses,
protocol, preparation, modality and schedule, and lists of them. They hold nothing written by hand.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nearfar
from nearfar import modalities
from nearfar.data import prepare
from nearfar.evaluation.protocols import all_protocols
from nearfar.methods import registry
from nearfar.training import schedules

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "nearfar"
CLAIMS = ROOT / "docs" / "results" / "claims"
_NOT_OF_RECIPES = ("settings",)


def pages() -> dict[str, str]:
    """Path on the site to Markdown."""
    found = {
        **_method_pages(),
        **_loss_pages(),
        **_protocol_pages(),
        **_preparation_pages(),
        **_modality_pages(),
        **_schedule_pages(),
        **_interface_page(),
    }
    return {path: f"{text.rstrip()}\n" for path, text in found.items()}


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A table in Markdown; bars in cells are escaped."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [" ".join(str(cell).split()).replace("|", "\\|") for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    return ["", *lines, ""]


def _lead(documentation: str) -> str:
    """The first paragraph of a docstring as one line."""
    return " ".join(documentation.partition("\n\n")[0].split())


def _meanings(kind: type[Any]) -> dict[str, str]:
    """What the docstrings of a dataclass and of its bases say of each of its fields."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        found |= _own_meanings(one)
    return found


def _own_meanings(kind: type[Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    inside = False
    for line in inspect.cleandoc(kind.__doc__ or "").splitlines():
        if not line.startswith(" "):
            inside = line.strip() == "Attributes:" or (inside and not line.strip())
            continue
        if not inside:
            continue
        if not line.startswith("        "):
            name, _, line = line.strip().partition(":")
        found[name] = f"{found.get(name, '')} {line.strip()}".strip()
    return found


# Methods


def _method_pages() -> dict[str, str]:
    costs = json.loads(registry.COSTS.read_text(encoding="utf-8"))["costs"]
    found = {}
    listed = ["# Methods", ""]
    listed.append(
        "Each page is made from the method's class. `nearfar methods NAME` prints the same, and "
        "`nearfar methods --tree` sorts the methods by what they learn from."
    )
    for family, members in registry.families().items():
        rows = []
        for name in members:
            documentation = ast.get_docstring(
                ast.parse(registry.path_of(name).read_text(encoding="utf-8"))
            )
            found[f"methods/{name}.md"] = _method_page(name, documentation or "", costs)
            rows.append((f"[{name}]({name}.md)", _lead(documentation or "")))
        listed += ["", f"## {family.capitalize()}", *_table(("method", "in a sentence"), rows)]
    return {"methods/index.md": "\n".join(listed), **found}


def _method_page(name: str, documentation: str, costs: Mapping[str, float]) -> str:
    kind = registry.get(name)
    paper = kind.paper
    lines = [f"# {name}", ""]
    if paper.title:
        lines += [f"*{paper.title}.* {paper.authors}, {paper.year}.", ""]
    if paper.arxiv:
        lines += [f"[arXiv {paper.arxiv}](https://arxiv.org/abs/{paper.arxiv})", ""]
    lines += ["```", f"nearfar pretrain {name}", "```", ""]
    lines += [*_prose(documentation), ""]
    taken = " or ".join(kind.modalities) or "any modality"
    needed = " It needs labels." if kind.needs_labels else ""
    lines += [f"It takes {taken}.{needed}", "", "## The five choices"]
    lines += _table(("choice", "this method"), list(kind.choices.items()))
    lines += ["## Settings and recipes"]
    lines += _table(("setting", "what it is", "paper", "small"), _settings(kind))
    lines += _table(("option", "paper", "small"), _recipes(kind))
    if paper.departures:
        lines += ["## Where it departs from the paper", ""]
        lines += [f"- {sentence}" for sentence in paper.departures]
        lines += [""]
    if name in costs:
        lines += ["## Cost", "", f"A step takes {costs[name]:.2f} times as long as SimCLR's.", ""]
    lines += _claim(name)
    lines += ["## Interface", "", f"::: {kind.__module__}.{kind.__name__}", ""]
    return "\n".join(lines)


def _prose(documentation: str) -> list[str]:
    """A docstring as Markdown: indented formulas become blocks of code."""
    lines: list[str] = []
    formula = False
    for line in documentation.splitlines():
        indented = line.startswith("    ")
        if indented != formula and (line.strip() or not formula):
            if formula and not indented:
                lines += ["```", ""]
            if indented:
                lines += ["", "```text"]
            formula = indented
        lines.append(line[4:] if formula else line)
    return [*lines, "```"] if formula else lines


def _settings(kind: Any) -> list[tuple[object, ...]]:
    meanings = _meanings(kind.Settings)
    rows = []
    for field in dataclasses.fields(kind.Settings):
        default = getattr(kind.Settings(), field.name)
        values = [
            kind.recipe(recipe).settings.get(field.name, default) for recipe in ("paper", "small")
        ]
        option = f"`--settings.{field.name.replace('_', '-')}`"
        rows.append((option, meanings.get(field.name, ""), *values))
    return rows


def _recipes(kind: Any) -> list[tuple[object, ...]]:
    return [
        (
            f"`--{field.name.replace('_', '-')}`",
            *(getattr(kind.recipe(recipe), field.name) for recipe in ("paper", "small")),
        )
        for field in dataclasses.fields(kind.recipe("paper"))
        if field.name not in _NOT_OF_RECIPES
    ]


def _claim(name: str) -> list[str]:
    file = CLAIMS / f"{name}.json"
    if not file.exists():
        return []
    claim = json.loads(file.read_text(encoding="utf-8"))
    return [
        "## The paper's claim, measured",
        "",
        f"{claim['statement']} **{claim['verdict'].capitalize()}**: {claim['metric']}, "
        f"{claim['first']} minus {claim['second']}, is {claim['difference']:+.4g} "
        f"({claim['low']:+.4g} to {claim['high']:+.4g}, 95 %, {len(claim['seeds'])} seeds). "
        f"Setting: {claim['setting']}",
        "",
        f"Again: `nearfar claim {name}`. [All claims](../results/claims.md).",
        "",
    ]


# Losses


def _loss_pages() -> dict[str, str]:
    found = {}
    rows = []
    for folder in sorted(path for path in (PACKAGE / "losses").iterdir() if path.is_dir()):
        files = [file for file in sorted(folder.glob("*.py")) if not file.stem.startswith("_")]
        if not files:
            continue
        package = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))) or ""
        lines = [f"# Losses: {folder.name}", "", _lead(package), ""]
        for file in files:
            lines += [f"## {file.stem.replace('_', ' ').capitalize()}", ""]
            lines += [f"::: nearfar.losses.{folder.name}.{file.stem}", ""]
        found[f"losses/{folder.name}.md"] = "\n".join(lines)
        rows.append((f"[{folder.name}]({folder.name}.md)", _lead(package)))
    listed = [
        "# Losses",
        "",
        "Pure functions from embeddings to a scalar. They import torch alone and never gather from "
        "other processes.",
        *_table(("family", "what it holds"), rows),
    ]
    return {"losses/index.md": "\n".join(listed), **found}


# Protocols


def _protocol_pages() -> dict[str, str]:
    found = {}
    rows = []
    for one in all_protocols():
        headline = ", ".join(one.headline) or "all of its metrics"
        judged = "features" if one.judges is None else f"{one.judges.__name__} (what is predicted)"
        lines = [
            f"# {one.name}",
            "",
            one.statement[:1].upper() + one.statement[1:].rstrip(".") + ".",
            "",
            "```",
            f"nearfar evaluate RUN --protocols {one.name}",
            "```",
            *_table(
                ("of the protocol", ""),
                [
                    ("stored as", f"`{one.version}`"),
                    ("judges", judged),
                    ("stands for it", headline),
                    ("must beat", ", ".join(one.beats) or "the random encoder and the raw input"),
                    ("runs unasked", "yes" if one.quick else "no, by its name or with `all`"),
                ],
            ),
        ]
        found[f"protocols/{one.name}.md"] = "\n".join(lines)
        rows.append((f"[{one.name}]({one.name}.md)", one.statement))
    listed = [
        "# Protocols",
        "",
        "A protocol's settings never change under its versioned name. Whatever a probe has to "
        "choose, it chooses on training data.",
        *_table(("protocol", "what it does"), rows),
    ]
    return {"protocols/index.md": "\n".join(listed), **found}


# Preparations, modalities, schedules


def _preparation_pages() -> dict[str, str]:
    found = {}
    rows = []
    for name in prepare.names():
        kind = prepare.kind_of(name)
        documentation = inspect.getdoc(kind) or ""
        meanings = _meanings(kind)
        options = [
            (f"`{field.name}`", meanings.get(field.name, ""), _default(field))
            for field in dataclasses.fields(kind)
        ]
        lines = [
            f"# {name}",
            "",
            documentation.partition("\n\nAttributes:")[0],
            "",
            "```",
            f"nearfar pretrain METHOD --with {name}",
            "```",
            *_table(("option", "what it is", "default"), options),
        ]
        found[f"preparations/{name}.md"] = "\n".join(lines)
        rows.append((f"[{name}]({name}.md)", _lead(documentation)))
    listed = [
        "# Preparations",
        "",
        "What is done to a data set before training: `--with NAME:option=value`, as often as "
        "wanted, in order. The run's card tells what each did.",
        *_table(("preparation", "what it does"), rows),
    ]
    return {"preparations/index.md": "\n".join(listed), **found}


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`"
    if field.default_factory is not dataclasses.MISSING:
        return f"`{field.default_factory()!r}`"
    return "must be given"


def _modality_pages() -> dict[str, str]:
    found = {}
    rows = []
    for name in modalities.names():
        one = modalities.get(name)
        file = PACKAGE / "modalities" / f"{name}.py"
        lead = _lead(ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "")
        networks = [
            (f"`{network}`", about.summary, "yes" if network in one.encoders.values() else "")
            for network, about in one.networks.items()
        ]
        methods = [
            f"[{method}](../methods/{method}.md)"
            for method in registry.names()
            if not registry.get(method).modalities or name in registry.get(method).modalities
        ]
        lines = [f"# {name}", "", lead, "", "## Encoders"]
        lines += _table(("`--encoder`", "what it is", "default"), networks) if networks else [""]
        lines += ["## Strengths of the views", ""]
        lines += _strengths(one.strengths)
        lines += ["## Methods that take it", "", ", ".join(methods), ""]
        found[f"modalities/{name}.md"] = "\n".join(lines)
        rows.append((f"[{name}]({name}.md)", lead))
    listed = [
        "# Modalities",
        "",
        "Kinds of samples. `A+B` are samples of several parts, as in `image+text`.",
        *_table(("modality", "a sample"), rows),
    ]
    return {"modalities/index.md": "\n".join(listed), **found}


def _strengths(home: str) -> list[str]:
    if not home:
        return ["It has none that can be set.", ""]
    module, _, name = home.partition(":")
    kind = getattr(importlib.import_module(module), name)
    meanings = _meanings(kind)
    rows = [
        (f"`--views.{field.name.replace('_', '-')}`", meanings.get(field.name, ""), _default(field))
        for field in dataclasses.fields(kind)
    ]
    return _table(("option", "what it is", "default"), rows)


def _schedule_pages() -> dict[str, str]:
    lines = ["# Schedules", "", "Courses of the learning rate: `--schedule NAME:option=value`.", ""]
    for name in schedules.names():
        module = f"nearfar.training.schedules.{name.replace('-', '_')}"
        lines += [f"## {name}", "", f"::: {module}.factor", ""]
    return {"schedules.md": "\n".join(lines)}


def _interface_page() -> dict[str, str]:
    lines = ["# Interface", "", "What `import nearfar` offers: every command is a function.", ""]
    for name in nearfar.__all__:
        one = getattr(nearfar, name)
        if inspect.isfunction(one) or inspect.isclass(one):
            lines += [f"::: {one.__module__}.{one.__qualname__}", ""]
    return {"interface.md": "\n".join(lines)}
