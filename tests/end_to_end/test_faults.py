"""The real command while something goes wrong: kills, two runs in one folder, damaged and read-only
folders, signals.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.warm import Started
from tests.warm import nearfar as warm

NEARFAR = [sys.executable, "-m", "nearfar"]
SMALL = [
    "--encoder",
    "small-convnet",
    "--limit",
    "256",
    "--batch-size",
    "16",
    "--precision",
    "float32",
    "--no-evaluate",
]
SMALL += ["--checkpoint-minutes", "0"]


def nearfar(
    *words: str, cwd: Path, code: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    done = warm(words, cwd=cwd, env={**os.environ, **environment})
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def started(*words: str, cwd: Path) -> Started:
    return Started(words, cwd=cwd)


def wait_for_checkpoint(folder: Path, process: Started, step: int = 3) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        found = sorted((folder / "checkpoints").glob("step-*.pt"))
        if found and int(found[-1].stem[5:]) >= step:
            return
        time.sleep(0.02)
    raise AssertionError(f"no checkpoint:\n{process.communicate(timeout=60)[0]}")


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed in its first epoch, of 12 steps; copied before it is damaged."""
    folder = tmp_path_factory.mktemp("work")
    process = started("pretrain", "simclr", *SMALL, "--epochs", "2", "--output", "r", cwd=folder)
    wait_for_checkpoint(folder / "r", process)
    process.kill()
    process.communicate(timeout=60)
    return folder / "r"


@pytest.fixture
def work(broken_off: Path, tmp_path: Path) -> Path:
    shutil.copytree(broken_off, tmp_path / "r")
    return tmp_path


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The encoder of that run without a kill."""
    folder = tmp_path_factory.mktemp("whole")
    nearfar("pretrain", "simclr", *SMALL, "--epochs", "2", "--output", "r", cwd=folder)
    return (folder / "r" / "encoder.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "mcl --encoder perceptron --epochs 3 --settings.stages 2 --settings.clusters 2",
        "genview --settings.generator-steps 5 --epochs 1",
    ],
    ids=lambda words: words.partition(" ")[0],
)
def test_a_run_killed_within_an_epoch_goes_on_to_the_bit(words: str, tmp_path: Path) -> None:
    method, *options = words.split()
    asked = ["pretrain", method, *SMALL, *options]
    nearfar(*asked, "--output", "whole", cwd=tmp_path)
    process = started(*asked, "--output", "r", cwd=tmp_path)
    wait_for_checkpoint(tmp_path / "r", process, step=5)
    process.kill()
    process.communicate(timeout=60)
    nearfar("pretrain", "--resume", "r", cwd=tmp_path)
    whole, resumed = (
        (tmp_path / name / "encoder.safetensors").read_bytes() for name in ("whole", "r")
    )
    assert whole == resumed
    rows = [
        [
            (row["step"], row.get("loss"))
            for row in map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
        ]
        for name in ("whole", "r")
    ]
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_everything_lost_at_once_is_mended_and_said(work: Path, expected: bytes) -> None:
    folder = work / "r"
    newest = max((folder / "checkpoints").glob("step-*.pt"))
    newest.write_bytes(bytes(1000))
    (folder / "config.toml").write_bytes(b"\0" * 200)
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 3, "lo')
    (folder / ".config.toml.99.part").write_text("left")
    (folder / "checkpoints" / ".step-000000009.pt.99.part").write_text("left")
    told = nearfar("pretrain", "--resume", "r", cwd=work, COLUMNS="1000").stdout
    assert "r/config.toml was lost or damaged; it was restored from a checkpoint" in told
    assert f"{newest.name} is damaged or no checkpoint at all" in told
    assert "1 damaged line(s)" in told
    assert (folder / "encoder.safetensors").read_bytes() == expected
    assert not list(folder.rglob("*.part"))
    assert not (folder / "run.lock").exists()
    for row in (folder / "metrics.jsonl").read_text().splitlines():
        json.loads(row)


@pytest.mark.slow
def test_a_lost_configuration_is_named_by_other_verbs(work: Path) -> None:
    (work / "r" / "config.toml").unlink()
    refused = nearfar("report", "r", cwd=work, code=2)
    assert "has lost its config.toml; `nearfar pretrain --resume r` restores it" in refused.stderr


@pytest.mark.slow
def test_where_nothing_is_good_there_is_one_sentence(work: Path) -> None:
    for path in (work / "r" / "checkpoints").glob("step-*.pt"):
        path.write_bytes(b"")
    refused = nearfar("pretrain", "--resume", "r", cwd=work, code=2)
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "is damaged or no checkpoint at all" in refused.stderr


@pytest.mark.slow
def test_edited_options_are_named(work: Path) -> None:
    path = work / "r" / "config.toml"
    path.write_text(path.read_text().replace("epochs = 2", "epochs = 3"))
    refused = nearfar("pretrain", "--resume", "r", cwd=work, code=2)
    assert "epochs is 3 and was 2; put it back to go on" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_only_one_process_owns_a_run_and_a_signal_ends_it_with_130(
    number: signal.Signals, tmp_path: Path
) -> None:
    process = started(
        "pretrain", "simclr", *SMALL, "--epochs", "500", "--output", "r", cwd=tmp_path
    )
    wait_for_checkpoint(tmp_path / "r", process)
    refused = nearfar("pretrain", "--resume", "r", cwd=tmp_path, code=2)
    assert f"The run folder r is in use by process {process.pid} on " in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    process.send_signal(number)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "nearfar pretrain --resume r" in told
    assert not (tmp_path / "r" / "run.lock").exists()


@pytest.mark.slow
def test_the_lock_of_a_killed_run_is_taken_over(work: Path) -> None:
    assert json.loads((work / "r" / "run.lock").read_text())["pid"] > 0
    nearfar("pretrain", "--resume", "r", cwd=work)


@pytest.mark.parametrize("variable", ["WORLD_SIZE", "RANK"])
def test_numbers_of_processes_that_are_none(variable: str, tmp_path: Path) -> None:
    given = {"WORLD_SIZE": "2", "RANK": "0", variable: "two"}
    refused = nearfar("pretrain", "simclr", *SMALL, cwd=tmp_path, code=2, **given)
    assert f"The environment variable {variable} is 'two'" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_disk_that_is_full_gets_one_sentence(tmp_path: Path) -> None:
    """A limit on the size of files stands for it: the configuration fits, a checkpoint does not."""
    words = " ".join([*NEARFAR, "pretrain", "simclr", *SMALL, "--epochs", "1", "--output", "r"])
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 8; exec {words}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 2, done.stderr
    assert "File too large; make room there" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list((tmp_path / "r").rglob("*.part"))
