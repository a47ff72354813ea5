"""Time-series sets that come with aeon or that it downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nearfar.data.cache_folder import cache_folder
from nearfar.data.content.arrays import ReadyArray
from nearfar.data.content.series import fit_lengths
from nearfar.data.options import DataOptions
from nearfar.data.readers.catalogue import AEON, missing
from nearfar.data.tables.table import Table
from nearfar.errors import UserError


def read_aeon(name: str, options: DataOptions) -> Table:
    """A classification or regression set of the time series archive; those that come with aeon need
    no network.

    Raises:
        UserError: if aeon is not installed, the data cannot be loaded, or their lengths differ and
            no ``size`` is given.
    """
    if missing(AEON):
        raise UserError(f"aeon:{name} {missing(AEON)}.")
    (train, train_label), (test, test_label) = (_part(name, part) for part in ("train", "test"))
    series = [np.atleast_2d(one) for one in (*train, *test)]
    part = ["train"] * len(train) + ["test"] * len(test)
    ids = [
        f"{p}/{i}"
        for p, count in (("train", len(train)), ("test", len(test)))
        for i in range(count)
    ]
    x = fit_lengths(series, name, options.size)
    columns: dict[str, Any] = {"label": np.concatenate([train_label, test_label])}
    return Table(name, ids, ReadyArray(x, name), None, columns, part, "label")


def _part(name: str, part: str) -> tuple[Any, Any]:
    """Series and labels; sets that do not come with aeon are downloaded into the cache."""
    from aeon import datasets

    bundled = (Path(datasets.__file__).parent / "data" / name).is_dir()
    folder = cache_folder() / "aeon"
    reasons = []
    for load in (datasets.load_classification, datasets.load_regression):
        try:
            x, y = load(name, split=part, extract_path=None if bundled else str(folder))
        except Exception as error:  # its network and file layers raise nearly anything
            reasons.append(" ".join(str(error).split()))
        else:
            return x, y
    raise UserError(
        f"aeon:{name} cannot be loaded ({reasons[0]}); check the name, and the network connection "
        "for the first use."
    )
