"""Test samples that were trained on are counted and told, whatever made them so."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import nearfar
from nearfar.data.content.arrays import in_memory
from nearfar.evaluation.trust.leakage import trained_on
from nearfar.rows import Parts, Tokens
from nearfar.verbs.run import Run


def _images(*numbers: int) -> torch.Tensor:
    return torch.stack([torch.full((1, 8, 8), number, dtype=torch.uint8) for number in numbers])


def _texts(*numbers: int) -> Tokens:
    ids = torch.tensor([[2, number, 3] for number in numbers])
    return Tokens(ids, ids != 0)


def _pair(*words: int) -> Parts:
    return Parts(image=_images(1, 2), text=_texts(*words))


@pytest.mark.parametrize(
    ("train", "test", "count"),
    [
        (_images(1, 2, 3), _images(3, 4, 1, 1), 3),
        (_images(1, 2), _images(3), 0),
        (_images(1, 2), _images(1).float()[:, 0], 0),  # other kinds are never equal
        (_pair(7, 8), _pair(8, 8), 1),
        (_pair(7, 8), _images(2, 5), 1),
        (_pair(7, 8), _texts(7, 8, 9), 2),
        (_images(1), _texts(1), 0),
    ],
)
def test_equal_samples_are_counted(train: Any, test: Any, count: int) -> None:
    assert trained_on(in_memory(train), in_memory(test)) == count


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("leakage")
    random = np.random.default_rng(0)
    x = random.integers(0, 255, (100, 8, 8), dtype=np.uint8)
    np.savez(
        folder / "both.npz",
        x=x,
        label=np.arange(100) % 2,
        other=np.arange(100) // 25,
        patient_number=np.arange(100) // 5,
    )
    return nearfar.pretrain(
        "simclr",
        data=str(folder / "both.npz"),
        steps=2,
        output=folder / "run",
        evaluate=False,
        quiet=True,
    )


def _leaks(notes: tuple[str, ...]) -> list[str]:
    return [note for note in notes if "was trained on" in note]


@pytest.mark.parametrize("columns", [{"label": "other"}, {"group": "patient_number"}])
def test_another_split_is_told_and_stored(run: Run, columns: dict[str, str]) -> None:
    source = run.source()
    changed = nearfar.data.load(run.config.options.data, **columns)
    assert source.test is not None
    assert changed.test is not None
    mixed = len(set(changed.test.ids) & set(source.train.ids))
    assert mixed > 0
    found = run.evaluate(protocols="knn", seeds=1, **columns)
    (note,) = _leaks(found.notes)
    assert f"trained on {mixed} of the {len(changed.test)} test samples" in note
    stored = run.evaluation()
    assert stored is not None
    assert note in stored.notes


def test_the_runs_own_split_and_strange_data_leak_nothing(run: Run, tmp_path: Path) -> None:
    np.savez(
        tmp_path / "new.npz",
        x=np.random.default_rng(1).integers(0, 255, (40, 8, 8), dtype=np.uint8),
        label=np.arange(40) % 2,
    )
    assert not _leaks(run.evaluate(protocols="knn", seeds=1).notes)
    assert not _leaks(run.evaluate(protocols="knn", seeds=1, label="label").notes)
    assert not _leaks(run.evaluate(data=str(tmp_path / "new.npz"), protocols="knn", seeds=1).notes)


def test_a_copy_under_another_name_is_told(run: Run, tmp_path: Path) -> None:
    train = run.source().train
    np.savez(
        tmp_path / "copy.npz",
        x=train.take(torch.arange(len(train))).numpy()[:, 0],
        label=np.arange(len(train)) % 2,
    )
    (note,) = _leaks(run.evaluate(data=str(tmp_path / "copy.npz"), protocols="knn", seeds=1).notes)
    assert note.startswith("The encoder was trained on 16 of the 16 test samples")


def test_data_that_are_gone_are_told(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "new.npz", x=np.zeros((40, 8, 8), dtype=np.uint8), label=np.arange(40) % 2)
    moved = Path(run.config.options.data)
    moved.rename(moved.with_name("moved.npz"))
    try:
        (note,) = (
            n
            for n in run.evaluate(data=str(tmp_path / "new.npz"), protocols="knn", seeds=1).notes
            if n.startswith("Whether")
        )
    finally:
        moved.with_name("moved.npz").rename(moved)
    assert "cannot be loaded" in note


def test_the_note_does_not_touch_the_scores(run: Run) -> None:
    first = run.evaluate(protocols="geometry", seeds=1)
    assert dataclasses.replace(first, notes=()) == dataclasses.replace(
        run.evaluate(protocols="geometry", seeds=1), notes=()
    )


def test_another_split_is_brought_to_the_encoders_shape(tmp_path: Path) -> None:
    for number in range(20):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8 + number, 8 + number), number, dtype=np.uint8)).save(path)
    data = str(tmp_path / "photos")
    run = nearfar.pretrain(
        "simclr",
        data=data,
        limit=6,
        steps=1,
        size=12,
        output=tmp_path / "run",
        evaluate=False,
        quiet=True,
    )
    config = (
        run.folder / "config.toml"
    )  # now the data alone would give another shape than the encoder has
    config.write_text(config.read_text().replace("size = 12", "size = 16"))
    assert run.evaluate(label="label", protocols="knn", seeds=1).rows()
