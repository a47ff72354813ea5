"""The example in the docstring of every public loss runs and gives what it says."""

from __future__ import annotations

import doctest
import inspect

import pytest

from nearfar import losses
from tests.losses.catalogue import LOSSES, loss_modules

FUNCTIONS = sorted({key.split(" ")[0] for key in LOSSES})
WITHOUT = {
    "common_salient.sepclr_with_attributes",  # as sepclr, with a table of attributes
    "mixed_redundancy.mixed_barlow_twins_terms",  # the terms of mixed_barlow_twins
    "mixed_redundancy.mixing_regulariser",  # one of these terms
    "masked_contrast.masked_contrast",  # behind the losses of its module
    "regression_pairs.conr_dense",  # as conr, of images
}


@pytest.mark.parametrize("key", FUNCTIONS)
def test_the_example_gives_what_it_says(key: str) -> None:
    module, _, name = key.partition(".")
    function = inspect.unwrap(getattr(loss_modules()[module], name))
    found = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    examples = [test for test in found if test.examples]
    assert bool(examples) != (key in WITHOUT)
    for test in examples:
        said: list[str] = []
        result = doctest.DocTestRunner().run(test, out=said.append)
        assert result.failed == 0, "".join(said)


def test_every_name_of_the_package_has_an_example() -> None:
    public = {
        getattr(losses, name).__module__.rpartition(".")[2] + "." + name for name in losses.__all__
    }
    assert public <= set(FUNCTIONS) - WITHOUT
