"""A run keeps its samples: data that grow, shrink, move or change keep the split that the run was
trained with."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.io import wavfile

import nearfar
from nearfar.errors import UserError
from nearfar.runs.folder import Run
from tests.data.conftest import encoded, picture

COUNT = 20
Grow = Callable[[Path, int], None]
"""Writes a data set of so many samples; those of a smaller number are among those of a larger one,
not at their start."""


def _numbers(count: int) -> list[int]:
    """Sample COUNT and beyond come first, so that row numbers shift when the data grow."""
    return [*range(COUNT, count), *range(min(count, COUNT))]


def _folder(path: Path, count: int) -> None:
    for i in range(count):
        target = path / "ab"[i % 2] / f"{'0' if i >= COUNT else ''}{i:02d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        picture(i).save(target)


def _csv(path: Path, count: int) -> None:
    _folder(path.with_suffix(""), count)
    rows = [
        f"{path.stem}/{'ab'[i % 2]}/{'0' if i >= COUNT else ''}{i:02d}.png,{'ab'[i % 2]}"
        for i in _numbers(count)
    ]
    path.write_text("path,label\n" + "\n".join(rows) + "\n")


def _texts(path: Path, count: int) -> None:
    path.write_text(
        "text,label\n" + "".join(f"some words about {i * i},{i % 2}\n" for i in _numbers(count))
    )


def _parquet(path: Path, count: int) -> None:
    numbers = _numbers(count)
    pq.write_table(
        pa.table(
            {"image": [encoded(picture(i)) for i in numbers], "label": [i % 2 for i in numbers]}
        ),
        path,
    )


def _clips(path: Path, count: int) -> None:
    numbers = _numbers(count)
    frames = [[encoded(picture(4 * i + j)) for j in range(4)] for i in numbers]
    pq.write_table(
        pa.table(
            {"frames": pa.array(frames, pa.list_(pa.binary())), "label": [i % 2 for i in numbers]}
        ),
        path,
    )


def _series(path: Path, count: int) -> None:
    numbers = _numbers(count)
    x = np.stack([np.random.default_rng(i).normal(size=(2, 32)) for i in numbers]).astype(
        np.float32
    )
    np.savez(path, x=x, y=np.array(numbers) % 2)


def _points(path: Path, count: int) -> None:
    numbers = _numbers(count)
    x = np.stack([np.random.default_rng(i).normal(size=(16, 3)) for i in numbers]).astype(
        np.float32
    )
    np.savez(path, points=x, y=np.array(numbers) % 2)


def _sound(path: Path, count: int) -> None:
    for i in range(count):
        target = path / "ab"[i % 2] / f"{'0' if i >= COUNT else ''}{i:02d}.wav"
        target.parent.mkdir(parents=True, exist_ok=True)
        wavfile.write(
            target, 4000, (np.random.default_rng(i).normal(size=1000) * 9000).astype(np.int16)
        )


READERS: dict[str, tuple[str, Grow]] = {
    "folder": ("photos", _folder),
    "csv of files": ("list.csv", _csv),
    "csv of texts": ("texts.csv", _texts),
    "parquet": ("images.parquet", _parquet),
    "clips": ("clips.parquet", _clips),
    "series": ("series.npz", _series),
    "points": ("points.npz", _points),
    "sound": ("sounds", _sound),
}


def _trained(data: Path, output: Path, **options: Any) -> Run:
    chosen = {
        "steps": 1,
        "batch_size": 8,
        "precision": "float32",
        "evaluate": False,
        "quiet": True,
        **options,
    }
    return nearfar.pretrain("simclr", data=str(data), output=output, **chosen)


def _marks(run: Run) -> tuple[set[int], set[int]]:
    source = run.source()
    assert source.test is not None
    assert source.train.marks is not None
    assert source.test.marks is not None
    return set(source.train.marks.tolist()), set(source.test.marks.tolist())


@pytest.mark.parametrize("reader", READERS)
def test_the_split_stays_when_data_grow(reader: str, tmp_path: Path) -> None:
    name, write = READERS[reader]
    write(tmp_path / name, COUNT)
    run = _trained(tmp_path / name, tmp_path / "run")
    before = _marks(run)
    write(tmp_path / name, COUNT + 3)
    source = run.source()
    assert _marks(run) == before
    assert any(
        "The data changed since the run was made: of its samples 3 new and left out" in note
        for note in source.notes
    )


@pytest.mark.parametrize(
    "verb", ["evaluate", "embed", "search", "dedupe", "label", "report", "resume"]
)
def test_every_verb_takes_the_kept_split(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _folder(tmp_path / "photos", COUNT)
    run = _trained(tmp_path / "photos", tmp_path / "run")
    train = run.source().train.ids
    test = run.source().test
    assert test is not None
    _folder(tmp_path / "photos", COUNT + 3)
    if verb == "evaluate":
        run.evaluate(protocols="knn", seeds=1)
    elif verb == "embed":
        written = pq.read_table(
            nearfar.embed(run.folder, output=tmp_path / "e.parquet")
        ).to_pydict()
        parts = dict(zip(written["id"], written["split"], strict=True))
        assert parts == {**dict.fromkeys(train, "train"), **dict.fromkeys(test.ids, "test")}
    elif verb == "search":
        assert len(nearfar.search(run.folder, "#0", k=100).rows) == COUNT - 1
    elif verb == "dedupe":
        assert f"among {COUNT} samples" in nearfar.dedupe(run.folder).title
    elif verb == "label":
        nearfar.label(run.folder, k=2)
    elif verb == "report":
        run.report()
    else:
        nearfar.pretrain(resume=run.folder)
    if verb != "report":
        assert "3 new and left out" in " ".join("".join(capsys.readouterr()).split())


def test_what_is_gone_or_changed_is_told(tmp_path: Path) -> None:
    _folder(tmp_path / "photos", COUNT)
    run = _trained(tmp_path / "photos", tmp_path / "run")
    first, second, third = run.source().train.ids[:3]
    (tmp_path / "photos" / first).unlink()
    picture(99).save(tmp_path / "photos" / second)
    (tmp_path / "photos" / third).rename(tmp_path / "photos" / "a" / "renamed.png")
    source = run.source()
    (note,) = (note for note in source.notes if "changed since" in note)
    assert "1 gone, 1 with other content, 1 under other names" in note
    assert second in source.train.ids
    assert "a/renamed.png" in source.train.ids


def test_a_training_sample_under_a_test_samples_name_is_no_test_sample(tmp_path: Path) -> None:
    _folder(tmp_path / "photos", COUNT)
    run = _trained(tmp_path / "photos", tmp_path / "run")
    source = run.source()
    assert source.test is not None
    shutil.copyfile(
        tmp_path / "photos" / source.train.ids[0], tmp_path / "photos" / source.test.ids[0]
    )
    after = run.source()
    assert after.test is not None
    assert source.test.ids[0] not in after.test.ids


def test_a_resumed_run_refuses_other_training_samples(tmp_path: Path) -> None:
    _folder(tmp_path / "photos", COUNT)
    run = _trained(tmp_path / "photos", tmp_path / "run")
    picture(99).save(tmp_path / "photos" / run.source().train.ids[0])
    with pytest.raises(UserError, match=r"changed since it was started .*1 with other content"):
        nearfar.pretrain(resume=run.folder, quiet=True)


def test_equal_size_and_time_hide_no_change(tmp_path: Path) -> None:
    _folder(tmp_path / "photos", COUNT)
    path = tmp_path / "photos" / "a" / "00.png"
    pixels = np.zeros((12, 12, 3), dtype=np.uint8)
    path.with_suffix(".bmp").unlink(missing_ok=True)
    path.unlink()
    path = path.with_suffix(".bmp")
    Image.fromarray(pixels).save(path)
    state = path.stat()
    run = _trained(tmp_path / "photos", tmp_path / "run")
    Image.fromarray(pixels + 200).save(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size
    assert any("1 with other content" in note for note in run.source().notes)


def test_other_data_behind_the_path_are_refused(tmp_path: Path) -> None:
    _folder(tmp_path / "photos", COUNT)
    run = _trained(tmp_path / "photos", tmp_path / "run")
    shutil.rmtree(tmp_path / "photos")
    for i in range(10):
        (tmp_path / "photos").mkdir(exist_ok=True)
        picture(1000 + i).save(tmp_path / "photos" / f"other{i}.png")
    with pytest.raises(
        UserError,
        match="None of the training samples of this run are among the 10 samples of photos",
    ):
        run.source()


def test_data_that_moved_are_found_where_the_configuration_says(tmp_path: Path) -> None:
    _folder(tmp_path / "photos", COUNT)
    run = _trained(tmp_path / "photos", tmp_path / "run")
    train = run.source().train.ids
    (tmp_path / "photos").rename(tmp_path / "moved")
    with pytest.raises(UserError, match="does not exist"):
        run.source()
    config = run.folder / "config.toml"
    config.write_text(config.read_text().replace(str(tmp_path / "photos"), str(tmp_path / "moved")))
    assert run.source().train.ids == train
    nearfar.pretrain(resume=run.folder, quiet=True)


def test_a_stored_evaluation_says_that_the_data_changed(tmp_path: Path) -> None:
    _folder(tmp_path / "photos", COUNT)
    run = _trained(tmp_path / "photos", tmp_path / "run")
    _folder(tmp_path / "photos", COUNT + 3)
    run.evaluate(protocols="knn", seeds=1)
    stored = run.evaluation()
    assert stored is not None
    assert any("3 new and left out" in note for note in stored.notes)


def test_relative_data_are_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _folder(tmp_path / "photos", COUNT)
    monkeypatch.chdir(tmp_path)
    run = _trained(Path("photos"), tmp_path / "run")
    monkeypatch.chdir("/")
    assert len(run.source().train) == 16


@pytest.mark.parametrize(
    ("name", "value"), [("seed", 7), ("batch_size", 4), ("steps", 9), ("learning_rate", 0.5)]
)
def test_an_edited_configuration_is_refused(name: str, value: float, tmp_path: Path) -> None:
    _folder(tmp_path / "photos", COUNT)
    run = _trained(tmp_path / "photos", tmp_path / "run")
    lines = (run.folder / "config.toml").read_text().splitlines()
    edited = [f"{name} = {value}" if line.startswith(f"{name} =") else line for line in lines]
    assert edited != lines
    (run.folder / "config.toml").write_text("\n".join(edited))
    with pytest.raises(UserError, match=f"{name} is {value}"):
        nearfar.pretrain(resume=run.folder, quiet=True)


@pytest.mark.parametrize("damage", ["cut", "no json", "other marks", "a list", "newer"])
def test_damaged_memory_is_one_sentence(damage: str, tmp_path: Path) -> None:
    _folder(tmp_path / "photos", COUNT)
    run = _trained(tmp_path / "photos", tmp_path / "run")
    facts = run.folder / "data.json"
    samples = run.folder / "samples.parquet"
    if damage == "cut":
        samples.write_bytes(samples.read_bytes()[:-9])
    elif damage == "no json":
        facts.write_text("{")
    elif damage == "other marks":
        pq.write_table(pq.read_table(samples).slice(1), samples)
    elif damage == "a list":
        facts.write_text("[]")
    else:
        facts.write_text(json.dumps({**json.loads(facts.read_text()), "version": 99}))
    with pytest.raises(UserError, match=r"damaged|newer version"):
        run.source()


def test_limited_and_unreadable_samples_stay_left_out(tmp_path: Path) -> None:
    _folder(tmp_path / "photos", COUNT)
    (tmp_path / "photos" / "a" / "broken.png").write_bytes(b"no image")
    run = _trained(tmp_path / "photos", tmp_path / "run", limit=8)
    source = run.source()
    assert len(source.train) == 8
    assert not any("changed since" in note for note in source.notes)
    _folder(tmp_path / "photos", COUNT + 3)
    assert run.source().train.ids == source.train.ids


@pytest.mark.parametrize("ending", ["parquet", "npz"])
def test_embeddings_of_another_encoder_or_with_flipped_bits_are_refused(
    ending: str, tmp_path: Path
) -> None:
    _folder(tmp_path / "photos", COUNT)
    run = _trained(tmp_path / "photos", tmp_path / "run")
    other = _trained(tmp_path / "photos", tmp_path / "other", seed=5)
    index = nearfar.embed(run.folder, output=tmp_path / f"index.{ending}")
    assert nearfar.search(run.folder, "#0", index=index).rows
    for verb in (nearfar.dedupe, nearfar.label):
        with pytest.raises(UserError, match="made by another encoder"):
            verb(other.folder, index=index)
    if ending == "parquet":
        table = pq.read_table(index)
        values = np.array(table["embedding"].combine_chunks().flatten())
        values[3] += 1
        flipped = pa.FixedSizeListArray.from_arrays(pa.array(values), len(values) // len(table))
        pq.write_table(
            table.set_column(table.column_names.index("embedding"), "embedding", flipped), index
        )
    else:
        with np.load(index) as arrays:
            found = {name: arrays[name].copy() for name in arrays.files}
        found["embedding"][0, 3] += 1
        np.savez(index, **found)
    with pytest.raises(UserError, match="are damaged"):
        nearfar.search(run.folder, "#0", index=index)
    index.write_bytes(index.read_bytes()[:-100])
    with pytest.raises(UserError, match="holds no embeddings"):
        nearfar.search(run.folder, "#0", index=index)


def test_an_encoder_with_flipped_bits_is_refused(tmp_path: Path) -> None:
    _folder(tmp_path / "photos", COUNT)
    run = _trained(tmp_path / "photos", tmp_path / "run")
    content = bytearray((run.folder / "encoder.safetensors").read_bytes())
    content[-5] ^= 64
    (run.folder / "encoder.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        run.encoder()


@pytest.mark.parametrize("damage", ["content", "facts", "cut", "empty"])
def test_a_damaged_cache_is_made_anew(damage: str, tmp_path: Path, cache: Path) -> None:
    _folder(tmp_path / "photos", COUNT)
    run = _trained(tmp_path / "photos", tmp_path / "run")
    before = _marks(run)
    for entry in (cache / "decoded").iterdir():
        content = entry / "content.npy"
        about = entry / "about.json"
        if damage == "content":
            changed = bytearray(content.read_bytes())
            changed[-7] ^= 64
            content.write_bytes(changed)
        elif damage == "facts":
            about.write_text("null")
        elif damage == "cut":
            content.write_bytes(content.read_bytes()[:-50])
        else:
            content.unlink()
    assert _marks(run) == before


def test_a_comparison_refuses_data_that_changed(tmp_path: Path) -> None:
    _folder(tmp_path / "photos", COUNT)
    options: dict[str, Any] = {
        "data": str(tmp_path / "photos"),
        "steps": 1,
        "batch_size": 8,
        "quiet": True,
    }
    nearfar.compare("simclr", seeds=1, output=tmp_path / "compared", **options)
    assert nearfar.compare("simclr", seeds=1, output=tmp_path / "compared", **options)
    _folder(tmp_path / "photos", COUNT + 3)
    with pytest.raises(UserError, match=r"changed since its runs were made \(of its samples 3 new"):
        nearfar.compare("simclr", seeds=2, output=tmp_path / "compared", **options)


def test_three_lines_stand_at_the_start_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _folder(tmp_path / "photos", COUNT)
    (tmp_path / "photos" / "a" / "scan.heic").write_bytes(b"x")
    run = _trained(tmp_path / "photos", tmp_path / "run", quiet=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "data photos: 20 image samples of 3 x 12 x 12, 16 for training and 4 for testing",
        "data labels: 2 classes (a 10, b 10); groups: none",
        "data left out: 1 .heic files",
    ]
    run.evaluate(protocols="knn", seeds=1)
    assert "data left out: 1 .heic files" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["swapped", "renamed", "values"])
def test_other_labels_are_told_and_refused_where_a_method_learns_from_them(
    change: str, tmp_path: Path
) -> None:
    x = np.random.default_rng(0).normal(size=(COUNT, 2, 16)).astype(np.float32)
    start = np.arange(COUNT) % 2 if change != "values" else np.linspace(0, 1, COUNT) ** 2
    other = {"swapped": 1 - start, "renamed": np.array(["a", "b"])[start.astype(int)]}
    np.savez(tmp_path / "data.npz", x=x, y=start)
    free = _trained(tmp_path / "data.npz", tmp_path / "free")
    bound = tmp_path / "bound"
    learner = "conr" if change == "values" else "supcon"
    nearfar.pretrain(
        learner,
        data=str(tmp_path / "data.npz"),
        output=bound,
        steps=1,
        batch_size=8,
        evaluate=False,
        quiet=True,
    )
    nearfar.pretrain(resume=bound, quiet=True)
    np.savez(tmp_path / "data.npz", x=x, y=other.get(change, start + 1))
    said = f"The labels of {COUNT} samples of data are other than when the run was made."
    assert said in free.source().notes
    nearfar.pretrain(resume=free.folder, quiet=True)
    with pytest.raises(UserError, match=f"and {COUNT} of those of data are other than when"):
        nearfar.pretrain(resume=bound, quiet=True)


def test_labels_of_another_column_are_not_called_changed(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(COUNT, 2, 16)).astype(np.float32)
    labels = np.arange(COUNT) % 2
    np.savez(tmp_path / "data.npz", x=x, y=labels, other=1 - labels)
    run = _trained(tmp_path / "data.npz", tmp_path / "run")
    found = run.evaluate(protocols=("knn",), label="other")
    assert not any("are other than" in note for note in found.notes)


def test_a_comparison_refuses_other_labels(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(COUNT, 2, 16)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(COUNT) % 2)
    folder = tmp_path / "comparison"
    _trained(tmp_path / "data.npz", folder / "simclr" / "seed-0")
    np.savez(tmp_path / "data.npz", x=x, y=(np.arange(COUNT) + 1) % 2)
    with pytest.raises(UserError, match=f"The labels of {COUNT} samples changed"):
        nearfar.compare(
            "simclr", data=str(tmp_path / "data.npz"), output=folder, seeds=1, steps=1, quiet=True
        )


def test_a_resumed_run_refuses_its_samples_in_another_order(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(COUNT, 2, 16)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x)
    run = _trained(tmp_path / "data.npz", tmp_path / "run")
    np.savez(tmp_path / "data.npz", x=x[::-1])
    with pytest.raises(UserError, match="under other names or in other rows"):
        nearfar.pretrain(resume=run.folder, quiet=True)
