"""Names, limits, seeds and options that all kinds of data share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nearfar.data import DataOptions, load
from nearfar.data.readers import catalogue
from nearfar.errors import UserError


@pytest.fixture
def series(tmp_path: Path) -> Path:
    x = np.arange(100.0)[:, None, None] + np.zeros((1, 1, 10))
    np.savez(tmp_path / "waves.npz", x=x, label=np.arange(100) % 4)
    return tmp_path / "waves.npz"


def test_a_limit_draws_from_the_training_samples(series: Path) -> None:
    whole = load(series)
    few = load(series, limit=40)
    fewer = load(series, limit=20)
    assert (len(few.train), few.spec.length) == (40, 40)
    assert set(fewer.train.ids) < set(few.train.ids) < set(whole.train.ids)
    assert few.test is not None
    assert whole.test is not None
    assert len(few.test) == 10
    assert set(few.test.ids) < set(whole.test.ids)
    assert few.train.take(torch.arange(40))[:, 0, 0].tolist() == [float(i) for i in few.train.ids]
    assert few.spec.classes == ("0", "1", "2", "3")
    assert load(series, limit=1000).spec.length == 80


def test_a_limit_leaves_a_given_test_set_whole() -> None:
    source = load("digits", limit=20)
    assert source.test is not None
    assert (len(source.train), len(source.test)) == (20, 360)


def test_the_seed_decides_split_and_limit(series: Path) -> None:
    first, same, other = (load(series, limit=10, seed=seed).train.ids for seed in (1, 1, 2))
    assert first == same != other


def test_options_can_be_given_whole_and_changed(series: Path) -> None:
    options = DataOptions(limit=10, seed=3)
    assert load(series, options).train.ids == load(series, limit=10, seed=3).train.ids
    assert load(series, options, limit=5).spec.length == 5


def test_without_a_split_everything_is_for_training(series: Path) -> None:
    source = load(series, split=False)
    assert source.test is None
    assert source.train.ids == [str(i) for i in range(100)]


@pytest.mark.parametrize(("name", "value"), [("limit", 0), ("limit", -3), ("size", 0)])
def test_nothing_left_is_refused(name: str, value: int) -> None:
    with pytest.raises(UserError, match=f"data option {name} is {value}, which leaves nothing"):
        load("digits", **{name: value})


def test_a_limit_of_one_is_too_few() -> None:
    with pytest.raises(UserError, match="digits has 1 usable training sample; expected at least 2"):
        load("digits", limit=1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cluttered-digit", "Unknown data 'cluttered-digit': did you mean cluttered-digits"),
        ("cifar10", "Unknown data 'cifar10': did you mean torchvision:CIFAR10"),
        ("zzzz", "Unknown data 'zzzz': valid names: .*cluttered-digits"),
        ("no/such/folder", "The path no/such/folder does not exist; give an existing folder"),
        ("photos.zip", "The path photos.zip does not exist"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(name)


def test_a_path_object_is_never_a_name() -> None:
    with pytest.raises(UserError, match="Unknown data 'digits'"):
        load(Path("digits"))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.heic").write_bytes(b"x")
    with pytest.raises(
        UserError,
        match=r"photo\.heic is a single \.heic file; expected a folder, or a file that ends in "
        r"\.parquet",
    ):
        load(tmp_path / "photo.heic")


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UserError, match="Unknown data option 'lable': did you mean label"):
        load("digits", lable="x")


def test_the_catalogue_imports_no_torch() -> None:
    code = (
        "import sys, nearfar.data.readers.catalogue as c; [e.here for e in c.entries()]; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_catalogue_says_what_is_here(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = {entry.name: entry.here for entry in catalogue.entries()}
    assert here["cluttered-digits"] == here["aeon:BasicMotions"] == "yes"
    assert here["torchvision:MNIST"] == "downloads on first use"
    (cache / "torchvision" / "MNIST").mkdir(parents=True)
    assert {entry.name: entry.here for entry in catalogue.entries()}["torchvision:MNIST"] == "yes"
    monkeypatch.setattr(catalogue.importlib.util, "find_spec", lambda name: None)
    assert {e.name: e.here for e in catalogue.entries()}[
        "aeon:BasicMotions"
    ] == "needs aeon: pip install 'nearfar[series]'"


def test_a_public_name_that_is_not_there() -> None:
    import nearfar.data

    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        nearfar.data.lod  # noqa: B018
