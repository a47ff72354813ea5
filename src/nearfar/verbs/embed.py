"""``nearfar embed``: features of data, with ids and labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
import tyro
from torch import Tensor

from nearfar.assembly.opened import method_of
from nearfar.errors import UserError, unknown_name
from nearfar.files import replacing
from nearfar.rows import Parts, Tokens
from nearfar.runs.folder import RunFolder
from nearfar.verbs.handing import takes_own

if TYPE_CHECKING:
    from nearfar.data import Source
    from nearfar.data.spec import Spec


_MAPS = ("none", "pca", "t-sne")
_LEAST = 4
"""Samples of a map by neighbourhoods."""
_PICTURES = 1_000
"""Samples whose pictures are drawn at once."""
_PIXELS = ("data:image/png;base64,", "data:image/jpeg;base64,")


@takes_own
def embed(
    run: PathLike[str] | str,
    *,
    data: str | None = None,
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("embeddings.parquet"),
    map: Literal["none", "pca", "t-sne"] = "none",  # noqa: A002
    pictures: bool = False,
    encoder: str | None = None,
) -> Path:
    """Embed data with a run's encoder.

    Of samples of several parts each part is embedded in the space that they share: "embedding" is
    the first's, "text_embedding" the text's.

    Args:
        run: the run folder.
        data: name or path of the data; by default those of the run (training samples, then test
            samples); others are not split, so that a single sample will do.
        output: .parquet (columns id, split, label, embedding) or .npz (arrays of the same names).
        map: columns x and y as well, the place of each sample in the plane: pca, or t-sne, which
            takes about a minute for 10,000 samples.
        pictures: a column image as well, in a .parquet file: a PNG or JPEG file of each sample as
            {bytes, path}, which datasets, Embedding Atlas and pandas read.
        encoder: the encoder that the run was trained with, where it is your own: FILE.py:NAME,
            which is run.

    Returns:
        The written file.

    Raises:
        UserError: for another ending, an existing file, or data that do not fit the encoder.
    """
    from nearfar.finding.index import facts_of
    from nearfar.runs.encoder_files import check_input, digest_of

    output = Path(output)
    if output.suffix not in (".parquet", ".npz"):
        raise UserError(
            f"Cannot write embeddings to {output}: expected a name that ends in .parquet or .npz."
        )
    if pictures and output.suffix != ".parquet":
        raise UserError(f"Pictures go into .parquet files, and {output} is none; choose one.")
    if map not in _MAPS:
        raise unknown_name("kind of map", map, _MAPS)
    if output.exists():
        raise UserError(f"{output} exists already; choose another --output.")
    opened = RunFolder(run)
    source = loaded(opened, data)
    check_input(opened.encoder(), source.spec)
    columns: dict[str, list[Any]] = {"id": [], "split": [], "label": []}
    if pictures:
        columns["image"] = []
        picture_files(source.train.take(torch.arange(1)), source.spec)  # refused before the work
    vectors: dict[str, list[Tensor]] = {}
    for split, samples in (
        ("train" if data is None else "all", source.train),
        ("test", source.test),
    ):
        if samples is not None:
            columns["id"] += samples.ids
            columns["split"] += [split] * len(samples)
            columns["label"] += labels_of(samples, source.spec.classes)
            if pictures:
                for rows in _in_blocks(len(samples), _PICTURES):
                    columns["image"] += picture_files(samples.take(rows), source.spec)
            for name, features in _embeddings(opened, samples).items():
                vectors.setdefault(name, []).append(features)
    arrays = {
        name: np.concatenate([part.numpy() for part in parts]) for name, parts in vectors.items()
    }
    if map != "none":
        columns |= _places(torch.from_numpy(arrays["embedding"]), map)
    facts = facts_of(columns["id"], arrays["embedding"], digest_of(opened.folder))
    _write(columns, arrays, facts, output)
    return output


def embed_samples(run: RunFolder, samples: Any) -> np.ndarray[Any, Any]:
    """Features (N, D) float32 of samples as ``data.given.samples_like`` takes them."""
    from nearfar.data.readers.given import samples_like
    from nearfar.runs.encoder_files import encoder_spec, tokenizer_of

    encoder = run.encoder()
    found: np.ndarray[Any, Any] = features_of(
        run, samples_like(samples, encoder_spec(encoder), tokenizer_of(encoder))
    ).numpy()
    return found


def patch_features(run: RunFolder, samples: Any) -> np.ndarray[Any, Any]:
    """Features (N, ..., C) float32 of every place of samples; see ``Run.features``.

    Raises:
        UserError: If the encoder has no places, or is one of samples of several parts.
    """
    from nearfar.data.readers.given import samples_like
    from nearfar.evaluation.features import BATCH
    from nearfar.networks.places import places_of
    from nearfar.runs.encoder_files import encoder_spec, tokenizer_of

    encoder = run.encoder()
    spec = encoder_spec(encoder)
    if spec.parts:
        raise UserError(
            f"The run {run.folder} is on samples of several parts, which have no places in common; "
            f"take those of one encoder, run.encoder().part({next(iter(spec.parts))!r})."
        )
    taken = samples_like(samples, spec, tokenizer_of(encoder))
    first = taken.take(torch.arange(1))
    view = _view_of_one(spec, first)
    places = places_of(encoder, view(first))
    if places is None:
        raise UserError(
            f"The encoder of {run.folder}, {run.config.options.encoder or 'the default'}, has no "
            "features of places; pretrain a convolutional one or a transformer."
        )
    with torch.no_grad():
        blocks = [
            places(view(taken.take(rows))).float().movedim(1, -1)
            for rows in _in_blocks(len(taken), BATCH)
        ]
    found: np.ndarray[Any, Any] = torch.cat(blocks).numpy()
    return found


def _in_blocks(count: int, size: int) -> list[Tensor]:
    """The places of that many samples, some at a time."""
    return [torch.arange(start, min(start + size, count)) for start in range(0, count, size)]


def loaded(run: RunFolder, data: str | None) -> Source:
    """A run's own data, or other data as its encoder takes them, whole."""
    from nearfar.assembly.loaded import load_other, own_data
    from nearfar.reports.told import tell
    from nearfar.runs.encoder_files import tokenizer_of

    options = run.config.options
    encoder = run.encoder()
    if data is None:
        return tell(own_data(run.folder, options, tokenizer=tokenizer_of(encoder)))
    return tell(load_other(options, data, encoder, split=False))


def features_of(run: RunFolder, samples: Any) -> Tensor:
    """(N, D) float32: the run's features, or for a run on pairs the embeddings of the first part
    (of texts alone: of these) in the shared space.
    """
    from nearfar.evaluation.features import extract
    from nearfar.runs.encoder_files import encoder_spec
    from nearfar.views import plain_view

    encoder = run.features()
    spec = encoder_spec(encoder)
    sample = samples.take(torch.arange(1))
    if not spec.parts:
        return extract(encoder, samples, _view_of_one(spec, sample))
    method = method_of(run)
    taken = _part_of(sample, spec)
    plain = plain_view(spec.parts[taken])

    def one_part(x: Any) -> Any:
        return plain(x[taken] if isinstance(x, Parts) else x)

    return extract(partial(method.embed_part, taken), samples, one_part)


def _view_of_one(spec: Spec, sample: Any) -> Callable[[Any], Any]:
    """The plain view for an encoder that takes one part of samples, the first; of the size that the
    samples have.
    """
    from nearfar.views import plain_view

    first = next(iter(sample.values())) if isinstance(sample, Parts) else sample
    if isinstance(first, Tensor):
        spec = replace(spec, shape=tuple(first.shape[1:]))
    plain = plain_view(spec)
    return lambda x: plain(next(iter(x.values())) if isinstance(x, Parts) else x)


def text_features(run: RunFolder, tokens: Tokens) -> Tensor:
    """(N, D) float32 of texts, in the space in which they are compared."""
    from nearfar.data.content.arrays import in_memory
    from nearfar.evaluation.features import extract
    from nearfar.runs.encoder_files import encoder_spec

    encoder = run.encoder()
    spec = encoder_spec(encoder)
    name = spec.part_name("text")
    encode = encoder if name is None else partial(method_of(run).embed_part, name)
    return extract(encode, in_memory(tokens), lambda part: part)


def _places(features: Tensor, by: str) -> dict[str, list[float]]:
    """Columns x and y of a map."""
    from nearfar.reports.maps import neighbourhoods, plane

    if by == "t-sne" and len(features) < _LEAST:
        raise UserError(
            f"A map by t-sne needs {_LEAST} samples and has {len(features)}; use --map pca."
        )
    places = (neighbourhoods if by == "t-sne" else plane)(features).double()
    return {"x": places[:, 0].tolist(), "y": places[:, 1].tolist()}


def picture_files(samples: Any, spec: Spec) -> list[dict[str, Any]]:
    """The picture of each raw sample as the hub's image features have it: bytes of a file, which
    is a PNG file where the sample is small, else a JPEG file.

    Raises:
        UserError: For samples without pictures made of pixels, such as texts.
    """
    import base64

    from nearfar.reports.pictures.samples import pictures

    found = pictures(samples, spec)
    if not all(one.startswith(_PIXELS) for one in found):
        raise UserError(
            f"Samples of {spec.modality} data have no pictures made of pixels; leave --pictures "
            "out."
        )
    files = [base64.b64decode(one.partition(",")[2]) for one in found]
    return [{"bytes": file, "path": None} for file in files]


def labels_of(samples: Any, classes: tuple[str, ...]) -> list[Any]:
    """Class names, values, or None for each sample."""
    from nearfar.data.labels import joined_names

    if samples.label is None:
        return [None] * len(samples)
    values = samples.label.tolist()
    if samples.label.ndim == 2 and classes:
        return [joined_names(value, classes) for value in values]
    return [classes[value] for value in values] if classes else values


def in_rows(tokens: Tokens) -> Any:
    """Texts as samples."""
    from nearfar.data.content.arrays import in_memory

    return in_memory(tokens)


def _part_of(sample: Any, spec: Spec) -> str:
    """The name of the part that is embedded: the first that the samples have."""
    if isinstance(sample, Parts):
        return next(name for name in spec.parts if name in sample)
    texts = spec.part_name("text")
    return texts if isinstance(sample, Tokens) and texts is not None else next(iter(spec.parts))


def _embeddings(run: RunFolder, samples: Any) -> dict[str, Tensor]:
    """The features, and of samples of several parts each further part's in the shared space."""
    from nearfar.evaluation.features import extract
    from nearfar.runs.encoder_files import encoder_spec
    from nearfar.views import plain_view

    found = {"embedding": features_of(run, samples)}
    spec = encoder_spec(run.encoder())
    sample = samples.take(torch.arange(1))
    if not isinstance(sample, Parts) or not spec.parts:
        return found
    method = method_of(run)
    for name in [name for name in spec.parts if name in sample][1:]:
        plain = plain_view(spec.parts[name])

        def one_part(x: Any, name: str = name, plain: Callable[[Any], Any] = plain) -> Any:
            return plain(x[name])

        found[f"{name}_embedding"] = extract(partial(method.embed_part, name), samples, one_part)
    return found


def _write(
    columns: dict[str, list[Any]],
    vectors: dict[str, np.ndarray[Any, Any]],
    facts: dict[str, str],
    output: Path,
) -> None:
    from nearfar.finding.index import FACTS

    with replacing(output) as temporary:
        if output.suffix == ".npz":
            with temporary.open("wb") as file:
                known: dict[str, Any] = {
                    **vectors,
                    **{k: np.array(v) for k, v in columns.items() if None not in v},
                }
                known[FACTS] = np.array(json.dumps(facts))
                np.savez(file, **known)
        else:
            import pyarrow as pa
            import pyarrow.parquet as pq

            table = {name: pa.array(values) for name, values in columns.items()}
            for name, rows in vectors.items():
                table[name] = pa.FixedSizeListArray.from_arrays(
                    pa.array(rows.reshape(-1)), rows.shape[1]
                )
            made = pa.table(table).replace_schema_metadata({FACTS: json.dumps(facts)})
            with temporary.open("wb") as file:  # pyarrow takes a path with a colon for an address
                pq.write_table(made, file)
