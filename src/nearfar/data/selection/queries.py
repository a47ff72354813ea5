"""Queries with galleries, of images that are known by two properties, drawn all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nearfar.data.selection.blocks import Block, Grid
from nearfar.errors import UserError

__all__ = ["TASKS", "Task", "Templates", "templates"]

Task = Literal["change-object", "focus-object", "change-attribute", "focus-attribute"]
TASKS: tuple[Task, ...] = ("change-object", "focus-object", "change-attribute", "focus-attribute")
_ROUNDS = 100
"""Draws of as many queries as are wanted, before fewer are given back."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Templates:
    """Q queries with galleries of G images.

    Attributes:
        reference: (Q,) row numbers.
        condition: Q words or phrases.
        gallery: (Q, G) row numbers, the target first.
        right: The images that answer each query.
    """

    reference: Rows
    condition: Sequence[str]
    gallery: Rows
    right: Block

    def __len__(self) -> int:
        return len(self.reference)

    def answers(self) -> Rows:
        """(Q, R) row numbers of all images that answer each query, ascending, filled up with -1."""
        return self.right.every()


def templates(
    first: Sequence[str],
    second: Sequence[str],
    count: int,
    generator: np.random.Generator,
    *,
    task: Task = "change-object",
    gallery: int = 10,
    names: tuple[str, str] = ("object", "attribute"),
) -> Templates:
    """Queries that neither the image nor the condition answers alone.

    Each image has two properties. With "change" the condition is a new value of one property, and
    the target has this value and the reference's other property; half of the distractors have the
    new value alone, the others the reference's other property alone.

    With "focus" the condition is the name of one property. The target shares its value with the
    reference, and has another value of the other property. Half of the distractors, and one more
    where their number is odd, share the reference's value of the other property: they answer who
    goes by the wrong property. The rest have the target's value of the other property: without
    them the target would be the odd one out, and a liking for values, which needs no reference,
    would find it.

    Args:
        first: Value of the first property of each image, such as its object or digit; "" where it
            is not known, and the image then takes no part.
        second: Value of the second property, such as its attribute or style.
        count: Queries that are wanted.
        generator: Source of the draws.
        task: Which property the condition is about: "object" is the first, "attribute" the second.
        gallery: Images of a gallery, the target among them; at least 2.
        names: What the conditions of the "focus" tasks call the two properties.

    Returns:
        ``count`` queries; fewer where the images do not allow them.

    Raises:
        UserError: For an unknown task, or properties of different length.

    Example:
        >>> digits, styles = ["1", "2", "3"] * 4, ["thin", "bold"] * 6
        >>> found = templates(digits, styles, 1, np.random.default_rng(0), gallery=3)
        >>> found.gallery.shape
        (1, 3)

    Source: Vaze et al. 2023, "GeneCIS", section 3; the rule for two known properties is made here.
    """
    if task not in TASKS:
        raise UserError(f"The task is {task!r}; expected one of {', '.join(TASKS)}.")
    if len(first) != len(second):
        raise UserError(f"Two properties of the same images; found {len(first)} and {len(second)}.")
    if gallery < 2:
        raise UserError(f"A gallery of {gallery} images was asked for; expected at least 2.")
    asked, other = (first, second) if task.endswith("object") else (second, first)
    values, about = np.unique(np.array(asked, dtype=str), return_inverse=True)
    known = np.array([bool(one and both) for one, both in zip(asked, other, strict=True)])
    beside = np.unique(np.array(other, dtype=str), return_inverse=True)[1]
    grid = Grid(np.where(known, about, -1), np.where(known, beside, -1))
    if not known.any():
        return _none(grid, gallery)
    if task.startswith("change"):
        return _change(grid, values, count, gallery, generator)
    name = names[0] if task.endswith("object") else names[1]
    return _focus(grid, name, count, gallery, generator)


def _change(
    grid: Grid,
    values: NDArray[np.str_],
    count: int,
    gallery: int,
    generator: np.random.Generator,
) -> Templates:
    """A cell (new value, kept value) is drawn in proportion to the references that it allows."""
    new, kept = grid.cells()
    having = grid.cell(new, kept).size
    with_value_alone = grid.with_about(new).size - having
    references = grid.with_beside(kept).size - having
    fit = (references > 0) & (with_value_alone + references - 1 >= gallery - 1)
    weight = np.where(fit, references, 0).astype(np.float64)
    if not len(weight) or not weight.any():
        return _none(grid, gallery)
    chosen = generator.choice(len(weight), count, p=weight / weight.sum())
    new, kept = new[chosen], kept[chosen]
    reference = grid.with_beside(kept).without(grid.cell(new, kept)).one(generator)
    right = grid.cell(new, kept)
    others = _mixed(
        grid.with_about(new).without(right),
        grid.with_beside(kept).without(right).without_rows(reference),
        gallery - 1,
        generator,
        more_of_first=False,
    )
    return Templates(
        reference=reference,
        condition=values[new].tolist(),
        gallery=np.concatenate([right.one(generator)[:, None], others], axis=1),
        right=right,
    )


def _focus(
    grid: Grid, name: str, count: int, gallery: int, generator: np.random.Generator
) -> Templates:
    """References and targets are drawn until enough of them have distractors."""
    rows = np.arange(len(grid.about))
    every = grid.with_about(grid.about).without(grid.cell(grid.about, grid.beside))
    able = rows[every.size > 0]
    references: list[Rows] = []
    targets: list[Rows] = []
    missing = count if len(able) else 0
    for _ in range(_ROUNDS):
        if missing <= 0:
            break
        reference = generator.choice(able, count)
        target = every.at(reference).one(generator)
        enough = sum(_like(grid, reference, one).size for one in (reference, target)) >= gallery - 1
        references.append(reference[enough][:missing])
        targets.append(target[enough][:missing])
        missing -= len(references[-1])
    if not sum(map(len, references)):
        return _none(grid, gallery)
    reference, target = np.concatenate(references), np.concatenate(targets)
    others = _mixed(
        _like(grid, reference, reference),
        _like(grid, reference, target),
        gallery - 1,
        generator,
        more_of_first=True,
    )
    return Templates(
        reference=reference,
        condition=[name] * len(reference),
        gallery=np.concatenate([target[:, None], others], axis=1),
        right=every.at(reference),
    )


def _like(grid: Grid, reference: Rows, shown: Rows) -> Block:
    """Images of ``shown``'s value beside, and of another value than the reference's asked one."""
    about, beside = grid.about[reference], grid.beside[shown]
    return grid.with_beside(beside).without(grid.cell(about, beside))


def _mixed(
    first: Block,
    second: Block,
    count: int,
    generator: np.random.Generator,
    *,
    more_of_first: bool,
) -> Rows:
    """(Q, count) different images in random order, half of each kind as far as both are there."""
    half = (count + more_of_first) // 2
    of_first = np.minimum(first.size, np.maximum(half, count - second.size))
    kinds = ((first, of_first), (second, count - of_first))
    drawn = [block.drawn(wanted, generator) for block, wanted in kinds]
    meant = [
        np.arange(rows.shape[1]) < wanted[:, None]
        for rows, (_, wanted) in zip(drawn, kinds, strict=True)
    ]
    kept = np.concatenate(drawn, axis=1)[np.concatenate(meant, axis=1)].reshape(-1, count)
    return np.take_along_axis(kept, generator.random(kept.shape).argsort(axis=1), axis=1)


def _none(grid: Grid, gallery: int) -> Templates:
    nothing = np.zeros(0, dtype=np.int64)
    return Templates(
        reference=nothing,
        condition=[],
        gallery=np.zeros((0, gallery), dtype=np.int64),
        right=grid.with_about(nothing),
    )
