"""What the mistakes of ``python -m tests.mutations`` change stands where they look for it."""

from __future__ import annotations

from pathlib import Path

import pytest

import nearfar

from .mutations import MUTATIONS, Mutation

SOURCE = Path(nearfar.__file__).parent


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.what)
def test_a_mutation_changes_one_place(mutation: Mutation) -> None:
    text = (SOURCE / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1
    assert mutation.new != mutation.old
