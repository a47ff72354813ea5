"""Where there are few training samples, the batch of a small recipe leaves an epoch some steps."""

from __future__ import annotations

import pytest

from nearfar.assembly.assemble import assemble
from nearfar.assembly.loaded import load_data
from nearfar.methods.method import STEPS_OF_SMALL, Recipe
from nearfar.options import Config, PretrainOptions


@pytest.mark.parametrize("length", [2, 3, 20, 63, 64, 65, 255, 256, 257, 320, 1023, 1024, 5000])
@pytest.mark.parametrize("batch", [16, 64, 128, 256])
def test_an_epoch_has_its_steps_or_batches_are_small(length: int, batch: int) -> None:
    found = Recipe(batch_size=batch).batch_for(length, steps=STEPS_OF_SMALL)
    assert 2 <= found <= max(2, min(batch, length // 2))
    if length < 1024:
        assert found <= 32 or length // found >= STEPS_OF_SMALL
    if length >= STEPS_OF_SMALL * batch or length >= 1024:
        assert found == batch


@pytest.mark.parametrize(
    ("recipe", "limit", "asked", "expected"),
    [
        ("small", 320, None, 40),
        ("small", 320, 128, 128),
        ("small", 1200, None, 128),
        ("paper", 320, None, 160),
    ],
)
def test_only_the_small_recipe_and_no_given_batch_is_changed(
    recipe: str, limit: int, asked: int | None, expected: int
) -> None:
    options = PretrainOptions(
        data="digits",
        limit=limit,
        recipe=recipe,  # type: ignore[arg-type]
        batch_size=asked,
        encoder="perceptron",
    )
    assembled = assemble(Config("simclr", options), load_data(options))
    assert assembled.recipe.batch_size == expected
    assert assembled.config.options.batch_size == expected
    lowered = asked is None and limit < 1024
    assert any("batch_size lowered" in note for note in assembled.notes) == lowered
