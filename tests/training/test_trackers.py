"""MLflow and Trackio get the run's numbers: of stand-ins, and of the libraries where they are."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nearfar.cli import main
from nearfar.verbs.run import Run

WORDS = ["simclr", "--data", "digits", "--limit", "64", "--encoder", "perceptron"]
WORDS += ["--epochs", "2", "--batch-size", "32", "--no-evaluate", "--output", "r"]
MLFLOW = """
from types import SimpleNamespace
calls = []
class MlflowClient:
    def __init__(self, tracking_uri): calls.append(("uri", tracking_uri))
    def get_experiment_by_name(self, name): return None
    def create_experiment(self, name): calls.append(("experiment", name)); return "7"
    def create_run(self, experiment, run_name):
        calls.append(("run", experiment, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id="a"))
    def log_param(self, run, name, value): calls.append(("parameter", name, value))
    def log_batch(self, run, metrics):
        calls.extend(("metric", m.key, m.value, m.step) for m in metrics)
    def set_terminated(self, run): calls.append(("end", run))
"""
ENTITIES = """
from dataclasses import dataclass
@dataclass
class Metric:
    key: str
    value: float
    timestamp: int
    step: int
"""
TRACKIO = """
calls = []
class Run:
    def log(self, metrics, step=None):
        calls.extend(("metric", name, value, step) for name, value in metrics.items())
    def finish(self): calls.append(("end",))
def init(project, name, config): calls.append(("run", project, name, config)); return Run()
"""


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules that note what they are told, in the place of the libraries."""
    place = tmp_path / "libraries"
    (place / "mlflow").mkdir(parents=True)
    (place / "mlflow" / "__init__.py").write_text(MLFLOW)
    (place / "mlflow" / "entities.py").write_text(ENTITIES)
    (place / "trackio.py").write_text(TRACKIO)
    names = ("mlflow", "mlflow.entities", "trackio")
    kept = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.chdir(tmp_path)
    yield
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(kept)


def calls_of(name: str, kind: str) -> list[Any]:
    return [call[1:] for call in importlib.import_module(name).calls if call[0] == kind]


@pytest.mark.slow
def test_a_run_writes_its_numbers_for_both(
    stand_ins: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["pretrain", *WORDS, "--log", "mlflow", "trackio"]) == 0
    logged = [(row["loss"], row["step"]) for row in Run(tmp_path / "r").metrics() if "loss" in row]
    for name in ("mlflow", "trackio"):
        metrics = calls_of(name, "metric")
        assert [(value, step) for key, value, step in metrics if key == "train/loss"] == logged
        assert {"learning_rate", "samples_per_second", "probe/knn"} <= {key for key, *_ in metrics}
        assert len(calls_of(name, "end")) == 1
    assert calls_of("mlflow", "uri") == [(f"sqlite:///{tmp_path}/r/mlflow.db",)]
    assert calls_of("mlflow", "run") == [("7", "r")]
    assert ("batch_size", "32") in calls_of("mlflow", "parameter")
    (((project, name, config)),) = calls_of("trackio", "run")
    assert (project, name, config["batch_size"], config["output"]) == ("nearfar", "r", 32, "r")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the libraries' own
def test_mlflow_itself_keeps_them_in_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["pretrain", *WORDS, "--log", "mlflow"]) == 0
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/r/mlflow.db")
    experiment = client.get_experiment_by_name("nearfar").experiment_id
    (run,) = client.search_runs([experiment])
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "train/loss")
    rows = [row for row in Run(tmp_path / "r").metrics() if "loss" in row]
    assert [(one.value, one.step) for one in history] == [(r["loss"], r["step"]) for r in rows]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the libraries' own
def test_trackio_itself_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "kept"))
    assert main(["pretrain", *WORDS, "--log", "trackio"]) == 0
    assert list((tmp_path / "kept").glob("nearfar*.db"))
