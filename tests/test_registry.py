"""Methods are found by file; names, papers and recipes are complete."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from nearfar.errors import UserError
from nearfar.methods import registry
from nearfar.methods.method import Method
from nearfar.methods.names import name_of
from nearfar.options import resolved_settings
from tests.training.toys import Toy


def test_names_are_listed_without_torch() -> None:
    code = (
        "import sys; from nearfar.methods import registry; assert registry.names(); assert "
        "'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", registry.names())
def test_every_method_states_its_paper_choices_and_recipes(name: str) -> None:
    kind = registry.get(name)
    assert name_of(kind) == name
    assert kind.paper.title
    assert 1950 < kind.paper.year < 2100
    assert set(kind.choices) == {"views", "encoder", "head", "target", "loss"}
    assert set(kind.recipes) == {"paper", "small"}
    for recipe in kind.recipes.values():
        resolved_settings(kind.Settings, recipe.settings)
    documentation = "\n".join(part.__doc__ or "" for part in kind.Settings.__mro__)
    for field in dataclasses.fields(kind.Settings):
        assert f"    {field.name}: " in documentation, (
            f"{name}'s setting {field.name} is not documented"
        )
    assert "Source:" in (sys.modules[kind.__module__].__doc__ or "")


HOOKS = {
    "forward",
    "loss",
    "prepare",
    "view_sources",
    "before_epoch",
    "after_backward",
    "after_step",
    "alarm",
    "parameter_groups",
    "phases",
}


def _statements(name: str) -> int:
    """Statements in the bodies of ``forward``, ``loss`` and the hooks of a method; docstrings do
    not count.
    """
    tree = ast.parse(registry.path_of(name).read_text(encoding="utf-8"))
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in HOOKS
    ]
    inner = [node for function in functions for node in ast.walk(function) if node is not function]
    texts = [
        node
        for node in inner
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    return len([node for node in inner if isinstance(node, ast.stmt)]) - len(texts)


@pytest.mark.parametrize("name", registry.names())
def test_a_method_is_a_page(name: str) -> None:
    assert _statements(name) <= 40


def test_wrong_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="Unknown method 'simclrr': did you mean simclr"):
        registry.get("simclrr")
    with pytest.raises(UserError, match="Cannot import the method 'no_such_module:Thing'"):
        registry.named_by_user("no_such_module:Thing")
    with pytest.raises(UserError, match="is not a method"):
        registry.get("pathlib:Path")


def test_a_name_from_a_file_imports_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "foreign.py").write_text("raise SystemExit('foreign code ran')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        UserError, match="lies outside nearfar, and what a file says is not imported"
    ):
        registry.get("foreign:Method")
    with pytest.raises(SystemExit, match="foreign code ran"):
        registry.named_by_user("foreign:Method")


def test_a_class_whose_module_is_imported_is_found() -> None:
    assert registry.get(f"{Toy.__module__}:Toy") is Toy


def test_a_class_elsewhere_is_named_by_module() -> None:
    class Mine(Method):
        pass

    assert name_of(Mine).startswith(f"{__name__}:")


def test_every_public_name_is_the_verb_also_after_its_namesakes_were_imported() -> None:
    import nearfar
    import nearfar.methods.method
    import nearfar.runs.encoder_files

    for name in set(nearfar.__all__) - {"__version__"}:
        assert callable(getattr(nearfar, name)), name
    with pytest.raises(UserError, match="did you mean simclr"):
        nearfar.methods("simcrl")
