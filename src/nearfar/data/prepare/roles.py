"""What preparations that give samples roles share: a further group column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from nearfar.data.samples import Source
from nearfar.errors import UserError


def with_column(
    source: Source,
    name: str,
    members: Sequence[str],
    train: Tensor,
    test: Tensor | None,
    note: str,
) -> Source:
    """The source with one more group column.

    Args:
        source: The data.
        name: Of the column, such as "task".
        members: Names of its members by number.
        train: (N,) int64 member of each training sample.
        test: (M,) int64 member of each test sample; None without test samples.
        note: What was done.

    Raises:
        UserError: If there is a column of that name.
    """
    if name in source.train.group:
        raise UserError(
            f"{source.spec.name} has a group column {name!r} already; leave out the preparation "
            "that makes another."
        )
    changed = replace(source.train, group={**source.train.group, name: train})
    tested = source.test
    if tested is not None and test is not None:
        tested = replace(tested, group={**tested.group, name: test})
    return replace(
        source,
        spec=replace(source.spec, groups=(*source.spec.groups, name)),
        train=changed,
        test=tested,
        members={**source.members, name: tuple(members)},
        notes=[*source.notes, note],
    )
