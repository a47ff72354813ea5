"""What an older commit wrote is read: runs, checkpoints, encoders, configs and indexes.

``fixtures/d7078ac`` holds what that commit made of ``pretrain simclr --data digits --limit 40
--steps 4 --encoder perceptron`` with two small settings, and of ``embed`` on that run; of a run of
CLIP on pairs its config and its tokenizer.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

import nearfar
from nearfar.data import load
from nearfar.finding.index import read_index
from nearfar.options import read_config
from nearfar.runs.encoder_files import load_encoder
from nearfar.runs.folder import RunFolder
from nearfar.verbs.run import Run
from nearfar.views import plain_view

OLD = Path(__file__).parent / "fixtures" / "d7078ac"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    shutil.copytree(OLD / "simclr", folder)
    return folder


def test_an_older_run_embeds_what_it_embedded_then(run: Path, tmp_path: Path) -> None:
    nearfar.embed(run, output=tmp_path / "now.parquet")
    now = pq.read_table(tmp_path / "now.parquet").to_pylist()
    then = pq.read_table(OLD / "embeddings.parquet").to_pylist()
    assert [row["id"] for row in now] == [row["id"] for row in then]
    assert [row["label"] for row in now] == [row["label"] for row in then]
    assert_close(
        torch.tensor([row["embedding"] for row in now]),
        torch.tensor([row["embedding"] for row in then]),
        rtol=1e-5,
        atol=1e-6,
    )


def test_an_older_run_is_described_and_judged(run: Path) -> None:
    opened = Run(run)
    assert opened.config.method == "simclr"
    assert opened.config.options.data == "digits"
    assert opened.config.settings == {"temperature": 0.1, "hidden": 8, "projection": 4}
    then = json.loads((OLD / "simclr" / "evaluation.json").read_text())
    scores = {(s["metric"], s["row"]): s["value"] for s in then["scores"]}
    now = nearfar.evaluate(run, protocols=("knn",))
    for row in ("trained", "random encoder", "raw input"):
        assert now.value("kNN accuracy", row) == pytest.approx(scores["kNN accuracy", row])


def test_an_older_checkpoint_goes_on(run: Path) -> None:
    weights = load_file(run / "encoder.safetensors")
    (run / "encoder.safetensors").unlink()
    (run / "encoder.json").unlink()
    nearfar.pretrain(resume=run)
    for name, value in load_file(run / "encoder.safetensors").items():
        assert torch.equal(value, weights[name]), name


def test_an_older_run_is_a_start(run: Path, tmp_path: Path) -> None:
    made = nearfar.pretrain(
        "simclr",
        data="digits",
        limit=40,
        steps=1,
        batch_size=16,
        start_from=(str(run),),
        evaluate=False,
        output=tmp_path / "new",
    )
    assert made.config.options.start_from == (str(run),)
    assert type(made.encoder()) is type(RunFolder(run).encoder())


def test_an_older_encoder_opens_without_its_run(tmp_path: Path) -> None:
    for name in ("encoder.json", "encoder.safetensors"):
        shutil.copy(OLD / "simclr" / name, tmp_path)
    source = load("digits", limit=40)
    encoder, _ = load_encoder(tmp_path)
    features = encoder(plain_view(source.spec)(source.test.take(torch.arange(5))))
    assert features.shape == (5, 128)
    assert bool(features.isfinite().all())


def test_an_older_index_is_searched(run: Path) -> None:
    index = read_index(OLD / "embeddings.parquet")
    assert len(index.ids) == 400
    assert index.features.shape == (400, 128)
    found = nearfar.search(run, index.ids[0], index=OLD / "embeddings.parquet", k=3)
    assert len(found.rows) == 3


def test_an_older_config_of_two_towers_is_read() -> None:
    config = read_config(OLD / "clip" / "config.toml")
    assert config.method == "clip"
    assert config.options.encoder == "perceptron+text-transformer"
    assert config.options.prepare == ()
