"""The real command on real data: a run from start to finish, its folder, and every promised
error.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from nearfar.cli import main
from nearfar.runs.encoder_files import load_encoder
from tests.warm import Started, together
from tests.warm import nearfar as warm

SHORT = ["--epochs", "2", "--limit", "512", "--batch-size", "256", "--precision", "float32"]


def nearfar(
    *words: str, cwd: Path, code: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    done = warm(words, cwd=cwd, env={**os.environ, **environment})
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One short run that the tests below look at."""
    folder = tmp_path_factory.mktemp("work")
    done = nearfar(
        "pretrain",
        "simclr",
        *SHORT,
        "--settings.temperature",
        "0.3",
        "--output",
        "first",
        cwd=folder,
    )
    (folder / "told.txt").write_text(done.stdout)
    return folder / "first"


@pytest.mark.slow
def test_result_verdict_and_next_command_come_before_the_table(run: Path) -> None:
    lines = (run.parent / "told.txt").read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("result "))
    labels = [line.split(" ")[0] for line in lines[first:]]
    table = labels.index("evaluation")
    assert labels[:3] == ["result", "verdict", "next"]
    assert labels[3:table] == ["perhaps"] * 2, "a run of four steps learns nothing"
    assert lines[first + 2].startswith("next nearfar ")


@pytest.mark.slow
def test_a_run_leaves_everything_behind(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert names >= {
        "config.toml",
        "metrics.jsonl",
        "checkpoints",
        "encoder.safetensors",
        "encoder.json",
        "evaluation.json",
        "report.html",
    }
    assert not list(run.rglob("*.part"))
    assert "temperature = 0.3" in (run / "config.toml").read_text()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any("knn" in row for row in rows)
    assert rows[-1]["step"] == 4
    page = (run / "report.html").read_text()
    assert len(page) < 5_000_000
    assert "random encoder" in page
    assert 'src="http' not in page


@pytest.mark.slow
def test_the_same_config_gives_the_same_encoder(run: Path) -> None:
    nearfar(
        "pretrain",
        "--config",
        "first/config.toml",
        "--output",
        "again",
        "--no-evaluate",
        cwd=run.parent,
    )
    assert (run.parent / "again" / "encoder.safetensors").read_bytes() == (
        run / "encoder.safetensors"
    ).read_bytes()


@pytest.mark.slow
def test_a_run_starts_from_the_encoder_of_another(run: Path) -> None:
    words = [
        "pretrain",
        "supcon",
        "--start-from",
        "first",
        *SHORT,
        "--learning-rate",
        "0",
        "--no-evaluate",
    ]
    nearfar(*words, "--output", "second", cwd=run.parent)
    first, second = (
        load_encoder(run.parent / name)[0].state_dict() for name in ("first", "second")
    )
    assert all(
        torch.equal(value, second[name]) for name, value in first.items() if name.endswith("weight")
    )
    refused = nearfar(*words, "--encoder", "resnet18", "--output", "third", cwd=run.parent, code=2)
    assert "first holds the encoder small-convnet, not resnet18" in refused.stderr


@pytest.mark.slow
def test_embeddings_are_written_with_ids_and_labels(run: Path) -> None:
    nearfar("embed", "first", "-o", "e.parquet", cwd=run.parent)
    table = pq.read_table(run.parent / "e.parquet")
    assert set(table.column_names) == {"id", "split", "label", "embedding"}
    nearfar(
        "embed", "first", "--data", "digits", "--output", "e.npz", cwd=run.parent
    )  # 8 x 8, brought to the encoder's 32 x 32
    with np.load(run.parent / "e.npz") as arrays:
        assert arrays["embedding"].shape[0] == 1797
    assert (
        "e.parquet exists already"
        in nearfar("embed", "first", "-o", "e.parquet", cwd=run.parent, code=2).stderr
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["safetensors", "onnx", "torch"])
def test_the_encoder_is_exported_and_checked(run: Path, form: str) -> None:
    nearfar("export", "first", "--format", form, cwd=run.parent)
    assert "exists" in nearfar("export", "first", "--format", form, cwd=run.parent, code=2).stderr


@pytest.mark.slow
def test_an_evaluation_can_go_elsewhere_and_leaves_the_run_alone(run: Path) -> None:
    before = (run / "evaluation.json").read_bytes()
    nearfar("evaluate", "first", "--protocols", "knn", "--output", "elsewhere.json", cwd=run.parent)
    assert "knn" in (run.parent / "elsewhere.json").read_text()
    assert (run / "evaluation.json").read_bytes() == before
    refused = nearfar(
        "evaluate",
        "first",
        "--protocols",
        "knn",
        "--output",
        "elsewhere.json",
        cwd=run.parent,
        code=2,
    )
    assert "elsewhere.json exists already" in refused.stderr


@pytest.mark.slow
def test_ctrl_c_leaves_a_usable_run_and_says_how_to_resume(tmp_path: Path) -> None:
    words = [
        "pretrain",
        "simclr",
        "--epochs",
        "60",
        "--limit",
        "512",
        "--precision",
        "float32",
        "--output",
        "r",
        "--no-evaluate",
    ]
    started = Started(words, cwd=tmp_path)
    metrics = tmp_path / "r" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not metrics.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    started.send_signal(signal.SIGINT)
    output, _ = started.communicate(timeout=120)
    assert "nearfar pretrain --resume r" in output
    assert "Traceback" not in output
    assert (tmp_path / "r" / "encoder.safetensors").exists()
    refused = nearfar("pretrain", "--resume", "r", "--epochs", "2", cwd=tmp_path, code=2)
    assert "epochs" in refused.stderr


@pytest.mark.slow
def test_a_sharded_run_is_evaluated_and_goes_on_whole(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (80, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "small.npz", images=images, label=np.arange(80) % 2)
    made = ["--data", "small.npz", "--encoder", "perceptron", "--output", "r"]
    words = ["pretrain", "simclr", "--shard", *made, "--batch-size", "32", "--steps", "4"]
    for process in together(2, words, cwd=tmp_path):
        told, _ = process.communicate()
        assert process.returncode == 0, told
    assert (tmp_path / "r" / "evaluation.json").exists()
    assert any(
        "knn" in json.loads(line)
        for line in (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()
    )
    sharded = load_encoder(tmp_path / "r")[0].state_dict()
    assert (
        "only process" in nearfar("pretrain", "--resume", "r", "--no-evaluate", cwd=tmp_path).stdout
    )
    assert (
        "only process"
        not in nearfar(
            "pretrain", "--resume", "r", "--no-shard", "--no-evaluate", cwd=tmp_path
        ).stdout
    )
    assert all(
        torch.equal(value, sharded[name])
        for name, value in load_encoder(tmp_path / "r")[0].state_dict().items()
    )


def test_help_is_instant_and_free_of_torch() -> None:
    code = (
        "import sys; from nearfar.cli import main; main(['--help']); main(['methods']); assert "
        "'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    code = "import sys, nearfar; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_explains_a_methods_settings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["pretrain", "amcl-moco", "--help"])
    text = capsys.readouterr().out
    assert "number of heads" in text, "of shared settings"
    assert "sketch does" in text, "of inherited settings"
    assert "number of past keys" in text, "of the method's own"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["pretain"], "Unknown command 'pretain': did you mean pretrain"),
        (["pretrain", "simclrr"], "Unknown method 'simclrr': did you mean simclr"),
        (["pretrain"], "No method was named; choose one of"),
        (["pretrain", "simclr", "--data", "cluttered-digit"], "did you mean cluttered-digits"),
        (["pretrain", "simclr", "--data", "no/such/folder"], "no/such/folder"),
        (["pretrain", "simclr", "--encoder", "resnet19"], "did you mean resnet18"),
        (["pretrain", "simclr", "--batch-size", "100000"], "100000"),
        (["pretrain", "simclr", "--epochs", "0"], "epochs is 0"),
        (
            ["pretrain", "simclr", "--optimizer", "adamww"],
            "Unknown optimizer 'adamww': did you mean adamw",
        ),
        (["pretrain", "byol", "--settings.predictor-rate", "0"], "expected a number above 0"),
        (["pretrain", "clip"], "clip learns from image+text or any+any data"),
        (["pretrain", "mae", "--encoder", "resnet18"], "needs a transformer encoder"),
        (["pretrain", "--resume", "nothing"], "nothing is not a run folder"),
        (["pretrain", "--config", "nothing.toml"], "Cannot read nothing.toml: No such file"),
        (["evaluate", "nothing"], "nothing is not a run folder"),
        (["methods", "simcrl"], "did you mean simclr"),
    ],
)
def test_a_mistake_gets_one_sentence_and_exit_code_2(
    words: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert "Traceback" not in told
    assert len(told.strip().splitlines()) == 1
    assert not list(tmp_path.rglob("*")), "a refused command must leave nothing behind"


def test_a_run_folder_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    """Also the one test of a mistake through a real process: exit code 2 and one line."""
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "precious").write_text("x")
    done = nearfar("pretrain", "simclr", *SHORT, "--output", "r", cwd=tmp_path, code=2)
    assert "run folder r exists and is not empty" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert (tmp_path / "r" / "precious").read_text() == "x"
    assert len(list((tmp_path / "r").iterdir())) == 1
