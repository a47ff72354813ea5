"""TensorBoard gets the run's numbers; what is not there is refused before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from nearfar.cli import main
from nearfar.options import PretrainOptions, changed, read_config
from nearfar.verbs.run import Run


@pytest.mark.slow
def test_a_run_writes_its_numbers_for_tensorboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.chdir(tmp_path)
    words = [
        "simclr",
        "--data",
        "digits",
        "--limit",
        "64",
        "--encoder",
        "perceptron",
        "--epochs",
        "2",
        "--batch-size",
        "32",
    ]
    assert main(["pretrain", *words, "--log", "tensorboard", "--no-evaluate", "--output", "r"]) == 0
    events = accumulator.EventAccumulator(str(tmp_path / "r" / "tensorboard"))
    events.Reload()
    assert {"train/loss", "learning_rate", "samples_per_second", "probe/knn"} <= set(
        events.Tags()["scalars"]
    )
    logged = [row["loss"] for row in Run(tmp_path / "r").metrics() if "loss" in row]
    assert [scalar.value for scalar in events.Scalars("train/loss")] == pytest.approx(logged)
    assert read_config(tmp_path / "r" / "config.toml").options.log == ("tensorboard",)


def test_trackers_that_are_not_there_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["pretrain", "simclr", "--log", "tensorbored"]) == 2
    assert (
        "--log is 'tensorbored'; expected one of 'tensorboard', 'wandb', 'mlflow', 'trackio'"
        in capsys.readouterr().err
    )
    monkeypatch.setattr("nearfar.options.importlib.util.find_spec", lambda name: None)
    assert main(["pretrain", "simclr", "--log", "wandb"]) == 2
    assert "needs its package: pip install wandb" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert changed(PretrainOptions(), {"seed": 1}).log == ()
