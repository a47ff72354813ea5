"""Which colour and which mark stands for what, on every page and in both themes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

COLOURS = (
    "#3c69d2",
    "#ff8700",
    "#00961e",
    "#ff00ff",
    "#c3003c",
    "#00b4ff",
    "#8700ff",
    "#b4694b",
    "#f087d2",
    "#696900",
    "#00b496",
    "#963c96",
    "#b4a596",
    "#ff3c3c",
    "#2d6978",
    "#b469ff",
    "#4bc300",
    "#f00096",
    "#8787c3",
    "#a59600",
)
"""20 colours that are told apart from each other, from white and from black."""
SHAPES = ("circle", "triangle-up")
"""Marks: the first ten classes are circles, the next ten triangles."""
OTHERS = "other classes"
"""What the rarest values are called together, where there are more than colours."""

ROWS = {
    "trained": COLOURS[0],
    "random encoder": COLOURS[1],
    "raw input": COLOURS[2],
    "simple features": COLOURS[3],
}
"""Colours of the rows of every table."""
PAIRS = {"positive": COLOURS[10], "negative": COLOURS[17]}
"""Colours of pairs of views: no row's, and of arms only an eleventh's."""
_ARMS = tuple(colour for colour in COLOURS if colour not in list(ROWS.values())[1:])


def colours_of_arms(arms: Sequence[str]) -> dict[str, str]:
    """One colour for each arm, none of them a baseline's; beyond 17 arms they come again."""
    return {arm: _ARMS[number % len(_ARMS)] for number, arm in enumerate(arms)}


def colours_of_baselines(rows: Sequence[str], taken: Sequence[str]) -> dict[str, str]:
    """The colour of each baseline beside arms: its own, or one that no arm and no row has.

    Args:
        rows: Names of the baselines.
        taken: Colours of the arms.
    """
    used = {*taken, *ROWS.values()}
    left = iter(colour for colour in COLOURS if colour not in used)
    return {row: ROWS[row] if row in ROWS else next(left, COLOURS[-1]) for row in rows}


def colours_of_rows(rows: Sequence[str]) -> dict[str, str]:
    """The colour of each row of an evaluation; controls take those that are left."""
    left = iter(colour for colour in COLOURS if colour not in ROWS.values())
    return {row: ROWS[row] if row in ROWS else next(left, COLOURS[-1]) for row in rows}


def marks_of(values: Sequence[str]) -> tuple[list[str], list[str]]:
    """The colour and the mark of each of at most 20 values, in order; no pair comes twice."""
    half = len(COLOURS) // len(SHAPES)
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(values))]
    shapes = [SHAPES[number // half % len(SHAPES)] for number in range(len(values))]
    return colours, shapes


def at_most_colours(values: Sequence[str]) -> list[str]:
    """The values with the rarest joined to one, where there are more kinds than colours."""
    counts = Counter(values)
    if len(counts) <= len(COLOURS):
        return list(values)
    kept = {value for value, _ in counts.most_common(len(COLOURS) - 1)}
    return [value if value in kept else OTHERS for value in values]


def swatch(colour: str) -> str:
    """A small square of a colour, before the name of what it stands for."""
    return f'<span class="swatch" style="background:{colour}"></span>'
