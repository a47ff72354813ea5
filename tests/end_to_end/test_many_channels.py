"""From files of many channels and 16 bits to an encoder and its features of new files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nearfar
from nearfar.cli import main
from nearfar.runs.encoder_files import encoder_spec, load_encoder


@pytest.fixture
def bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set of 48 images of 6 channels, once as floats that may be series."""
    monkeypatch.setenv("NEARFAR_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    images = random.integers(200, 4000, (48, 16, 16, 6)).astype(np.uint16)
    np.savez(tmp_path / "bands.npz", images=images, label=np.arange(48) % 3)
    first = images.transpose(0, 3, 1, 2).astype(np.float32)
    np.savez(tmp_path / "asked.npz", x=first, label=np.arange(48) % 3)
    return tmp_path


def test_a_question_is_asked_and_nothing_is_written(
    bands: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["pretrain", "simclr", "--data", str(bands / "asked.npz")]
    assert main([*words, "--output", str(bands / "run")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "--modality image or --modality series" in told
    assert not (bands / "run").exists()


def test_an_encoder_of_many_channels_from_start_to_end(bands: Path) -> None:
    run = nearfar.pretrain(
        "simclr",
        data=str(bands / "bands.npz"),
        steps=2,
        batch_size=16,
        output=bands / "run",
        evaluate=False,
    )
    spec = encoder_spec(load_encoder(bands / "run")[0])
    assert spec.shape == (6, 16, 16)
    assert spec.extra["range"][0] >= 200
    found = run.embed(np.load(bands / "bands.npz")["images"][:4])
    # The run's data answer what the other file may hold: no word is needed.
    nearfar.embed(bands / "run", data=str(bands / "asked.npz"), output=bands / "features.npz")
    with np.load(bands / "features.npz") as written:
        features = written["embedding"]
        ids = written["id"].tolist()
    order = [ids.index(str(number)) for number in range(4)]
    np.testing.assert_allclose(features[order], np.asarray(found), rtol=1e-4, atol=1e-5)
    evaluation = nearfar.evaluate(bands / "run", protocols="knn")
    assert evaluation.rows()


def test_contrast_of_other_channels_is_each_ones_own() -> None:
    import torch

    from nearfar.views.image.colour import adjust_contrast

    images = torch.rand(2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    flat = adjust_contrast(images, torch.zeros(2))
    torch.testing.assert_close(flat, images.mean((2, 3), keepdim=True).expand_as(images))
