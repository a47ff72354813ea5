"""Runs in the order of tasks: which samples come when, and branches that leave the run as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

import nearfar
from nearfar.data.batches.once import OnceSampler, RowsSampler
from nearfar.errors import UserError
from nearfar.evaluation.measures.continual import forgetting
from nearfar.runs.method_files import open_method
from nearfar.training.care import checkpoints
from nearfar.training.schedules import anneal, infinite


def test_the_run_goes_through_the_members_once_in_their_order() -> None:
    column = torch.tensor([0] * 20 + [1] * 10 + [2] * 10)[torch.randperm(40)]
    sampler = OnceSampler(column, 5, steps=16, seed=3)
    assert sampler.ends == [8, 12, 16]
    seen = []
    for step in range(16):
        rows = sampler.batch(*divmod(step, len(sampler)))
        (member,) = column[rows].unique().tolist()
        seen.append(member)
    assert seen == [0] * 8 + [1] * 4 + [2] * 4


def test_each_member_passes_whole_before_a_sample_comes_again() -> None:
    column = torch.tensor([0] * 20 + [1] * 20)
    sampler = OnceSampler(column, 5, steps=16, seed=3)
    first = torch.cat([sampler.batch(0, position) for position in range(4)])
    assert sorted(first.tolist()) == list(range(20))


@pytest.mark.parametrize(
    ("batch_size", "steps", "said"), [(11, 8, "at most 10"), (5, 1, "more --steps")]
)
def test_orders_that_cannot_be_are_refused(batch_size: int, steps: int, said: str) -> None:
    column = torch.tensor([0] * 20 + [1] * 10)
    with pytest.raises(UserError, match=said):
        OnceSampler(column, batch_size, steps=steps, seed=0)


def test_batches_of_some_rows_hold_no_others() -> None:
    rows = torch.tensor([3, 5, 7, 11])
    sampler = RowsSampler(rows, 2, seed=0)
    found = torch.cat([sampler.batch(0, position) for position in range(len(sampler))])
    assert sorted(found.tolist()) == rows.tolist()


def test_a_fall_is_that_of_the_infinite_schedule() -> None:
    for step in range(11):
        expected = infinite.annealing(step, 0, 10, constant=0.3, final=0.01)
        assert anneal.factor(step, 10, start=0.3, final=0.01) == pytest.approx(expected)


def test_a_rate_that_is_held_does_not_fall_at_the_end() -> None:
    held = [infinite.factor(step, 40, 4, falls=False) for step in range(41)]
    assert held[-1] == held[20] == 0.25
    assert infinite.factor(40, 40, 4) == pytest.approx(0.01)


def run(folder: Path, **options: Any) -> nearfar.Run:
    chosen = {
        "data": "digits",
        "limit": 300,
        "encoder": "perceptron",
        "prepare": ("stream:tasks=3",),
        "order": "task",
        "schedule": "infinite:falls=false",
        "steps": 12,
        "batch_size": 32,
        "precision": "float32",
        "evaluate": False,
        "quiet": True,
        **options,
    }
    return nearfar.pretrain("simclr", output=folder, **chosen)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(open_method(folder).state_dict())


def first_weight(folder: Path) -> torch.Tensor:
    found = weights(folder)
    return next(value for name, value in found.items() if name.startswith("encoder."))


@pytest.fixture(scope="module")
def branched(tmp_path_factory: pytest.TempPathFactory) -> nearfar.Run:
    return run(tmp_path_factory.mktemp("branched") / "run", branch=3)


def test_a_branch_changes_nothing_of_the_run(branched: nearfar.Run, tmp_path: Path) -> None:
    plain = run(tmp_path / "plain")
    assert_close(weights(plain.folder), weights(branched.folder), rtol=0, atol=0)
    losses = [[row.get("loss") for row in one.metrics()] for one in (plain, branched)]
    assert losses[0] == losses[1]


def test_each_task_delivers_a_run_of_its_own(branched: nearfar.Run) -> None:
    places = [branched.folder / "tasks" / str(number) for number in range(3)]
    each = [first_weight(place) for place in places]
    assert not torch.equal(each[0], each[1])
    last = first_weight(branched.folder)
    assert not torch.equal(each[2], last)
    config = nearfar.Run(places[1]).config
    assert config.options.order == "task"


def test_a_run_that_was_stopped_delivers_the_same(
    branched: nearfar.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at the end of the first task, before its branch."""
    from nearfar.training import running

    real = running.branched

    def stops(*args: Any, **kwargs: Any) -> bool:
        return False

    monkeypatch.setattr(running, "branched", stops)
    stopped = run(tmp_path / "run", branch=3)
    assert stopped.interrupted
    assert not (stopped.folder / "tasks").exists()
    assert checkpoints.newest_first(stopped.folder / "checkpoints")
    monkeypatch.setattr(running, "branched", real)
    again = nearfar.pretrain(resume=stopped.folder, quiet=True)
    assert_close(weights(again.folder), weights(branched.folder), rtol=0, atol=0)
    for number in range(3):
        assert_close(
            weights(again.folder / "tasks" / str(number)),
            weights(branched.folder / "tasks" / str(number)),
            rtol=0,
            atol=0,
        )


def test_what_was_delivered_is_judged(branched: nearfar.Run) -> None:
    found = nearfar.evaluate(branched.folder, protocols="continual")
    (score,) = [s for s in found.scores if s.metric == "average over tasks, delivered"]
    matrix = torch.tensor([[float(v) for v in line.split()] for line in score.setting.split("; ")])
    assert matrix.shape == (3, 3)
    assert found.value("forgetting", "trained") == pytest.approx(
        float(forgetting(matrix)), abs=2e-3
    )
    json.loads(found.to_json())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"order": "nothing"}, "group column 'nothing'"),
        ({"order": None, "branch": 2}, "give --order"),
        ({"branch": 2, "shard": True}, "branch and shard"),
        ({"steps": 2}, "more --steps"),
    ],
)
def test_bad_input_leaves_no_folder(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        run(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_method_with_batches_of_its_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="batches of its own kind"):
        nearfar.pretrain(
            "storm",
            data="digits",
            prepare=("stream:tasks=3",),
            order="task",
            output=tmp_path / "run",
            quiet=True,
        )
    assert not (tmp_path / "run").exists()
