"""One verdict rule, paired by seed; results are written, read and shown in one table; every claim
is complete.
"""

from __future__ import annotations

import json
import math
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from nearfar.claims import claim as claims
from nearfar.claims.claim import FAILS, FIRST_SEED, HOLDS, LEAST_SEEDS, OPEN, Claim, Result
from nearfar.claims.harness import Training, digits, pretrained, probes
from nearfar.claims.table import read_results, render
from nearfar.cli import main
from nearfar.methods import registry
from nearfar.training.care.interruption import Interruption


def toy(gain: float, spread: float) -> Claim:
    def measure(arm: str, seed: int) -> Mapping[str, float]:
        return {
            "score": 10.0 * (seed - 1000) + (gain + spread * (-1) ** seed if arm == "new" else 0.0),
            "other": 1.0,
        }

    return _claim(measure, seeds=4)


def _claim(measure: Callable[[str, int], Mapping[str, float]], *, seeds: int = 5) -> Claim:
    return Claim(
        statement="New beats old.",
        first="new",
        second="old",
        metric="score",
        measure=measure,
        setting="Numbers made up for this test.",
        tuning="Nothing was tried before.",
        seeds=seeds,
    )


@pytest.mark.parametrize(
    ("gain", "spread", "expected"),
    [(1.0, 0.1, HOLDS), (-1.0, 0.1, FAILS), (0.1, 1.0, OPEN), (0.0, 0.0, FAILS)],
)
def test_the_verdict_follows_from_the_interval_of_the_paired_difference(
    gain: float, spread: float, expected: str
) -> None:
    told: list[str] = []
    result = claims.run("toy", toy(gain, spread), watch=told.append)
    assert result.verdict == expected
    assert result.difference == pytest.approx(gain)
    assert result.low <= result.difference <= result.high
    assert len(told) == 8
    assert "seed 1003 (4 of 4) · old" in told[-1]
    assert result.seeds == [1000, 1001, 1002, 1003]


def test_a_claim_that_was_measured_before_names_fresh_seeds() -> None:
    fresh = replace(toy(1.0, 0.1), first_seed=2000)
    assert claims.run("toy", fresh, watch=lambda _: None).seeds == [2000, 2001, 2002, 2003]
    assert claims.run("toy", fresh, first_seed=0, watch=lambda _: None).seeds == [0, 1, 2, 3]


def test_an_interrupted_training_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Interruption, "__enter__", lambda self: self._request(signal.SIGTERM, None) or self
    )
    with pytest.raises(KeyboardInterrupt):
        pretrained("simclr", digits(), Training(steps=30, batch_size=16), seed=0)


def test_a_result_is_read_back_and_shown(tmp_path: Path) -> None:
    result = claims.run("toy", toy(1.0, 0.1), seeds=3, watch=lambda _: None)
    (tmp_path / "toy.json").write_text(result.to_json())
    assert read_results(tmp_path) == [result]
    table = render([result], ["swav"])
    assert "| toy | new | old | score |" in table
    assert "**holds**" in table
    assert "Not measured: swav." in table
    assert "1 holds, 0 does not hold here, 0 inconclusive" in table


def test_a_result_without_an_interval_is_json_for_any_reader(tmp_path: Path) -> None:
    result = claims.run("toy", toy(1.0, 0.1), seeds=3, watch=lambda _: None)
    text = replace(result, low=math.nan, high=math.nan).to_json()
    found = json.loads(text, parse_constant=pytest.fail)
    assert (found["low"], found["high"]) == (None, None)
    (tmp_path / "toy.json").write_text(text)
    read = read_results(tmp_path)[0]
    assert math.isnan(read.low)
    assert math.isnan(read.high)
    assert replace(read, low=result.low, high=result.high) == result


def test_a_metric_of_one_arm_alone_is_shown_with_a_dash() -> None:
    def measure(arm: str, seed: int) -> Mapping[str, float]:
        return {"score": seed - 1000 + (arm == "new"), **({"extra": 2.0} if arm == "new" else {})}

    result = claims.run("toy", _claim(measure, seeds=3), watch=lambda _: None)
    table = render([result])
    assert "| new | 2 | 2 |" in table
    assert "| old | 1 | – |" in table


def test_the_verb_writes_json_and_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(claims, "names", lambda: ["toy"])
    monkeypatch.setattr(claims, "get", lambda name: toy(1.0, 0.1))
    assert main(["claim", "--all", "--seeds", "2", "--output", str(tmp_path)]) == 0
    assert Result(**json.loads((tmp_path / "claims" / "toy.json").read_text())).verdict in (
        HOLDS,
        OPEN,
    )
    assert "| toy |" in (tmp_path / "claims.md").read_text()
    before = (tmp_path / "claims" / "toy.json").read_bytes()
    assert main(["claim", "--all", "--keep", "--output", str(tmp_path)]) == 0
    assert (tmp_path / "claims" / "toy.json").read_bytes() == before
    assert "New beats old." in capsys.readouterr().out


def test_tuning_takes_other_seeds_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(claims, "names", lambda: ["toy"])
    monkeypatch.setattr(claims, "get", lambda name: toy(1.0, 0.1))
    assert main(["claim", "toy", "--tuning", "--output", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "Seeds from 0 on: for tuning, nothing is written." in told
    assert "seed 3 (4 of 4)" in told
    assert list(tmp_path.iterdir()) == []
    assert main(["claim", "toy", "--output", str(tmp_path)]) == 0
    assert "Seeds from 1000 on." in capsys.readouterr().out
    assert (
        Result(**json.loads((tmp_path / "claims" / "toy.json").read_text())).tuning
        == "Nothing was tried before."
    )


def test_mistakes_get_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claim", "no-such-claim"]) == 2
    assert "Unknown claim 'no-such-claim'" in capsys.readouterr().err
    assert main(["claim", "--all", "--seeds", "1"]) == 2
    assert "expected at least 2" in capsys.readouterr().err


def test_a_claim_on_files_says_what_it_misses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["claim", "laf-on-cifar10", "--output", str(tmp_path / "out")]) == 2
    assert "reads cifar10, which is not in this folder" in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


NO_METHOD = {"infinite-lr"}
"""Claims about a schedule, which bear its name."""
SLOW = {
    "genecis",
    "infinite-lr",
    "laf-on-cifar10",
    "protein-rpn",
    "srgan",
    "storm",
    "storm-on-medical-images",
}
"""Claims of which a seed takes more than a minute."""


@pytest.mark.parametrize("name", claims.names())
def test_every_claim_is_complete(name: str) -> None:
    found = claims.get(name)
    named = {*registry.names(), *NO_METHOD}
    assert re.split("-against-|-on-", name)[0] in named, (
        "a claim bears the name of its method, a second one also what it is against, or its data"
    )
    assert found.seeds >= (3 if name in SLOW else LEAST_SEEDS)
    assert found.first != found.second
    assert found.first_seed >= FIRST_SEED
    for text in (found.statement, found.setting, found.tuning):
        assert text.endswith("."), text


def test_the_harness_trains_through_the_real_loop_and_repeats() -> None:
    training = Training(steps=3, batch_size=16)
    first, second, other = (
        pretrained("simclr", digits(), training, seed=seed) for seed in (0, 0, 1)
    )
    scores = [probes(method, digits()) for method in (first, second, other)]
    assert scores[0] == scores[1]
    assert scores[0] != scores[2]
    assert set(scores[0]) >= {"knn", "linear", "augmented_knn", "effective_rank"}
