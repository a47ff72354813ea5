"""Parts of a batch that hold too few samples are refused in words."""

from __future__ import annotations

import pytest
from torch import nn

from nearfar.assembly.watch import check_parts
from nearfar.errors import UserError

PLAIN = nn.Linear(2, 2)
NORMED = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


@pytest.mark.parametrize(
    ("method", "batch", "accumulate", "cache"),
    [(PLAIN, 8, 4, 0), (PLAIN, 8, 1, 1), (NORMED, 8, 1, 2), (NORMED, 9, 1, 4)],
)
def test_parts_of_two_samples_are_taken(
    method: nn.Module, batch: int, accumulate: int, cache: int
) -> None:
    check_parts(method, batch, accumulate, cache)


def test_parts_of_one_sample_are_refused() -> None:
    with pytest.raises(
        UserError,
        match=r"accumulate is 8, which leaves 1 of 8 samples .* choose --accumulate up to 4",
    ):
        check_parts(PLAIN, 8, 8, 0)
    with pytest.raises(UserError, match="accumulate is 9, which leaves 0 of 8"):
        check_parts(PLAIN, 8, 9, 0)
    for batch, cache in ((8, 1), (9, 2)):
        with pytest.raises(UserError, match=r"gradient_cache is \d, so that some chunks"):
            check_parts(NORMED, batch, 1, cache)
