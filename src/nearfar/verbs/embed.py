"""``nearfar embed``: features of data, with ids and labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from nearfar.errors import UserError
from nearfar.files import replacing
from nearfar.options import changed
from nearfar.run import Run

if TYPE_CHECKING:
    import numpy as np


def embed(
    run: Path | str,
    *,
    data: str | None = None,
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("embeddings.parquet"),
) -> Path:
    """Embed data with a run's encoder.

    Args:
        run: the run folder.
        data: name or path of the data; by default those of the run (training samples, then test samples); others
            are not split, so that a single sample will do.
        output: .parquet (columns id, split, label, embedding) or .npz (arrays of the same names).

    Returns:
        The written file.

    Raises:
        UserError: for another ending, an existing file, or data that do not fit the encoder.
    """
    from nearfar.encoder_files import check_input, encoder_spec, tokenizer_of
    from nearfar.verbs.assemble import load_data

    output = Path(output)
    if output.suffix not in (".parquet", ".npz"):
        raise UserError(f"Cannot write embeddings to {output}: expected a name that ends in .parquet or .npz.")
    if output.exists():
        raise UserError(f"{output} exists already; choose another --output.")
    opened = Run(run)
    options, encoder = opened.config.options, opened.encoder()
    if data is None:
        source = load_data(options, tokenizer=tokenizer_of(encoder))
    else:
        other = changed(options, {"data": data, "limit": None})
        source = load_data(other, encoder_spec(encoder), tokenizer=tokenizer_of(encoder), split=False)
    check_input(encoder, source.spec)
    columns: dict[str, list[Any]] = {"id": [], "split": [], "label": [], "embedding": []}
    for split, samples in (("train" if data is None else "all", source.train), ("test", source.test)):
        if samples is not None:
            columns["id"] += samples.ids
            columns["split"] += [split] * len(samples)
            columns["label"] += _labels(samples, source.spec.classes)
            columns["embedding"].append(_features(opened, samples))
    _write(columns, output)
    return output


def embed_samples(run: Run, samples: Any) -> np.ndarray[Any, Any]:
    """Features (N, D) float32 of raw samples of the run's modality."""
    from nearfar.data.arrays import in_memory

    return _features(run, in_memory(samples))


def _features(run: Run, samples: Any) -> np.ndarray[Any, Any]:
    from nearfar.encoder_files import encoder_spec
    from nearfar.evaluation.features import extract
    from nearfar.views import plain_view

    encoder = run.encoder()
    features: np.ndarray[Any, Any] = extract(encoder, samples, plain_view(encoder_spec(encoder))).numpy()
    return features


def _labels(samples: Any, classes: tuple[str, ...]) -> list[Any]:
    if samples.label is None:
        return [None] * len(samples)
    values = samples.label.tolist()
    return [classes[value] for value in values] if classes else values


def _write(columns: dict[str, list[Any]], output: Path) -> None:
    import numpy as np

    embedding = np.concatenate(columns.pop("embedding"))
    with replacing(output) as temporary:
        if output.suffix == ".npz":
            with temporary.open("wb") as file:
                known: dict[str, Any] = {k: np.array(v) for k, v in columns.items() if None not in v}
                np.savez(file, embedding=embedding, **known)
        else:
            import pyarrow as pa
            import pyarrow.parquet as pq

            vectors = pa.FixedSizeListArray.from_arrays(pa.array(embedding.reshape(-1)), embedding.shape[1])
            pq.write_table(pa.table({**{k: pa.array(v) for k, v in columns.items()}, "embedding": vectors}), temporary)
