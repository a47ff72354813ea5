"""What a comparison's folder holds before its first run, and when it refuses another comparison."""

from __future__ import annotations

from pathlib import Path

import pytest

from nearfar.comparison import running
from nearfar.comparison.arms import Arm
from nearfar.comparison.options import CompareOptions
from nearfar.errors import UserError

CONDITIONS = {"encoder": "perceptron", "batch_size": 50, "epochs": 1, "budget": "1 epoch"}


def test_a_plan_without_runs_blocks_no_other_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_conditions", lambda arms, options: CONDITIONS)
    monkeypatch.setattr(running, "_steps", lambda arm, options, plan: 4)
    arms = [Arm("simclr"), Arm("vicreg")]
    running.planned(arms, CompareOptions(limit=200), tmp_path)
    again = running.planned(arms[1:], CompareOptions(limit=300), tmp_path)
    assert again["steps"] == {"vicreg": 4}
    assert again["asked"]["options"]["limit"] == 300
    (tmp_path / "vicreg" / "seed-0").mkdir(parents=True)
    assert running.planned(arms[1:], CompareOptions(limit=300), tmp_path) == again
    with pytest.raises(UserError, match="another comparison"):
        running.planned(arms[1:], CompareOptions(limit=200), tmp_path)
