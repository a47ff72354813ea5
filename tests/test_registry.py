"""Methods are found by file; names, papers and recipes are complete."""

from __future__ import annotations

import dataclasses
import statistics
import subprocess
import sys

import pytest

from nearfar.errors import UserError
from nearfar.methods import registry
from nearfar.methods.method import Method
from nearfar.options import resolved_settings


def test_names_are_listed_without_torch() -> None:
    code = "import sys; from nearfar.methods import registry; assert registry.names(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", registry.names())
def test_every_method_states_its_paper_choices_and_recipes(name: str) -> None:
    kind = registry.get(name)
    assert registry.name_of(kind) == name
    assert kind.paper.title
    assert 1990 < kind.paper.year < 2100
    assert set(kind.choices) == {"views", "encoder", "head", "target", "loss"}
    assert set(kind.recipes) == {"paper", "small"}
    for recipe in kind.recipes.values():
        resolved_settings(kind.Settings, recipe.settings)
    documentation = "\n".join(part.__doc__ or "" for part in kind.Settings.__mro__)
    for field in dataclasses.fields(kind.Settings):
        assert f"    {field.name}: " in documentation, f"{name}'s setting {field.name} is not documented"
    assert "Source:" in (sys.modules[kind.__module__].__doc__ or "")


BASES = (
    "simclr", "supcon", "moco-v2", "moco-v3", "byol", "simsiam", "barlow-twins", "vicreg", "swav", "dino", "nnclr", "mae", "clip",
)


def test_method_files_are_short() -> None:
    """The methods that others build on have a median of 70 lines with their docstrings; none is longer than 120. Systems with many
    switches need more lines to document them, so the median of all is higher."""
    length = {name: len(registry.path_of(name).read_text().splitlines()) for name in registry.names()}
    assert statistics.median(length[name] for name in BASES) <= 70
    assert max(length.values()) <= 120, max(length, key=lambda name: length[name])


def test_wrong_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="Unknown method 'simclrr': did you mean simclr"):
        registry.get("simclrr")
    with pytest.raises(UserError, match="Cannot import the method 'no_such_module:Thing'"):
        registry.get("no_such_module:Thing")
    with pytest.raises(UserError, match="is not a method"):
        registry.get("pathlib:Path")


def test_a_class_elsewhere_is_named_by_module() -> None:
    class Mine(Method):
        pass

    assert registry.name_of(Mine).startswith(f"{__name__}:")


def test_every_public_name_is_the_verb_also_after_its_namesakes_were_imported() -> None:
    import nearfar
    import nearfar.encoder_files
    import nearfar.methods.method

    for name in nearfar.__all__:
        assert callable(getattr(nearfar, name)), name
    with pytest.raises(UserError, match="did you mean simclr"):
        nearfar.methods("simcrl")
