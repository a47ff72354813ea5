"""Systems that learn from labels, from the command line: values, episodes of classes kept apart,
fine-tuning, and wrong labels.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_digits

from nearfar.cli import main
from nearfar.runs.folder import Run
from nearfar.training.care.checkpoints import latest_checkpoint, load_checkpoint

TINY = ["--encoder", "perceptron", "--limit", "200", "--precision", "float32"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "encoder.safetensors")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("hydra", ["--settings.hidden", "16"]),
        ("sla", ["--settings.distillation"]),
        ("core-tuning", ["--settings.hidden", "16"]),
    ],
)
def test_a_run_on_classes_repeats(name: str, settings: list[str], tmp_path: Path) -> None:
    for run in ("first", "second"):
        common = ["--data", "digits", *TINY, "--batch-size", "33", "--steps", "6", "--no-evaluate"]
        assert main(["pretrain", name, *common, *settings, "--output", str(tmp_path / run)]) == 0
    first = weights(tmp_path / "first")
    second = weights(tmp_path / "second")
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_core_tuning_starts_from_another_runs_encoder(tmp_path: Path) -> None:
    common = ["--data", "digits", *TINY, "--batch-size", "20", "--no-evaluate"]
    assert (
        main(["pretrain", "simclr", *common, "--steps", "2", "--output", str(tmp_path / "start")])
        == 0
    )
    tuned = ["--steps", "1", "--learning-rate", "0", "--start-from", str(tmp_path / "start")]
    assert (
        main(["pretrain", "core-tuning", *common, *tuned, "--output", str(tmp_path / "tuned")]) == 0
    )
    before = weights(tmp_path / "start")
    after = weights(tmp_path / "tuned")
    assert all(
        torch.equal(before[key], after[key])
        for key in before
        if "running" not in key and "tracked" not in key
    )


@pytest.fixture
def classes_apart(tmp_path: Path) -> Path:
    """Digits whose training part holds 0 to 4, and whose test part holds 5 to 9."""
    digits = load_digits()
    images = np.rint(digits.images * 255 / 16).astype(np.uint8)
    path = tmp_path / "apart.npz"
    np.savez(
        path, images=images, label=digits.target, split=np.where(digits.target < 5, "train", "test")
    )
    return path


def test_episodes_of_classes_that_were_never_seen(classes_apart: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    common = [
        "--data",
        str(classes_apart),
        "--encoder",
        "perceptron",
        "--steps",
        "20",
        "--no-evaluate",
        "--output",
        str(run),
    ]
    assert (
        main(
            [
                "pretrain",
                "susana-distancia",
                *common,
                "--settings.shot",
                "2",
                "--settings.query",
                "2",
            ]
        )
        == 0
    )
    assert main(["evaluate", str(run), "--protocols", "few-shot"]) == 0
    found = Run(run).evaluation()
    assert found is not None
    assert found.value("5-way 1-shot accuracy") > 0.3
    assert found.value("5-way 1-shot accuracy") < found.value("5-way 5-shot accuracy")


@pytest.mark.parametrize("name", ["conr", "supremix"])
def test_a_skewed_regression(name: str, tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    run = tmp_path / "run"
    data = [
        "--data",
        str(shared_data("face_ages.parquet")),
        "--label",
        "age",
        *TINY,
        "--batch-size",
        "16",
        "--steps",
        "4",
    ]
    density = (
        ["--settings.density", "inverse-root"] if name == "conr" else ["--settings.hidden", "16"]
    )
    assert main(["pretrain", name, *data, *density, "--no-evaluate", "--output", str(run)]) == 0
    path = latest_checkpoint(run / "checkpoints")
    assert path is not None
    state = load_checkpoint(path)["method"]
    if name == "conr":
        assert state["weight"].mean().item() == pytest.approx(1, rel=1e-4)
        assert state["weight"].max() > 2 * state["weight"].min()
    assert main(["evaluate", str(run), "--protocols", "shots,ridge"]) == 0
    found = Run(run).evaluation()
    assert found is not None
    assert found.value("mean absolute error, few shots") > 0


@pytest.fixture
def turned_digits(tmp_path: Path) -> Path:
    """Digits with two real numbers each."""
    images = np.rint(load_digits().images[:120] * 255 / 16).astype(np.uint8)
    draws = np.random.default_rng(0)
    path = tmp_path / "turned.npz"
    np.savez(
        path,
        images=images,
        pitch=draws.normal(size=120),
        yaw=draws.normal(size=120),
        name=np.array(["a"] * 120),
    )
    return path


def test_labels_of_two_numbers_are_regressed_together(
    turned_digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    data = [
        "--data",
        str(turned_digits),
        "--encoder",
        "perceptron",
        "--batch-size",
        "16",
        "--steps",
        "2",
    ]
    density = ["--settings.density", "inverse-root"]
    assert (
        main(["pretrain", "conr", *data, "--label", "pitch,yaw", *density, "--output", str(run)])
        == 0
    )
    path = latest_checkpoint(run / "checkpoints")
    assert path is not None
    state = load_checkpoint(path)["method"]
    assert state["regressor.weight"].shape[0] == 2
    assert state["weight"].max() > state["weight"].min()
    capsys.readouterr()
    for label, said in (
        ("pitch,roll", "turned has no label column 'roll'"),
        ("pitch,name", "holds 'a'; of several columns all"),
    ):
        assert main(["pretrain", "conr", *data, "--label", label]) == 2
        assert said in capsys.readouterr().err
    assert main(["pretrain", "supremix", *data, "--label", "pitch,yaw"]) == 2
    assert "the labels of turned are 2 numbers: choose one" in capsys.readouterr().err


def test_labels_of_the_wrong_kind_are_refused(
    capsys: pytest.CaptureFixture[str], shared_data: Callable[[str], Path]
) -> None:
    assert main(["pretrain", "conr", "--data", "digits"]) == 2
    assert (
        "conr needs real numbers to regress; the labels of digits are classes: take another method."
        in capsys.readouterr().err
    )
    assert (
        main(
            [
                "pretrain",
                "sla",
                "--data",
                str(shared_data("face_ages.parquet")),
                "--label",
                "age",
                "--limit",
                "50",
            ]
        )
        == 2
    )
    assert (
        "sla needs classes; the labels of face_ages are real numbers: take another method."
        in capsys.readouterr().err
    )
