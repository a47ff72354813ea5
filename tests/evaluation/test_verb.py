"""``nearfar evaluate`` on a small run: other data, chosen protocols, the stored file, and the
untrained twin.
"""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import nearfar
from nearfar import networks
from nearfar.errors import UserError
from nearfar.verbs import evaluate as verb
from nearfar.verbs.run import Run
from tests.networks.specs import images


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    return nearfar.pretrain(
        "simclr", data="digits", limit=200, epochs=1, output=folder, evaluate=False, quiet=True
    )


def test_protocols_by_name_are_added_to_the_stored_evaluation(run: Run) -> None:
    first = nearfar.evaluate(run.folder, protocols="knn,geometry", seeds=1)
    assert first.protocols.keys() == {"knn-v1", "geometry-v2"}
    nearfar.evaluate(run.folder, protocols="retrieval, knn", seeds=1)
    stored = run.evaluation()
    assert stored is not None
    assert stored.protocols.keys() == {"knn-v1", "geometry-v2", "retrieval-v1"}
    assert stored.value("kNN accuracy") == first.value("kNN accuracy")
    assert stored.rows() == [
        "trained",
        "random encoder",
        "raw input",
        "simple features",
    ]


def test_other_data_are_brought_to_the_encoders_size(run: Run, tmp_path: Path) -> None:
    x = np.random.randint(0, 255, (40, 24, 20), dtype=np.uint8)
    np.savez(tmp_path / "other.npz", x=x, label=np.arange(40) % 2)
    found = run.evaluate(data=str(tmp_path / "other.npz"), protocols="knn", seeds=1)
    assert found.data == "other"
    stored = run.evaluation()
    assert stored is None or stored.data == "digits"


def test_a_single_new_sample_can_be_embedded(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", x=np.zeros((1, 8, 8), dtype=np.uint8))
    written = nearfar.embed(
        run.folder, data=str(tmp_path / "one.npz"), output=tmp_path / "one-embedded.npz"
    )
    with np.load(written) as arrays:
        assert arrays["embedding"].shape[0] == 1
        assert arrays["split"].tolist() == ["all"]


def test_data_of_another_modality_are_refused_in_one_sentence(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "series.npz", x=np.zeros((10, 2, 30), dtype=np.float32))
    with pytest.raises(
        UserError,
        match=r"series does not fit this encoder, which was trained on digits: its modality is "
        r"series",
    ):
        run.evaluate(data=str(tmp_path / "series.npz"))


def test_a_wrong_protocol_is_answered_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Unknown protocol 'knm': did you mean knn"):
        nearfar.evaluate(tmp_path / "no run", protocols="linear,knm")


def test_the_random_twin_of_pretrained_weights_is_random(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def build(name: str, spec: Any) -> torch.nn.Module:
        asked.append(name)
        return torch.nn.Identity()

    trained = networks.build("small-convnet", images(1, 8, 8))
    trained.architecture = {"name": "timm:test_vit@pretrained", "spec": images(1, 8, 8)}
    run = SimpleNamespace(
        config=SimpleNamespace(options=SimpleNamespace(seed=0)), encoder=lambda: trained
    )
    monkeypatch.setattr(networks, "build", build)
    verb._untrained(run, trained, whole=False)  # type: ignore[arg-type]
    assert asked == ["timm:test_vit"]


def test_columns_of_the_runs_data_are_not_asked_of_others(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"caption": [f"a red {i}" for i in range(20)], "note": ["x y"] * 20}),
        tmp_path / "captions.parquet",
    )
    pq.write_table(
        pa.table({"text": [f"a blue {i}" for i in range(20)]}), tmp_path / "texts.parquet"
    )
    run = nearfar.pretrain(
        "simclr",
        data=str(tmp_path / "captions.parquet"),
        text_column="caption",
        epochs=1,
        batch_size=8,
        output=tmp_path / "run",
        evaluate=False,
        quiet=True,
    )
    found = run.evaluate(data=str(tmp_path / "texts.parquet"), protocols="geometry", seeds=1)
    assert found.data == "texts"
    assert found.rows() == [
        "trained",
        "random encoder",
        "raw input",
        "simple features",
    ]
    written = nearfar.embed(
        run.folder, data=str(tmp_path / "texts.parquet"), output=tmp_path / "texts-embedded.npz"
    )
    with np.load(written) as arrays:
        assert arrays["embedding"].shape == (20, 128)


def _emoji_like(folder: Path) -> Path:
    random = np.random.default_rng(0)
    rows: dict[str, Any] = {"image": [], "text": [], "label": []}
    for number in range(40):
        content = io.BytesIO()
        Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(content, "PNG")
        rows["image"].append({"bytes": content.getvalue(), "path": None})
        rows["text"].append(f"a picture of {'cats' if number % 2 else 'dogs'} number {number}")
        rows["label"].append(number % 2)
    pq.write_table(pa.table(rows), folder / "pairs.parquet")
    return folder / "pairs.parquet"


def test_a_run_on_pairs_is_judged_on_images_or_texts_alone(tmp_path: Path) -> None:
    pairs = nearfar.pretrain(
        "clip",
        data=str(_emoji_like(tmp_path)),
        steps=2,
        output=tmp_path / "run",
        evaluate=False,
        quiet=True,
    )
    x = np.random.default_rng(1).integers(0, 255, (40, 24, 20, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", x=x, label=np.arange(40) % 2)
    found = pairs.evaluate(data=str(tmp_path / "images.npz"), protocols="knn,linear", seeds=1)
    assert found.rows() == [
        "trained",
        "random encoder",
        "raw input",
        "simple features",
    ]
    texts = {
        "sentence1": ["a b", "c d", "e f", "g h"] * 5,
        "sentence2": ["a b", "c d", "x y", "z"] * 5,
        "score": [5.0, 4.0, 1.0, 0.5] * 5,
    }
    pq.write_table(pa.table(texts), tmp_path / "texts.parquet")
    found = pairs.evaluate(data=str(tmp_path / "texts.parquet"), protocols="similarity", seeds=1)
    assert found.metrics() == ["similarity, Spearman"]
    for name, count in (("images.npz", 40), ("texts.parquet", 20)):
        written = nearfar.embed(
            pairs.folder, data=str(tmp_path / name), output=tmp_path / f"{name}-embedded.npz"
        )
        with np.load(written) as arrays:
            assert arrays["embedding"].shape[0] == count
