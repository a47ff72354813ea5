"""``benchmarks/on_gpu.py``: its logic, on the CPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

PLACE = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(PLACE))
    import on_gpu

    yield on_gpu
    for name in ("on_gpu", "parity", "two_processes"):
        sys.modules.pop(name, None)


def test_without_a_gpu_it_says_so_and_writes_nothing(
    on_gpu: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert on_gpu.main(["--out", str(tmp_path / "out")]) == 0
    assert "no GPU" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_the_cpu_against_itself_is_good(on_gpu: Any, tmp_path: Path) -> None:
    arguments = ["--device", "cpu", "--out", str(tmp_path), "--steps", "2"]
    assert on_gpu.main([*arguments, "--methods", "simclr", "byol", "mixed-barlow-twins"]) == 0
    told = json.loads((tmp_path / "gpu.json").read_text())
    by_name = {one["name"]: one for one in told["found"]}
    assert by_name["simclr"]["error"] == 0
    assert by_name["mixed-barlow-twins"]["error"] == 0
    assert by_name["simclr, 2 steps"]["error"] == 0
    assert {one["part"] for one in told["found"]} >= {"method", "loss", "run"}
    assert told["left"] == []
    assert "| method | simclr |" in (tmp_path / "gpu.md").read_text()


def test_what_differs_or_fails_is_told_and_the_rest_goes_on(
    on_gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = on_gpu.values_of
    calls = []

    def off(*given: Any, **options: Any) -> Any:
        calls.append(given)
        found = true(*given, **options)
        return [value + 1e-6 for value in found] if len(calls) % 3 == 0 else found

    monkeypatch.setattr(on_gpu, "values_of", off)
    monkeypatch.setattr(on_gpu, "compare_run", lambda *_: 1 / 0)
    assert on_gpu.main(["--device", "cpu", "--out", str(tmp_path), "--methods", "simclr"]) == 1
    told = json.loads((tmp_path / "gpu.json").read_text())
    bad = {one["name"]: one for one in told["found"] if not one["good"]}
    assert bad.keys() == {"simclr", "simclr run"}
    assert "ZeroDivisionError" in bad["simclr run"]["note"]


def test_what_the_time_does_not_suffice_for_is_left_out(on_gpu: Any, tmp_path: Path) -> None:
    found, left = on_gpu.battery("cpu", names=["simclr"], seconds=-1.0, steps=1)
    assert found == []
    assert {"simclr", "simclr run"} <= set(left)


def test_of_a_method_that_draws_in_its_step_only_finite_values_are_asked(
    on_gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = on_gpu.values_of

    def drawing(method: Any, batch: Any, seed: int) -> Any:
        return [value + seed for value in true(method, batch, seed)]

    monkeypatch.setattr(on_gpu, "values_of", drawing)
    found = on_gpu.compare_method("simclr", "cpu")
    assert found.error is None
    assert found.good
    monkeypatch.setattr(on_gpu, "values_of", lambda *_, seed: [torch.tensor(torch.nan * seed)])
    assert not on_gpu.compare_method("simclr", "cpu").good
