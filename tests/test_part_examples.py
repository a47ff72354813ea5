"""Every public loss and measure of a family folder has an example, and all examples there run."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from types import ModuleType

import numpy as np
import pytest
import torch

import nearfar.losses
import nearfar.networks
from nearfar import evaluation
from nearfar.data import content, prepare

FAMILIES = [nearfar.losses, evaluation, content, prepare, nearfar.networks]
"""Packages whose folders, or whose own modules, are looked at."""


WITH_EXAMPLES = (
    *(
        f"nearfar.evaluation.{module}"
        for module in (
            "kernels.kernel_alignment",
            "measures.conditional",
            "measures.gaussian_outsiders",
            "measures.probabilities",
            "measures.terms",
            "probes.membership",
            "probes.transport",
        )
    ),
    *(
        f"nearfar.losses.{family}."
        for family in (
            "control",
            "curation",
            "graphs",
            "labels",
            "recommendation",
            "series",
            "video",
        )
    ),
)
"""Modules of which every public function shows how it is called."""


def modules() -> list[str]:
    """Modules of the folders of losses, networks and evaluation, and of content and prepare."""
    found: list[str] = []
    for family in FAMILIES:
        flat = family in (content, prepare)
        for info in pkgutil.walk_packages(family.__path__, f"{family.__name__}."):
            inside = flat or info.name.count(".") > family.__name__.count(".") + 1
            if inside and not info.ispkg:
                found.append(info.name)
    return found


def public(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and inspect.unwrap(value).__module__ == module.__name__
        and not name.startswith("_")
    ]


@pytest.mark.parametrize("name", modules())
def test_examples_run_and_no_loss_or_measure_lacks_one(name: str) -> None:
    module = importlib.import_module(name)
    needs_one = name.startswith(WITH_EXAMPLES)
    globs = {"torch": torch, "np": np, **vars(module)}
    shown: set[str] = set()
    for test in doctest.DocTestFinder().find(module, name, globs=globs):
        if test.examples:
            shown.add(test.name.removeprefix(f"{name}."))
            said: list[str] = []
            failed = doctest.DocTestRunner().run(test, out=said.append).failed
            assert failed == 0, "".join(said)
    if needs_one:
        lacking = [one for one in public(module) if one not in shown]
        for one in lacking:  # a decorated function hides from the finder
            found = doctest.DocTestFinder(recurse=False)
            function = inspect.unwrap(getattr(module, one))
            tests = [test for test in found.find(function, one, globs=dict(globs)) if test.examples]
            assert tests, f"{name}.{one} has no example"
            for test in tests:
                said = []
                failed = doctest.DocTestRunner().run(test, out=said.append).failed
                assert failed == 0, "".join(said)
