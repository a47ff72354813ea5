"""Write the card of every method anew: ``python -m tests.methods.write_cards``. Review what changes
against the paper.
"""

from __future__ import annotations

from nearfar.methods import registry
from nearfar.testing.cards import card

from .test_cards import CARDS

if __name__ == "__main__":
    CARDS.mkdir(exist_ok=True)
    for name in registry.names():
        (CARDS / f"{name}.txt").write_text(card(name), encoding="utf-8")
