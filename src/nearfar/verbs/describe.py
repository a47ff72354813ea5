"""``nearfar methods``, ``nearfar datasets`` and ``nearfar doctor``: what there is, and what this
machine can do.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from nearfar.methods.facets import Facets

_EXTRAS = {
    "timm": "encoders of the timm library (timm:NAME)",
    "transformers": "encoders of model folders on this machine (hf:PATH)",
    "aeon": "time-series sets (aeon:NAME)",
    "datasets": "Hugging Face data (hf:NAME)",
    "onnx": "export to ONNX",
    "onnxruntime": "the check of exported ONNX files",
    "soundfile": "compressed audio",
}


def methods(
    name: str | None = None, *, tree: bool = False, table: bool = False, where: str = ""
) -> None:
    """Print the methods by family, or one method's paper, five choices, settings and recipes.

    Args:
        name: a method; all of them when left out.
        tree: print the methods as leaves of the tree of self-supervised learning.
        table: print a table of what kind each method is.
        where: only methods of a kind, as in teacher=ema,guard=negatives or leaf=contrastive.
    """
    console = Console()
    if name is not None:
        _describe(name, console)
    elif table:
        console.print(_facet_table(where))
    elif tree or where:
        console.print(_leaf_tree(where))
    else:
        console.print(_families())


def _known(where: str) -> dict[str, tuple[Facets, str]]:
    """Facets and summary of each method that is as wanted; torch is not imported."""
    from nearfar.methods import registry
    from nearfar.methods.facets import conditions, facets_in, meets

    wanted = conditions(where) if where else {}
    found = {}
    for member in registry.names():
        text = registry.path_of(member).read_text(encoding="utf-8")
        facets = facets_in(text)
        if facets is not None and meets(facets, wanted):
            found[member] = facets, _summary(text)
    return found


def _summary(text: str) -> str:
    first = (ast.get_docstring(ast.parse(text)) or "").partition("\n\n")[0]
    return " ".join(first.split())


def _leaf_tree(where: str) -> Tree:
    from nearfar.methods.facets import TREE

    known = _known(where)
    root = Tree("self-supervised learning")
    branches: dict[str, Tree] = {"": root}
    for leaf, meaning in TREE.items():
        members = {name: told for name, (facets, told) in known.items() if facets.leaf == leaf}
        inside = any(facets.leaf.startswith(f"{leaf}.") for facets, _ in known.values())
        if not members and not inside:
            continue
        above, _, last = leaf.rpartition(".")
        branches[leaf] = branches[above].add(f"[bold]{last.replace('_', ' ')}[/]  {meaning}")
        for name, told in members.items():
            branches[leaf].add(f"[cyan]{name}[/]  {escape(told)}")
    return root


def _facet_table(where: str) -> Table:
    names = [field.name for field in dataclasses.fields(Facets)]
    table = Table("method", *names)
    for name, (facets, _) in _known(where).items():
        table.add_row(name, *(getattr(facets, facet) for facet in names))
    return table


def _families() -> Tree:
    """Families and methods with the first line of each file's docstring; torch is not imported."""
    from nearfar.methods import registry

    tree = Tree("methods")
    for family, members in registry.families().items():
        branch = tree.add(f"[bold]{family}[/]")
        for member in members:
            text = registry.path_of(member).read_text(encoding="utf-8")
            branch.add(f"[cyan]{member}[/]  {escape(_summary(text))}")
    return tree


def _describe(name: str, console: Console) -> None:
    from nearfar.methods import registry

    kind = registry.named_by_user(name)
    paper = kind.paper
    source = (
        f": {paper.title}. {paper.authors}, {paper.year}"
        if paper.title
        else ", a method of your own"
    )
    console.print(
        f"[bold]{escape(name)}[/]{source}" + (f", arXiv {paper.arxiv}" if paper.arxiv else "")
    )
    console.print(f"data: {' or '.join(kind.modalities) or 'any modality'}" + _labels(kind))
    table = Table("choice", "this method", title="five choices", title_justify="left")
    for choice, text in kind.choices.items():
        table.add_row(choice, text)
    console.print(table)
    table = Table("setting", "paper", "small", title="settings", title_justify="left")
    for field in dataclasses.fields(kind.Settings):
        default = getattr(kind.Settings(), field.name)
        row = [kind.recipe(r).settings.get(field.name, default) for r in ("paper", "small")]
        table.add_row(f"--settings.{field.name.replace('_', '-')}", *map(str, row))
    for field in dataclasses.fields(kind.recipe("paper")):
        if field.name != "settings":
            table.add_row(
                f"--{field.name.replace('_', '-')}",
                *(str(getattr(kind.recipe(r), field.name)) for r in ("paper", "small")),
            )
    console.print(table)
    console.print(_cost(name), highlight=False)
    for sentence in paper.departures:
        console.print(f"departs from the paper or its code: {sentence}")


def _cost(name: str) -> str:
    """What a step costs relative to SimCLR's, as measured by benchmarks/costs.py."""
    from nearfar.methods import registry

    measured = json.loads(registry.COSTS.read_text(encoding="utf-8"))
    if name not in measured["costs"]:
        return "cost a step: not measured"
    about = measured["about"]
    return (
        f"cost a step: {measured['costs'][name]:.2f} x SimCLR's ({about['what']}; "
        f"{about['date']}, {about['machine']})"
    )


def _labels(kind: Any) -> str:
    kinds = {
        "class": " (classes)",
        "classes": " (several classes)",
        "value": " (real numbers)",
        "any": "",
    }
    what = kinds[kind.label_kind]
    return f"; needs labels{what}" if kind.needs_labels else ""


def datasets() -> None:
    """Print the data sets known by name, and which can be loaded here."""
    from nearfar.data.readers.catalogue import entries

    table = Table("name", "modality", "samples", "what", "here")
    for entry in entries():
        table.add_row(
            *map(escape, (entry.name, entry.modality, entry.samples, entry.what, entry.here))
        )
    console = Console()
    console.print(table)
    console.print(
        "Or a path: a folder of images or recordings (with or without class folders), a folder of "
        "CSV series, a parquet, npz, csv or tsv"
        " file. Columns may hold images, recordings, clips (lists of frames), texts or file names; "
        "npz arrays images, series or points."
    )


def doctor() -> None:
    """Print what is installed, what the hardware offers, and what limits speed here."""
    import torch

    from nearfar.data.cache_folder import cache_folder
    from nearfar.precision import device_of

    device = device_of("auto")
    table = Table("what", "found")
    for package in ("nearfar", "torch", "torchvision", "numpy", "scikit-learn"):
        table.add_row(package, importlib.metadata.version(package))
    table.add_row(
        "device", torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    )
    capability = torch.backends.cpu.get_cpu_capability()
    table.add_row(
        "processor",
        f"{os.cpu_count()} cores, {torch.get_num_threads()} threads in use, {capability}",
    )
    table.add_row("cache", f"{cache_folder()} ({_free(cache_folder())} free)")
    for module, use in _EXTRAS.items():
        found = importlib.util.find_spec(module) is not None
        table.add_row(
            f"extra: {module}",
            "installed" if found else f"not installed; for {use}: pip install {module}",
        )
    console = Console()
    console.print(table)
    for sentence in _limits(device, torch.get_num_threads()):
        console.print(f"• {sentence}", highlight=False)


def _free(folder: Path) -> str:
    import shutil

    while not folder.exists():
        folder = folder.parent
    return f"{shutil.disk_usage(folder).free / 2**30:.0f} GiB"


def _limits(device: Any, threads: int) -> list[str]:
    found = []
    if device.type == "cpu":
        found.append(
            "No accelerator is visible to torch: the encoder's forward and backward pass limits "
            "the speed; keep encoders small."
        )
    if threads < (os.cpu_count() or 1):
        found.append(
            f"torch uses {threads} of {os.cpu_count()} cores; unset OMP_NUM_THREADS to use them "
            "all."
        )
    if device.type == "cuda":
        found.append(
            "Views are made on the device; data that do not fit its memory are read from the "
            "memory-mapped cache."
        )
    return found
