"""The profile: its parts make up the step, it changes nothing, and it says what a step takes at
least.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from nearfar.cli import main
from nearfar.errors import UserError
from nearfar.methods.method import Recipe
from nearfar.training.care.bound import bound_seconds
from nearfar.training.care.profile import BETWEEN, PARTS, Profile
from nearfar.training.care.trace import Trace
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from tests.training.toys import Toy, ToyEncoder, ToySource, views

PLAN = Plan(
    Recipe(optimizer="adamw", learning_rate=0.3, batch_size=8, epochs=6), seed=3, log_every=1
)
CPU = torch.device("cpu")


def trained(plan: Plan, make_views: Any = views) -> Toy:
    torch.manual_seed(5)
    method = Toy(ToyEncoder(0.5))
    fit(method, ToySource(), make_views, plan)
    return method


@pytest.mark.parametrize("change", [{}, {"gradient_cache": 3}, {"accumulate": 2}])
def test_a_profiled_run_is_the_same_to_the_bit_and_says_one_thing(change: dict[str, int]) -> None:
    said: list[str] = []
    plan = dataclasses.replace(PLAN, **change)
    plain = trained(plan)
    after = torch.rand(3)
    profiled = trained(dataclasses.replace(plan, profile=Profile(CPU, said.append, steps=5)))
    assert torch.equal(after, torch.rand(3)), (
        "the bound's copy draws dropout from a random state of its own"
    )
    a = plain.state_dict()
    b = profiled.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert len(said) == 1
    assert said[0].startswith("profile of 5 steps after the first 3")


def test_the_parts_make_up_the_step_and_the_slow_one_is_found() -> None:
    def slow_views(samples: torch.Tensor, generator: torch.Generator) -> list[torch.Tensor]:
        time.sleep(0.02)
        return views(samples, generator)

    said: list[str] = []
    profile = Profile(CPU, said.append, steps=12)
    trained(dataclasses.replace(PLAN, profile=profile), slow_views)
    assert set(profile.seconds) == {*PARTS, BETWEEN}
    covered = sum(profile.seconds.values())
    assert 0.9 * profile.whole <= covered <= profile.whole
    assert profile.seconds["views"] == pytest.approx(12 * 0.02, rel=0.5)
    assert profile.seconds["views"] > 0.5 * profile.whole
    printed = {
        name: float(value)
        for name, value in re.findall(r"^ +(\w+) +(-?[\d.]+) ms", said[0], re.MULTILINE)
    }
    step = float(re.search(r": ([\d.]+) ms a step", said[0])[1])  # type: ignore[index]
    assert list(printed) == [*PARTS, "other"]
    assert sum(printed.values()) == pytest.approx(step, abs=0.1)


def test_what_the_encoder_alone_takes_is_less_than_the_step_and_leaves_it_alone() -> None:
    method = Toy(ToyEncoder())
    before = {name: value.clone() for name, value in method.state_dict().items()}
    made = views(ToySource().train.values, torch.Generator().manual_seed(0))
    bound = bound_seconds(method, made, PLAN)
    assert bound is not None
    assert bound > 0
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    assert all(p.grad is None for p in method.parameters())
    assert bound_seconds(method, [torch.zeros(3, 4, dtype=torch.int64)], PLAN) is None


def test_a_run_that_is_too_short_says_so() -> None:
    said: list[str] = []
    trained(dataclasses.replace(PLAN, steps=2, profile=Profile(CPU, said.append)))
    assert said == ["profile: too few steps; expected more than 3."]
    trained(dataclasses.replace(PLAN, steps=7, profile=Profile(CPU, said.append)))
    assert said[1].startswith("profile of 4 steps")


def test_pretrain_prints_the_profile_and_its_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(
        [
            "pretrain",
            "simclr",
            "--profile",
            "--limit",
            "48",
            "--batch-size",
            "16",
            "--steps",
            "6",
            "--precision",
            "float32",
            "--no-evaluate",
            "--output",
            str(tmp_path / "run"),
        ]
    )
    assert code == 0
    said = capsys.readouterr().out
    assert "profile of 3 steps after the first 3" in said
    assert re.search(r"bound: [\d.]+ ms, the encoder alone on ready views in one pass", said)
    assert "profile" not in (tmp_path / "run" / "config.toml").read_text()


def test_a_traced_run_is_the_same_to_the_bit_and_its_parts_are_in_the_file(tmp_path: Path) -> None:
    said: list[str] = []
    trace = Trace(tmp_path / "t", CPU, said.append, steps=2)
    traced = trained(dataclasses.replace(PLAN, steps=8, profile=trace))
    again = trained(dataclasses.replace(PLAN, steps=8)).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in traced.state_dict().items())
    (sentence,) = said
    assert sentence.startswith("trace of 2 steps after the first 3 written to ")
    events = json.loads((tmp_path / "t" / "trace.json").read_text())["traceEvents"]
    names = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    assert {name: names.count(name) for name in ("forward", "optimiser")} == {
        "forward": 2,
        "optimiser": 2,
    }


def test_a_trace_of_too_few_steps_says_so_and_a_second_one_is_refused(tmp_path: Path) -> None:
    said: list[str] = []
    trained(dataclasses.replace(PLAN, steps=2, profile=Trace(tmp_path, CPU, said.append)))
    assert said == ["trace: too few steps; expected more than 3."]
    (tmp_path / "trace.json").write_text("{}")
    with pytest.raises(UserError, match=r"trace.json exists already; choose another folder"):
        Trace(tmp_path, CPU, said.append)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="for --trace cannot be made"):
        Trace(tmp_path / "file" / "below", CPU, said.append)


def test_either_a_profile_or_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["pretrain", "simclr", "--data", "digits", "--limit", "64", "--encoder", "perceptron"]
    words += ["--batch-size", "16", "--steps", "6", "--no-evaluate", "--output", "run"]
    assert main([*words, "--profile", "--trace", "t"]) == 2
    assert "Both --profile and --trace were given" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main([*words, "--trace", "t"]) == 0
    assert "trace of 3 steps after the first 3" in capsys.readouterr().out
    assert (tmp_path / "t" / "trace.json").stat().st_size > 1000
