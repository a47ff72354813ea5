"""Data that are handed over in Python: arrays, lists of paths or texts, tables, data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.data.content.given import SampleSet
from nearfar.data.options import DataOptions
from nearfar.data.spec import Spec
from nearfar.data.tables.names import as_texts
from nearfar.data.tables.table import Loaded, Table
from nearfar.errors import UserError
from nearfar.found import at_home
from nearfar.rows import Graphs, Nodes

_LABEL = "label"
_CHANNELS = (1, 3)
_KINDS = (
    "an array, (array, labels), a dict of arrays, a list of paths or of texts, a map-style data "
    "set of samples or (sample, label), a pandas, polars or arrow table, a data set of the "
    "datasets library, or graphs of torch_geometric"
)


def read_given(data: Any, options: DataOptions) -> Table:
    """The samples of an object.

    Args:
        data: A tensor or array (N, ...), alone or in a tuple with N labels; a dict of arrays as a
            .npz file holds them; a list of paths or of texts, alone or in a tuple with labels; a
            map-style ``torch.utils.data.Dataset`` of samples or (sample, label); a pandas, polars
            or pyarrow table; a ``datasets.Dataset`` or a dict of some by their parts;
            torch_geometric graphs, or one whose nodes are the samples.
        options: Which columns, if the user said, and the size of the samples.

    Returns:
        The rows; data sets are decoded sample by sample into a file, which is memory-mapped.

    Raises:
        UserError: For anything else, or samples that cannot be used.
    """
    name = type(data).__name__
    if isinstance(data, Table):
        return data
    if isinstance(data, str | Path):
        raise UserError(f"The data are {str(data)!r} in a list or function; give the name itself.")
    if _is_graph(data) or _are_graphs(data):
        return _graphs(data)
    if isinstance(data, tuple) and len(data) == 2 and _are_labels(data[1], data[0]):
        return _labelled(read_given(data[0], options), data[1])
    if isinstance(data, Tensor | np.ndarray):
        return _array(data, options)
    if (pieces := _pieces(data)) is not None:
        return _tabular(pieces, name, data, options)
    if isinstance(data, Mapping):
        return _arrays({str(key): _numpy(value) for key, value in data.items()}, "dict", options)
    if isinstance(data, list | tuple) and data and all(isinstance(x, str | Path) for x in data):
        return _listed(data, options)
    if isinstance(data, list | tuple) and data and isinstance(data[0], int | float):
        raise UserError(f"The data are a {name} of numbers; expected {_KINDS}.")
    if not hasattr(data, "__getitem__"):
        raise UserError(f"The data are a {name}; expected {_KINDS}.")
    if not hasattr(data, "__len__"):
        raise UserError(
            f"The data set {name} has no __len__, and one that is only gone through cannot be "
            "split or shuffled; expected a map-style data set with __len__ and __getitem__."
        )
    return SampleSet(data, name, options).table()


def _labelled(table: Table, labels: Any) -> Table:
    values = _numpy(labels)
    table.columns = {**table.columns, _LABEL: values}
    table.label = _LABEL
    return table


def _are_labels(labels: Any, samples: Any) -> bool:
    """Whether the second of two is a label for each of the first."""
    if not isinstance(labels, Tensor | np.ndarray | list | tuple) and not hasattr(
        labels, "to_numpy"
    ):
        return False
    if not hasattr(samples, "__len__") or isinstance(samples, str):
        return False
    values = _numpy(labels)
    if values.ndim != 1:
        return False
    if len(values) != len(samples):
        raise UserError(
            f"There are {len(values):,} labels for {len(samples):,} samples; give one for each."
        )
    return True


def _numpy(values: Any) -> NDArray[Any]:
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, "to_numpy"):
        return np.asarray(values.to_numpy())
    try:
        return np.asarray(values)
    except ValueError:  # of unequal lengths
        found = np.empty(len(values), dtype=object)
        found[:] = values
        return found


def _array(data: Any, options: DataOptions) -> Table:
    array = _numpy(data)
    name = "tensor" if isinstance(data, Tensor) else "array"
    if array.dtype.kind in "OUS":
        return _texts([str(one) for one in array.ravel()], name)
    if array.ndim < 2 or array.dtype.kind not in "biuf":
        raise UserError(
            f"The {name} has the shape {array.shape} and type {array.dtype}; expected numbers "
            "(N, ...): images (N, C, H, W), series (N, C, T) or rows (N, D)."
        )
    are_images = array.ndim == 4 and bool({array.shape[1], array.shape[3]} & set(_CHANNELS))
    return _arrays({"images" if are_images else "x": array}, name, options)


def _arrays(arrays: dict[str, NDArray[Any]], name: str, options: DataOptions) -> Table:
    from nearfar.data.readers.npz import read_arrays

    return read_arrays(arrays, Path(name), options)


def _listed(data: Sequence[Any], options: DataOptions) -> Table:
    from nearfar.data.readers.folders import read_listed

    paths = [Path(one).expanduser() for one in data]
    named = paths[0].suffix and (_exists(paths[0]) or " " not in str(paths[0]))
    if isinstance(data[0], str) and not named:
        return _texts([str(one) for one in data], "texts")
    return read_listed(paths, "paths", options)


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _texts(texts: list[str], name: str) -> Table:
    return Table(name, [str(row) for row in range(len(texts))], None, texts)


@dataclass
class ArrowPiece:
    """A table in memory, as a part of a set."""

    table: pa.Table
    part: str = ""

    def __post_init__(self) -> None:
        self.schema = self.table.schema
        self.notes: list[str] = []
        self.facts = (id(self.table), self.table.num_rows, self.table.nbytes)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> pa.ChunkedArray:
        return self.table[name]

    def blobs(self, name: str, rows: NDArray[np.int64]) -> list[Any]:
        from nearfar.data.tables.tables import bytes_in

        return bytes_in(self.table[name], rows)

    def counts(self, name: str) -> NDArray[np.int64]:
        from nearfar.data.tables.tables import lengths_in

        return lengths_in(self.table[name])


def _pieces(data: Any) -> list[Any] | None:
    """A table, or several by their parts, as pieces; None for what is no table."""
    if isinstance(data, Mapping):
        each = [(part, _piece(one, str(part))) for part, one in data.items()]
        found = [piece for _, piece in each if piece is not None]
        return found if found and len(found) == len(each) else None
    piece = _piece(data, "")
    return None if piece is None else [piece]


def _piece(data: Any, part: str) -> Any:
    home = type(data).__module__.partition(".")[0]
    if isinstance(data, pa.Table):
        return ArrowPiece(data, part)
    if home == "datasets" and hasattr(data, "features") and hasattr(data, "__len__"):
        from nearfar.data.readers.hugging_face import HuggingFacePiece

        return HuggingFacePiece(part, data)
    if home == "datasets":
        raise UserError(
            f"The data set is a {type(data).__name__}, which can only be gone through; expected a "
            "datasets.Dataset (load it without streaming)."
        )
    if home == "polars" and hasattr(data, "collect"):
        data = data.collect()
    if home == "polars" and hasattr(data, "to_arrow"):
        return ArrowPiece(pa.table(data.to_arrow()), part)
    if home == "pandas" and hasattr(data, "columns"):
        try:
            return ArrowPiece(pa.Table.from_pandas(data, preserve_index=False), part)
        except (pa.ArrowException, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"The data frame holds what no table can ({reason}); expected numbers, texts, "
                "bytes and paths."
            ) from error
    return None


def _tabular(pieces: list[Any], name: str, data: Any, options: DataOptions) -> Table:
    from nearfar.data.tables.columns import table_of

    first = next(iter(data.values())) if isinstance(data, Mapping) else data
    features = dict(getattr(first, "features", {}))
    classes = {key: one.names for key, one in features.items() if hasattr(one, "names")}
    return table_of(pieces, name, classes or None, options, Path())


@dataclass(frozen=True)
class ReadyRows:
    """Content that is rows of some kind already, such as graphs."""

    rows: Any
    modality: str

    def load(self, rows: NDArray[np.int64], options: DataOptions, like: Spec | None) -> Loaded:
        chosen = self.rows[torch.from_numpy(rows)]
        return Loaded(chosen, np.ones(len(rows), dtype=bool))


def _is_graph(data: Any) -> bool:
    """Whether this is one graph of torch_geometric."""
    home = type(data).__module__.partition(".")[0]
    return home == "torch_geometric" and hasattr(data, "num_nodes") and hasattr(data, "to_dict")


def _are_graphs(data: Any) -> bool:
    """Whether these are graphs of torch_geometric."""
    return (
        hasattr(data, "__getitem__")
        and hasattr(data, "__len__")
        and not isinstance(data, str | Mapping | Tensor | np.ndarray)
        and type(data).__module__.partition(".")[0] not in ("pandas", "polars", "datasets")
        and len(data) > 0
        and _is_graph(data[0])
    )


def _graphs(data: Any) -> Table:
    graphs_from = at_home("nearfar.integrations.pyg:graphs_from")
    nodes_from = at_home("nearfar.integrations.pyg:nodes_from")
    rows: Graphs | Nodes
    about: dict[str, Any]
    if _is_graph(data) and not hasattr(data, "to_data_list"):
        rows = nodes_from(data)
        about = {name: rows.nodes[name] for name in ("y",) if name in rows.nodes}
        modality = "nodes"
    else:
        rows, about = graphs_from(data if _is_graph(data) else [data[i] for i in range(len(data))])
        modality = "graph"
    name = type(data).__name__
    table = Table(name, as_texts([str(i) for i in range(len(rows))]), ReadyRows(rows, modality))
    label = about.get("y")
    if label is not None and label.numel() == len(rows):
        table = _labelled(table, label.reshape(-1))
    return table
