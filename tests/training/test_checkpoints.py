"""Checkpoints: exact round trip, what is kept, and what happens when the disk or the file is
bad.
"""

from __future__ import annotations

import errno
import os
import random
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nearfar.errors import UserError
from nearfar.training.care.checkpoints import (
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
    set_aside,
)


def state(step: int = 3, size: int = 50_000) -> dict[str, Any]:
    """Every kind of value that a run saves."""
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    network(torch.randn(5, 4)).square().sum().backward()
    optimizer.step()
    name, words, *rest = np.random.get_state(legacy=True)
    return {
        "step": step,
        "method": {
            **network.state_dict(),
            "large": torch.randn(size),
            "half": torch.randn(2).bfloat16(),
        },
        "optimizer": optimizer.state_dict(),
        "random": {
            "torch": torch.get_rng_state(),
            "python": random.getstate(),
            "numpy": [name, words.tolist(), *rest],
        },
        "other": [None, True, 1.5, "text", (), {}],
    }


def test_everything_comes_back_as_it_was(tmp_path: Path) -> None:
    saved = state()
    path = save_checkpoint(tmp_path / "new" / "checkpoints", saved)
    loaded = load_checkpoint(path)
    for name in ("step", "method", "optimizer"):
        torch.testing.assert_close(loaded[name], saved[name], rtol=0, atol=0)
    assert torch.equal(loaded["random"].pop("torch"), saved["random"].pop("torch"))
    assert loaded["random"] == saved["random"]
    assert loaded["other"] == saved["other"]
    assert list(loaded["optimizer"]["state"]) == [0, 1, 2, 3]


def test_the_newest_two_are_kept_and_the_highest_step_is_the_latest(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path / "missing") is None
    for step in (9, 10, 101, 1000):
        path = save_checkpoint(tmp_path, state(step))
        assert latest_checkpoint(tmp_path) == path
    names = ["step-000000101.pt", "step-000001000.pt"]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        [*names, *(f"{name}.sha256" for name in names)]
    )
    save_checkpoint(tmp_path, state(2000), keep=1)
    assert [file.name for file in tmp_path.glob("*.pt")] == ["step-000002000.pt"]


def test_the_same_step_can_be_saved_again(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"step": 1, "x": 1})
    path = save_checkpoint(tmp_path, {"step": 1, "x": 2})
    assert load_checkpoint(path)["x"] == 2
    assert len(list(tmp_path.iterdir())) == 2, "the checkpoint and its checksum"


def expect_failure(tmp_path: Path, reason: str, older: str) -> None:
    with pytest.raises(UserError) as caught:
        save_checkpoint(tmp_path, state(2))
    message = str(caught.value)
    assert message.startswith(
        f"The checkpoint {tmp_path}/step-000000002.pt could not be written ({reason}): it needs "
        "0.2 MB"
    )
    assert message.endswith(f"MB are free; make room and continue with --resume ({older}).")


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    """The temporary file is a link to the device that is always full."""
    path = save_checkpoint(tmp_path, state(1))
    before = path.read_bytes()
    (tmp_path / f".step-000000002.pt.{os.getpid()}.part").symlink_to("/dev/full")
    expect_failure(tmp_path, os.strerror(errno.ENOSPC), "step-000000001.pt is intact")
    assert path.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [path, path.with_name(f"{path.name}.sha256")]


def test_a_full_disk_at_the_first_checkpoint(tmp_path: Path) -> None:
    (tmp_path / f".step-000000002.pt.{os.getpid()}.part").symlink_to("/dev/full")
    expect_failure(tmp_path, os.strerror(errno.ENOSPC), "no earlier checkpoint exists")


def test_a_limit_on_the_size_of_files_is_answered_like_a_full_disk(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, state(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        expect_failure(tmp_path, os.strerror(errno.EFBIG), "step-000000001.pt is intact")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(tmp_path.iterdir()) == [path, path.with_name(f"{path.name}.sha256")]


def test_a_failing_disk_at_the_very_end_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_checkpoint(tmp_path, state(1))

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    expect_failure(tmp_path, "Input/output error", "step-000000001.pt is intact")
    assert sorted(tmp_path.iterdir()) == [path, path.with_name(f"{path.name}.sha256")]


def test_what_cannot_be_saved_is_a_defect_and_no_user_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shape") as caught:
        save_checkpoint(tmp_path, {"step": 1, "x": Unsaveable()})
    assert not isinstance(caught.value, UserError)
    assert not list(tmp_path.iterdir())


class Unsaveable:
    def __reduce__(self) -> Any:
        raise RuntimeError("a shape that nobody knows")


def test_a_half_written_file_is_never_picked_up(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, state(1))
    (tmp_path / ".step-000000002.pt.77.part").write_bytes(path.read_bytes()[:1000])
    assert latest_checkpoint(tmp_path) == path


@pytest.mark.parametrize("damage", ["flipped", "short", "empty", "text"])
def test_a_damaged_file_is_named_with_the_one_before_it(tmp_path: Path, damage: str) -> None:
    save_checkpoint(tmp_path, state(1))
    path = save_checkpoint(tmp_path, state(2))
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(
        {
            "flipped": bytes(whole),
            "short": bytes(whole[:5000]),
            "empty": b"",
            "text": b"not a checkpoint",
        }[damage]
    )
    with pytest.raises(UserError) as caught:
        load_checkpoint(path)
    assert str(caught.value) == (
        f"The checkpoint {path} is damaged or no checkpoint at all; remove it to continue from "
        "step-000000001.pt."
    )


def test_a_damaged_only_file_means_to_start_again(tmp_path: Path) -> None:
    path = tmp_path / "step-000000001.pt"
    path.write_bytes(b"")
    with pytest.raises(
        UserError, match="is damaged or no checkpoint at all; remove it and start the run again"
    ):
        load_checkpoint(path)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state(1))
    path = tmp_path / "step-000000002.pt"
    torch.save({"step": 2, "x": Path("/")}, path)
    with pytest.raises(UserError, match="is damaged or no checkpoint at all"):
        load_checkpoint(path)


def test_a_checkpoint_that_is_set_aside_leaves_no_checksum(tmp_path: Path) -> None:
    path = tmp_path / "step-000000001.pt"
    path.write_bytes(b"x")
    (tmp_path / f"{path.name}.sha256").write_text("0" * 64)
    set_aside(path)
    assert [one.name for one in tmp_path.iterdir()] == [f"{path.name}.unusable"]
