"""The planted mistakes of ``tests.mutations`` are each noticed by the test that names the part."""

from __future__ import annotations

import pytest

from .mutations import MUTATIONS, Mutation, pass_unchanged, survives


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.what.replace(" ", "-"))
def test_a_planted_mistake_is_noticed(mutation: Mutation) -> None:
    assert not survives(mutation)


@pytest.mark.slow
def test_nothing_fails_without_a_mistake() -> None:
    assert pass_unchanged()
