"""Image sets that torchvision can download."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from torchvision import datasets

from nearfar.data.cache_folder import cache_folder
from nearfar.data.content.pictures import Pictures
from nearfar.data.tables.table import Table
from nearfar.errors import UserError, unknown_name

_NEVER_USEFUL = {
    "FakeData",
    "ImageFolder",
    "DatasetFolder",
    "VisionDataset",
    "ImageNet",
    "CocoDetection",
    "CocoCaptions",
}


def read_torchvision(name: str) -> Table:
    """A classification set of ``torchvision.datasets``, downloaded once into the cache.

    Raises:
        UserError: for an unknown name, a set without parts for training and testing, or if the
            download fails.
    """
    known = _known()
    if name not in known:
        raise unknown_name("torchvision data set", name, known)
    folder = cache_folder() / "torchvision" / name
    parts = {part: _part(known[name], name, part, folder) for part in ("train", "test")}
    items = [(data, i) for data in parts.values() for i in range(len(data))]
    ids = [f"{part}/{i}" for part, data in parts.items() for i in range(len(data))]
    content = Pictures(
        lambda rows: [items[row][0][items[row][1]][0] for row in rows],
        ids,
        (name, str(folder.resolve())),
        name,
    )
    labels = np.concatenate([_labels(data) for data in parts.values()])
    table = Table(
        name, ids, content, None, {"label": labels}, [i.partition("/")[0] for i in ids], "label"
    )
    table.classes = {"label": list(getattr(parts["train"], "classes", ()))}
    if "MNIST" in name or name in ("SVHN", "USPS"):
        table.extra["flip"] = name == "FashionMNIST"
    return table


def _known() -> dict[str, Any]:
    """Sets with a choice of part and a download."""
    found = {}
    for name in datasets.__all__:
        parameters = inspect.signature(getattr(datasets, name).__init__).parameters
        if (
            name not in _NEVER_USEFUL
            and "download" in parameters
            and ("train" in parameters or "split" in parameters)
        ):
            found[name] = getattr(datasets, name)
    return found


def _part(kind: Any, name: str, part: str, folder: Any) -> Any:
    choice = (
        {"train": part == "train"}
        if "train" in inspect.signature(kind.__init__).parameters
        else {"split": part}
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        return kind(folder, download=True, **choice)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"torchvision:{name} cannot be loaded ({error}); the first use needs a network "
            f"connection, or the set's files in {folder}."
        ) from error


def _labels(data: Any) -> Any:
    for name in ("targets", "labels", "_labels"):
        if hasattr(data, name):
            return np.asarray(getattr(data, name))
    return np.asarray([data[i][1] for i in range(len(data))])
