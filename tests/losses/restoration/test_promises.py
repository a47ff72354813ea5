"""What every public function of the image losses and measures promises in its docstring."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

PACKAGES = (
    "nearfar.losses.restoration",
    "nearfar.networks.restorers",
    "nearfar.losses.depth",
    "nearfar.losses.dense",
    "nearfar.data.degradations",
    "nearfar.data.selection",
    "nearfar.networks.dense",
    "nearfar.training.schedules",
    "nearfar.evaluation.measures",
)


ELSEWHERE = frozenset({"nearfar.losses.dense.pixels", "nearfar.losses.dense.masked"})
"""Modules whose functions have their cases in ``tests.losses.catalogue``."""


def public() -> dict[str, object]:
    found: dict[str, object] = {}
    for package in PACKAGES:
        for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
            if f"{package}.{info.name}" in ELSEWHERE:
                continue
            module: ModuleType = importlib.import_module(f"{package}.{info.name}")
            for name in getattr(module, "__all__", ()):
                value = getattr(module, name)
                if inspect.isfunction(value) or inspect.isclass(value):
                    found[f"{package}.{info.name}.{name}"] = value
    return found


PUBLIC = public()


@pytest.mark.parametrize("key", PUBLIC)
def test_the_example_gives_what_it_says(key: str) -> None:
    value = PUBLIC[key]
    name = key.rpartition(".")[2]
    found = doctest.DocTestFinder(recurse=False).find(inspect.unwrap(value), name)
    for test in found:
        said: list[str] = []
        result = doctest.DocTestRunner().run(test, out=said.append)
        assert result.failed == 0, "".join(said)


@pytest.mark.parametrize("key", PUBLIC)
def test_the_docstring_says_shapes_and_source(key: str) -> None:
    text = inspect.getdoc(inspect.unwrap(PUBLIC[key])) or ""  # type: ignore[arg-type]
    if ".inputs." in key:
        return
    assert text.split("\n")[0].rstrip(".:"), key
    if "Source:" in text:
        assert ">>>" in text, f"{key} has a source and no example"


@pytest.mark.parametrize("package", PACKAGES)
def test_files_are_of_one_subject_and_folders_small(package: str) -> None:
    folder = list(pkgutil.iter_modules(importlib.import_module(package).__path__))
    assert len(folder) <= 16
