"""The house: which room may use which, told from the imports of every file.

ARCHITECTURE.md says the same in words.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

import nearfar

ROOT = Path(nearfar.__file__).parent
MOST_FILES = 16
"""Files of a folder, but for those that hold one small file a thing."""
WIDE = {"claims", "networks"}

FLOORS = (
    "errors ranges named found own files stored version collectives",
    "rows batch",
    "modalities",
    "data",
    "losses",
    "targets",
    "views networks results",
    "methods",
    "precision options parsing",
    "training",
    "evaluation",
    "runs",
    "assembly",
    "finding",
    "reports comparison",
    "studies claims",
    "verbs",
    "sklearn integrations testing",
    "cli __main__",
)
"""From the ground up: a room uses those below it and those beside it."""

UPWARDS = {
    ("methods", "verbs"): "the package is also the verb of its name",
    ("modalities", "data"): "a modality's toy has a Spec, which is plain facts",
    ("options", "training"): "names of schedules and optimisers, which import no torch",
    ("training", "evaluation"): "features of the training set between epochs",
}
"""The arrows that run upwards, each with its reason; ARCHITECTURE.md names them too."""


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(("nearfar", *parts)).removesuffix(".__init__")] = path
    return found


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


def _only_for_types(tree: ast.Module) -> set[int]:
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If)]
    typed = [block for block in blocks if "TYPE_CHECKING" in ast.unparse(block.test)]
    return {id(inner) for block in typed for inner in ast.walk(block)}


@cache
def imports_of(module: str) -> frozenset[str]:
    """The dotted names that a module imports, also within functions, but not for types alone."""
    tree = tree_of(module)
    skipped = _only_for_types(tree)
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def ours(name: str) -> str:
    """The module of ours that an imported name lies in; "" for others."""
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return name if name.startswith("nearfar.") else ""


def used_by(module: str) -> set[str]:
    return {target for name in imports_of(module) if (target := ours(name)) and target != module}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_there_is_no_circle_of_imports() -> None:
    state: dict[str, int] = {}
    path: list[str] = []

    def visit(module: str) -> None:
        state[module] = 1
        path.append(module)
        for target in sorted(used_by(module)):
            if state.get(target) == 1:
                circle = path[path.index(target) :]
                pytest.fail(" -> ".join([*circle, target]))
            if target not in state:
                visit(target)
        path.pop()
        state[module] = 2

    for module in sorted(modules()):
        if module not in state:
            visit(module)


def test_arrows_point_down() -> None:
    floor = {name: level for level, names in enumerate(FLOORS) for name in names.split()}
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for module in modules():
        if not room(module):
            continue
        for target in used_by(module):
            assert room(module) in floor, f"{room(module)} stands on no floor"
            if floor[room(target)] > floor[room(module)]:
                found[room(module), room(target)].add(f"{module} -> {target}")
    assert {arrow: sorted(each) for arrow, each in found.items() if arrow not in UPWARDS} == {}
    assert set(UPWARDS) == set(found), "an arrow of the list is there no more"
    assert len(UPWARDS) <= 7


def test_losses_use_torch_and_losses_alone() -> None:
    allowed = ("torch", "nearfar.losses", "nearfar.errors", "nearfar.ranges")
    solvers = {"nearfar.losses.graphs.graph_matching"}  # a black box that is differentiated through
    outside = {
        module: sorted(bad)
        for module in modules()
        if room(module) == "losses"
        and module not in solvers
        and (
            bad := {
                name
                for name in imports_of(module)
                if not name.startswith(allowed) and name.split(".")[0] in ("nearfar", "numpy")
            }
        )
    }
    assert outside == {}


def test_methods_touch_no_data_no_evaluation_and_no_processes() -> None:
    facts = ("nearfar.data.spec", "nearfar.data.batches.wanted")
    for module in modules():
        if room(module) != "methods" or module == "nearfar.methods":
            continue
        for name in imports_of(module):
            assert not name.startswith("torch.distributed"), module
            target = ours(name)
            assert room(target) not in ("evaluation", "training", "runs", "assembly"), name
            assert room(target) != "data" or target.startswith(facts), f"{module} uses {name}"


def test_only_collectives_and_the_engine_talk_to_other_processes() -> None:
    allowed = {"nearfar.collectives", "nearfar.training.processes.sharding"}
    for module in modules():
        names = {name for name in imports_of(module) if name.startswith("torch.distributed")}
        of_tensors = {name for name in names if name.startswith("torch.distributed.tensor")}
        assert not names - of_tensors or module in allowed, f"{module} uses {sorted(names)}"


def test_nothing_names_a_method_but_its_file_and_what_is_about_it() -> None:
    about = ("methods", "claims", "testing", "studies")
    for module in modules():
        for target in used_by(module):
            is_method = target.startswith("nearfar.methods.") and target.count(".") == 3
            assert not is_method or room(module) in about, f"{module} names {target}"


def test_no_modality_is_compared_by_name_outside_its_file() -> None:
    for module in modules():
        if room(module) in ("modalities", "data"):
            continue
        for node in ast.walk(tree_of(module)):
            if not isinstance(node, ast.Compare):
                continue
            sides = [node.left, *node.comparators]
            asks = any(
                (isinstance(side, ast.Attribute) and side.attr == "modality")
                or (isinstance(side, ast.Name) and side.id == "modality")
                for side in sides
            )
            names = any(
                isinstance(inner, ast.Constant) and isinstance(inner.value, str)
                for side in sides
                for inner in ast.walk(side)
            )
            assert not (asks and names), f"{module}, line {node.lineno}: {ast.unparse(node)}"


def test_folders_are_small() -> None:
    counts = defaultdict(int)
    for path in modules().values():
        counts[path.parent] += 1
    crowded = {
        str(folder.relative_to(ROOT)): count
        for folder, count in counts.items()
        if count > MOST_FILES and folder.name not in WIDE
    }
    assert crowded == {}


def test_no_file_hides_what_it_holds() -> None:
    vague = {"utils", "util", "misc", "helpers", "common", "manager"}
    assert [path for path in modules().values() if path.stem in vague] == []
