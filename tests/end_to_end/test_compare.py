"""The real comparison: equal conditions, continued where it stopped, extended by seeds and arms,
refused when it is another one.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from nearfar.cli import main
from nearfar.comparison.arms import arms_of
from nearfar.comparison.options import CompareOptions
from nearfar.comparison.running import config_of, planned
from nearfar.verbs.run import Run
from tests.warm import nearfar as warm

SMALL = [
    "--data",
    "small.npz",
    "--limit",
    "60",
    "--encoder",
    "perceptron",
    "--batch-size",
    "20",
    "--steps",
    "3",
    "--output",
    "c",
]


def compare(*words: str, cwd: Path, code: int = 0) -> str:
    wide = {**os.environ, "COLUMNS": "200"}
    done = warm(["compare", *words], cwd=cwd, env=wide, timeout=280)
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_comparison_is_equal_continued_and_extended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.random.default_rng(0).integers(0, 255, (100, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "small.npz", images=images, label=np.arange(100) % 2)
    told = compare("simclr", *SMALL, "--seeds", "1", "--settings.temperature", "0.3", cwd=tmp_path)
    told = compare(
        "simclr", "vicreg", *SMALL, "--seeds", "1", "--settings.temperature", "0.3", cwd=tmp_path
    )
    assert "simclr temperature=0.3, seed 0: done already" in told
    assert "vicreg and simclr temperature=0.3 cannot be compared with one seed" in told
    lines = [line.strip() for line in told.splitlines()]
    assert sum(line.startswith("result kNN accuracy") for line in lines) == 1  # of the new run
    assert "evaluation on small" not in told
    assert sum(set(line) == {"─"} for line in lines) == 1  # one table
    last = max(number for number, line in enumerate(lines) if line.startswith("Report: "))
    assert all("seed 0" not in line for line in lines[last:])
    assert last < next(number for number, line in enumerate(lines) if set(line) == {"─"})
    folders = [tmp_path / "c" / arm / "seed-0" for arm in ("simclr-temperature=0.3", "vicreg")]
    configs = [Run(folder).config for folder in folders]
    assert [config.settings.get("temperature") for config in configs] == [0.3, None]
    same = {
        (c.options.batch_size, c.options.steps, c.options.encoder, c.options.seed, c.options.limit)
        for c in configs
    }
    assert same == {(20, 3, "perceptron", 0, 60)}
    assert all(
        json.loads((folder / "memory.json").read_text())["peak_memory_mib"] > 50
        for folder in folders
    )
    rows = pq.read_table(tmp_path / "c" / "results.parquet").to_pylist()
    assert {(row["arm"], row["seed"]) for row in rows} == {
        (f.parent.name.replace("-t", " t"), 0) for f in folders
    }
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "vicreg", "simclr", *SMALL, "--seeds", "2"]) == 2
    assert "c holds another comparison" in capsys.readouterr().err


def test_a_budget_in_seconds_becomes_steps_once(tmp_path: Path) -> None:
    options = CompareOptions(
        data="digits", limit=120, encoder="perceptron", batch_size=40, seconds=0.5, output=tmp_path
    )
    arms = arms_of(["simclr"], {})
    plan = planned(arms, options, tmp_path / "c")
    assert plan["steps"]["simclr"] >= 1
    assert config_of(arms[0], options, plan, seed=1).options.steps == plan["steps"]["simclr"]
    assert (
        planned(arms, dataclasses.replace(options, seeds=5), tmp_path / "c")["steps"]
        == plan["steps"]
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["simclr", "--settings.temperature"], "--settings.temperature has no value"),
        (
            ["simclr", "mae", "--encoder", "perceptron"],
            "mae drops patches and needs a transformer encoder",
        ),
        (["simclr", "--output", "taken"], "taken exists and is not a comparison"),
        (["simclr", "--data", "no/such"], "no/such"),
        ([], "No method was named"),
    ],
)
def test_mistakes_get_one_sentence_and_leave_nothing(
    words: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "precious").write_text("x")
    assert main(["compare", *words]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert len(told.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.rglob("*")] in (
        ["taken", "precious"],
        ["precious", "taken"],
    )


def test_advice_names_methods_reasons_and_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--advise", "--data", "digits"]) == 0
    told = capsys.readouterr().out
    assert "1,437 image samples" in told
    assert "3. " in told
    assert "batch size 256: enough for every method here" in told
    assert "nearfar compare vicreg supcon" in told.replace("\n", " ")
