"""Commands that start processes, and processes that run together, when one of them goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nearfar.verbs.run import Run
from tests.warm import Started, together

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc"),
]
SMALL = [
    "--limit",
    "256",
    "--batch-size",
    "32",
    "--encoder",
    "small-convnet",
    "--precision",
    "float32",
]
ENDLESS = ["pretrain", "simclr", *SMALL, "--epochs", "500", "--no-evaluate", "--output", "r"]


def waited_for(
    found: Callable[[], bool], process: subprocess.Popen[str] | Started, seconds: float = 120
) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, "it took too long"
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def running_in(folder: Path) -> list[int]:
    """Processes that work in this folder, and are no zombies."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (
                place.joinpath("cwd").resolve() == folder
                and place.joinpath("stat").read_text().rpartition(")")[2].split()[0] != "Z"
            ):
                found.append(int(place.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_comparison_leaves_nobody_behind_and_goes_on(name: str, tmp_path: Path) -> None:
    words = [
        "compare",
        "simclr",
        "vicreg",
        *SMALL,
        "--epochs",
        "200",
        "--seeds",
        "1",
        "--output",
        "c",
    ]
    process = Started(words, cwd=tmp_path)
    metrics = tmp_path / "c" / "simclr" / "seed-0" / "metrics.jsonl"
    waited_for(metrics.exists, process)
    process.send_signal(getattr(signal, name))
    start = time.monotonic()
    told, _ = process.communicate(timeout=60)
    waited = time.monotonic()
    while running_in(tmp_path) and time.monotonic() < waited + 30:
        time.sleep(0.05)
    assert not running_in(tmp_path)
    assert time.monotonic() - start < 30
    assert "Traceback" not in told
    assert list((metrics.parent / "checkpoints").glob("step-*.pt")), "the run saved what it had"
    if name != "SIGKILL":
        assert process.returncode == 130


def torchrun(folder: Path, *options: str) -> tuple[subprocess.Popen[str], list[int]]:
    """A run on two processes that has begun to train; the command, and the ids of both processes in
    order of rank.
    """
    start = [sys.executable, "-m", "torch.distributed.run", *options, "--nproc-per-node", "2"]
    process = subprocess.Popen(
        [*start, "-m", "nearfar", *ENDLESS],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    waited_for((folder / "r" / "metrics.jsonl").exists, process)
    ranks: dict[str, int] = {}
    for pid in running_in(folder):
        variables = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        rank = next(
            (variable.partition("=")[2] for variable in variables if variable.startswith("RANK=")),
            None,
        )
        if rank is not None:
            ranks.setdefault(rank, pid)
    return process, [ranks["0"], ranks["1"]]


def test_a_lost_worker_ends_the_run_with_one_sentence(tmp_path: Path) -> None:
    process, (_, second) = torchrun(tmp_path)
    os.kill(second, signal.SIGKILL)
    told, _ = process.communicate(timeout=90)
    assert process.returncode
    assert "nearfar: Process 0 of 2 lost another one, which ended or did not answer" in told
    assert "defect of nearfar" not in told


def test_a_frozen_worker_ends_the_run_within_the_stated_time(tmp_path: Path) -> None:
    first, second = together(2, ENDLESS, cwd=tmp_path, NEARFAR_TIMEOUT_MINUTES="0.2")
    try:
        waited_for((tmp_path / "r" / "metrics.jsonl").exists, first)
        second.send_signal(signal.SIGSTOP)
        start = time.monotonic()
        told, _ = first.communicate(timeout=120)
        assert time.monotonic() - start < 70, "12 seconds, with patience for a machine that is busy"
        assert first.returncode
        assert "did not answer for 0.2 minutes (NEARFAR_TIMEOUT_MINUTES)" in told
    finally:
        second.kill()
        second.communicate()


def test_sigusr1_to_torchrun_saves_and_the_run_goes_on(tmp_path: Path) -> None:
    """Slurm sends it to every process of a step; torchrun hands it on."""
    handled = ["--signals-to-handle", "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"]
    process, _ = torchrun(tmp_path, *handled)
    process.send_signal(signal.SIGUSR1)
    told, _ = process.communicate(timeout=90)
    assert process.returncode
    assert_saved_and_goes_on(tmp_path, told)


def test_sigusr1_to_one_process_saves_and_the_run_goes_on(tmp_path: Path) -> None:
    """Slurm sends it to every process of a step; one of them alone is enough."""
    first, second = together(2, ENDLESS, cwd=tmp_path)
    waited_for((tmp_path / "r" / "metrics.jsonl").exists, first)
    second.send_signal(signal.SIGUSR1)
    told, _ = first.communicate(timeout=90)
    second.communicate(timeout=90)
    assert [first.returncode, second.returncode] == [130, 130]
    assert_saved_and_goes_on(tmp_path, told)


def assert_saved_and_goes_on(folder: Path, told: str) -> None:
    """It saved, says how to go on, and goes on so until it is asked to end again."""
    assert "defect of nearfar" not in told
    assert "To go on: nearfar pretrain --resume r" in told
    newest = max((folder / "r" / "checkpoints").glob("step-*.pt"))
    step = int(newest.stem[5:])
    assert f"Stopped after step {step} of " in told
    assert not (folder / "r" / "run.lock").exists()
    again = Started(["pretrain", "--resume", "r"], cwd=folder)
    waited_for(lambda: Run(folder / "r").metrics()[-1]["step"] > step, again)
    again.send_signal(signal.SIGUSR1)
    told, _ = again.communicate(timeout=60)
    assert again.returncode == 130
    assert "To go on: nearfar pretrain --resume r" in told
