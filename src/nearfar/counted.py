"""A number and what it counts, in the singular or the plural."""

from __future__ import annotations


def counted(number: float, one: str, several: str = "") -> str:
    """A whole number with its noun.

    Args:
        number: How many.
        one: The noun, or several words that end with it.
        several: The plural; by default the noun with an s.

    Example:
        >>> counted(1, "class", "classes"), counted(1200, "seed")
        ('1 class', '1,200 seeds')
    """
    return f"{number:,.0f} {one if number == 1 else several or f'{one}s'}"
