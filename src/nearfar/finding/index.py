"""An embedded set that can be asked: what is like this, what is there twice, what should be
labelled next, what is labelled wrongly.
"""

from __future__ import annotations

import hashlib
import importlib.util
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.data.content.bounds import check_memory
from nearfar.errors import UserError
from nearfar.evaluation.features import check_features
from nearfar.evaluation.probes.knn import nearest
from nearfar.finding.duplicates import near_duplicates
from nearfar.finding.label_errors import likely_errors
from nearfar.stored import check_file, parsed_json

FACTS = "nearfar"
"""Under this name a file says which encoder made it and what it holds."""
_WIDEST = 1 << 20  # dimensions


class Hit(NamedTuple):
    """One answer: its row in the set, its id, its label ("" without) and its cosine to the
    query.
    """

    row: int
    id: str
    label: str
    similarity: float


@dataclass(frozen=True)
class Index:
    """N embedded samples.

    Attributes:
        features: (N, D) float32; scaled to unit length when compared.
        ids: N names.
        labels: N labels as text, "" where there is none.
        notes: what a reader must know.
        encoder: digest of the encoder that made the features; "" where it is not known.
    """

    features: Tensor
    ids: Sequence[str]
    labels: Sequence[str]
    notes: tuple[str, ...] = field(default=())
    encoder: str = ""

    def __post_init__(self) -> None:
        check_features(self.features, "index")

    def __len__(self) -> int:
        return len(self.features)

    def search(self, queries: Tensor, k: int = 10) -> list[list[Hit]]:
        """The k nearest by cosine of each query (Q, D), nearest first; exact, by faiss where it is
        installed.

        Raises:
            UserError: if k is below 1 or the dimensions differ.
        """
        similarity, rows = nearest_rows(self.features, queries, k)
        return [
            [
                Hit(row, self.ids[row], self.labels[row], value)
                for value, row in zip(values, found, strict=True)
            ]
            for values, found in zip(similarity.tolist(), rows.tolist(), strict=True)
        ]

    def like(self, row: int, k: int = 10) -> list[Hit]:
        """The k nearest of one of the set's own samples, without itself."""
        (hits,) = self.search(self.features[row : row + 1], k + 1)
        return [hit for hit in hits if hit.row != row][:k]


def nearest_rows(
    bank: Tensor, queries: Tensor, k: int, *, faiss: bool | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines and rows (Q, min(k, N)) of each query's nearest rows of the bank.

    Args:
        bank: (N, D).
        queries: (Q, D).
        k: at least 1.
        faiss: whether to search by faiss; None: where it is installed. The results are the same up
            to rounding and ties.
    """
    use = importlib.util.find_spec("faiss") is not None if faiss is None else faiss
    if not use or k < 1 or bank.shape[1] != queries.shape[1]:
        return nearest(bank, queries, k=k)
    import faiss as library

    found = library.IndexFlatIP(bank.shape[1])
    found.add(np.ascontiguousarray(normalize(bank.float(), dim=1).numpy()))
    similarity, rows = found.search(
        np.ascontiguousarray(normalize(queries.float(), dim=1).numpy()), min(k, len(bank))
    )
    return torch.from_numpy(similarity), torch.from_numpy(rows)


def facts_of(ids: Sequence[str], features: NDArray[np.float32], encoder: str) -> dict[str, str]:
    """What an index file says of itself: the encoder that made it, and a digest of what it
    holds.
    """
    digest = hashlib.blake2b(
        np.ascontiguousarray(features, dtype=np.float32).tobytes(), digest_size=16
    )
    digest.update("\0".join(map(str, ids)).encode("utf-8", "surrogatepass"))
    return {"encoder": encoder, "digest": digest.hexdigest()}


def read_index(path: Path | str) -> Index:
    """The index that ``nearfar embed`` wrote, .parquet or .npz.

    Raises:
        UserError: if the file is missing, damaged or something else.
    """
    path = Path(path)
    check_file(
        path, "it holds no embeddings: give a .parquet or .npz file that `nearfar embed` wrote"
    )
    try:
        columns, told = _npz(path) if path.suffix == ".npz" else _parquet(path)
        features = np.array(columns["embedding"], dtype=np.float32)
        if features.ndim != 2 or not features.size:
            raise ValueError(f"its embeddings have the shape {features.shape}, expected (N, D)")
        ids = [str(value) for value in columns["id"]]
        labels = columns.get("label")
        if len(ids) != len(features) or (labels is not None and len(labels) != len(features)):
            raise ValueError(f"it has {len(features)} embeddings and {len(ids)} ids")
        if features.shape[1] > _WIDEST:
            raise ValueError(
                f"its embeddings have {features.shape[1]:,} dimensions, expected at most "
                f"{_WIDEST:,}"
            )
        if not np.isfinite(features).all():
            raise ValueError("some of its embeddings are not finite")
        facts = parsed_json(told, str(path), "embed the data again") if told else {}
        encoder = str(facts.get("encoder", ""))
        whole = not facts or facts_of(ids, features, encoder) == facts
    except UserError:
        raise
    # damaged files raise errors of the archive, of its compression, of the table, and of the arrays
    # in it
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{path} holds no embeddings ({reason}); expected a .parquet or .npz file that "
            "`nearfar embed` wrote."
        ) from error
    if not whole:
        raise UserError(
            f"The embeddings in {path} are damaged: they are not those that were written; embed "
            "the data again."
        )
    texts = (
        [""] * len(ids)
        if labels is None
        else ["" if value is None else str(value) for value in labels]
    )
    return Index(torch.from_numpy(features), ids, texts, (), encoder)


def _parquet(path: Path) -> tuple[dict[str, Any], str]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        check_memory(sum(group.total_byte_size for group in groups), f"What {path} unpacks to")
        wanted = [name for name in ("id", "label", "embedding") if name in file.schema_arrow.names]
        table = file.read(wanted)
    flat = table["embedding"].combine_chunks()
    values = np.asarray(flat.flatten() if hasattr(flat, "flatten") else flat)
    columns = {name: table[name].to_pylist() for name in wanted if name != "embedding"}
    told = (table.schema.metadata or {}).get(FACTS.encode(), b"").decode()
    return {**columns, "embedding": values.reshape(len(table), -1)}, told


def _npz(path: Path) -> tuple[dict[str, Any], str]:
    from nearfar.data.readers.npz import check_archive

    with zipfile.ZipFile(path) as archive:
        check_archive(path, archive)
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
        found = {
            name: arrays[name]
            for name in ("id", "label", "embedding", FACTS)
            if name in arrays.files
        }
    return found, str(found.pop(FACTS, ""))


def duplicate_groups(features: Tensor, threshold: float | None = None) -> list[list[int]]:
    """Rows of each group of near-duplicates, largest group first; see
    ``nearfar.finding.duplicates.near_duplicates``.

    Args:
        features: (N, D).
        threshold: in (-1, 1]; by default the distribution of the features decides.
    """
    return [list(group) for group in near_duplicates(features, threshold).groups]


def worth_labelling(
    features: Tensor,
    count: int,
    *,
    labelled: Sequence[int] = (),
    neighbours: int = 20,
    seed: int = 0,
) -> list[int]:
    """Rows to label next: of as many clusters as there will be labels, the typical row of each that
    has no label yet, large clusters first. Typical is what lies near its neighbours.

    Args:
        features: (N, D).
        count: at least 1; at most the number of rows without label are given.
        labelled: rows that have a label.
        neighbours: for typicality.
        seed: of the clustering.

    Source: Hacohen et al. 2022 (TypiClust), section 3.
    """
    from sklearn.cluster import KMeans

    unit = normalize(check_features(features, "index").float(), dim=1)
    known = np.zeros(len(unit), dtype=bool)
    known[list(labelled)] = True
    clusters = min(len(unit), count + int(known.sum()))
    cluster = KMeans(clusters, n_init=1, random_state=seed).fit(unit.numpy()).labels_
    similarity, _ = nearest(unit, unit, k=min(neighbours + 1, len(unit)))
    typicality = (
        1
        / (2 - 2 * similarity[:, 1:].clamp(max=1))
        .clamp_min(0)
        .sqrt()
        .mean(dim=1)
        .clamp_min(1e-6)
        .numpy()
    )
    size = np.bincount(cluster, minlength=clusters)
    open_first = sorted(
        range(clusters), key=lambda c: (bool(known[cluster == c].any()), -size[c], c)
    )
    chosen: list[int] = []
    while len(chosen) < min(count, int((~known).sum())):
        for c in open_first:
            free = np.flatnonzero((cluster == c) & ~known)
            if len(free) and len(chosen) < count:
                best = int(free[typicality[free].argmax()])
                known[best] = True
                chosen.append(best)
    return chosen


def doubtful_labels(
    features: Tensor, labels: Sequence[str], count: int = 100
) -> list[tuple[int, str, float]]:
    """Rows whose label is likely wrong: (row, the likely label, what speaks for it), the surest
    first.

    See ``nearfar.finding.label_errors.likely_errors``, which also says how precise the list is.
    """
    return [
        (doubt.row, doubt.other, doubt.share)
        for doubt in likely_errors(features, labels, count).doubts
    ]


def features_from(path: Path) -> Callable[[Any, Any], Tensor]:
    """Features that lie in a file, found by the samples' ids.

    Args:
        path: A .parquet or .npz file with the columns id and embedding, as `nearfar embed` writes.

    Raises:
        UserError: If the file cannot be read; when it is asked, if it lacks a sample.
    """
    index = read_index(path)
    rows = {name: row for row, name in enumerate(index.ids)}

    def features(samples: Any, view: Any) -> Tensor:
        missing = [name for name in samples.ids if name not in rows]
        if missing:
            raise UserError(
                f"{path} has no features of {len(missing):,} of {len(samples):,} samples, such as "
                f"{missing[0]!r}; expected all: embed the whole data set."
            )
        places = np.array([rows[name] for name in samples.ids])
        return index.features[torch.from_numpy(places)].float()

    return features
