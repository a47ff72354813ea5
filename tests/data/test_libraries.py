"""Sets that other libraries bring: aeon's bundled ones, torchvision's files, Hugging Face folders;
and how their absence is said.
"""

from __future__ import annotations

import gzip
import struct
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nearfar.data import load
from nearfar.data.readers import catalogue
from nearfar.errors import UserError
from tests.data.conftest import image_column, picture, write_parquet


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request leaves the machine."""

    def refuse(*arguments: Any, **options: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.mark.parametrize(
    ("name", "shape", "train", "test", "classes"),
    [
        ("BasicMotions", (6, 100), 40, 40, 4),
        ("ArrowHead", (1, 251), 36, 175, 3),
        ("ItalyPowerDemand", (1, 24), 67, 1029, 2),
    ],
)
def test_bundled_series(
    offline: None, name: str, shape: tuple[int, int], train: int, test: int, classes: int
) -> None:
    pytest.importorskip("aeon")
    source = load(f"aeon:{name}")
    assert (source.spec.modality, source.spec.shape, len(source.spec.classes)) == (
        "series",
        shape,
        classes,
    )
    assert source.test is not None
    assert (len(source.train), len(source.test)) == (train, test)
    assert source.train.take(torch.tensor([0])).dtype == torch.float32


def test_bundled_series_of_many_lengths() -> None:
    pytest.importorskip("aeon")
    with pytest.raises(
        UserError, match="JapaneseVowels are from 7 to 29 steps long; give one length with --size"
    ):
        load("aeon:JapaneseVowels")
    assert load("aeon:JapaneseVowels", size=16).spec.shape == (12, 16)


def test_bundled_values_to_regress() -> None:
    pytest.importorskip("aeon")
    assert load("aeon:Covid3Month").spec.target == "value"


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(content)
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))


def test_a_torchvision_set_that_is_there(cache: Path, offline: None) -> None:
    folder = cache / "torchvision" / "MNIST" / "MNIST" / "raw"
    random = np.random.default_rng(0)
    images = {
        "train": random.integers(0, 256, (5, 28, 28)),
        "t10k": random.integers(0, 256, (3, 28, 28)),
    }
    for part, x in images.items():
        write_idx(folder / f"{part}-images-idx3-ubyte", x)
        write_idx(folder / f"{part}-labels-idx1-ubyte", np.arange(len(x)))
    source = load("torchvision:MNIST")
    assert (source.spec.shape, source.spec.length) == ((1, 28, 28), 5)
    assert len(source.spec.classes) == 10
    assert source.spec.extra["flip"] is False
    assert source.test is not None
    assert np.array_equal(source.test.take(torch.tensor([2]))[0, 0].numpy(), images["t10k"][2])
    assert source.test.label is not None
    assert source.test.label.tolist() == [0, 1, 2]


def test_a_torchvision_set_that_cannot_be_downloaded(offline: None) -> None:
    with pytest.raises(
        UserError,
        match=r"torchvision:CIFAR10 cannot be loaded \(.*no network.*\); the first use needs a "
        r"network",
    ):
        load("torchvision:CIFAR10")


def test_an_unknown_torchvision_set() -> None:
    with pytest.raises(
        UserError, match="Unknown torchvision data set 'CIFAR11': did you mean CIFAR10"
    ):
        load("torchvision:CIFAR11")


def test_an_aeon_set_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("aeon.datasets")

    def refuse(*arguments: Any, **options: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(datasets, "load_classification", refuse)
    monkeypatch.setattr(datasets, "load_regression", refuse)
    with pytest.raises(
        UserError,
        match=r"aeon:Beef cannot be loaded \(.*no network.*\); check the name, and the network",
    ):
        load("aeon:Beef")


@pytest.mark.parametrize(("name", "extra"), [("hf:mnist", "hub"), ("aeon:Beef", "series")])
def test_a_library_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, name: str, extra: str
) -> None:
    monkeypatch.setattr(catalogue.importlib.util, "find_spec", lambda module: None)
    with pytest.raises(UserError, match=rf"{name} needs .*: pip install 'nearfar\[{extra}\]'"):
        load(name)


@pytest.fixture
def hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the library reads as a data set, with the library's own cache kept out of the
    user's.
    """
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf-cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "tiny"
    folder.mkdir()
    features = datasets.Features(
        {"image": datasets.Image(), "fine_label": datasets.ClassLabel(names=["low", "high"])}
    )
    for part, count in (("train", 5), ("test", 2)):
        columns = {"image": image_column(count), "fine_label": [0, 1, 0, 1, 1][:count]}
        metadata = {"huggingface": f'{{"info": {{"features": {features_json(features)}}}}}'}
        write_parquet(folder / f"{part}.parquet", columns, metadata=metadata)
    return folder


def features_json(features: Any) -> str:
    import json

    return json.dumps(features.to_dict())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_hugging_face_set(hugging_face: Path) -> None:
    source = load(f"hf:{hugging_face}")
    assert (source.spec.name, source.spec.shape, source.spec.length) == ("tiny", (3, 12, 12), 5)
    assert source.spec.classes == ("low", "high")
    assert source.test is not None
    assert source.test.label is not None
    assert source.test.label.tolist() == [0, 1]
    found = source.train.take(torch.tensor([4]))[0].numpy()
    assert np.array_equal(found, np.asarray(picture(4)).transpose(2, 0, 1))


def test_a_hugging_face_set_that_cannot_be_loaded(hugging_face: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"hf:no-one/nothing cannot be loaded \(.*\); check the name, and the network "
        r"connection",
    ):
        load("hf:no-one/nothing")
