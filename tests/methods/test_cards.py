"""Each method's card: layers, views, groups, phases and recipe as reviewed once against its paper.

After a change that is meant, ``python -m tests.methods.write_cards`` writes the cards anew; the
difference is what to review.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from nearfar.methods import registry
from nearfar.testing.cards import card

CARDS = Path(__file__).parent / "cards"


@pytest.mark.parametrize("name", registry.names())
def test_the_card_is_as_reviewed(name: str) -> None:
    assert card(name) == (CARDS / f"{name}.txt").read_text(encoding="utf-8")


def test_there_are_no_other_cards() -> None:
    assert sorted(path.stem for path in CARDS.iterdir()) == registry.names()
