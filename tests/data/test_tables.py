"""Parquet, CSV and TSV: which column is what, splits, groups, limits, and what is said when
something is missing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from nearfar.data import load
from nearfar.errors import UserError
from nearfar.rows import Parts, Tokens
from tests.data.conftest import encoded, image_column, picture, write_parquet


def test_images_in_row_groups_keep_their_order(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "a.parquet", {"image": image_column(10), "label": list(range(10))}
    )
    source = load(path, split=False)
    assert source.spec.shape == (3, 12, 12)
    expected = np.stack([np.asarray(picture(i)).transpose(2, 0, 1) for i in range(10)])
    assert torch.equal(source.train.take(torch.arange(10)), torch.from_numpy(expected))
    assert source.train.label is not None
    assert source.train.label.tolist() == list(range(10))


def test_plain_bytes_are_images_too(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "a.parquet", {"photo": [encoded(picture(i), "JPEG") for i in range(4)]}
    )
    assert load(path).spec.shape == (3, 12, 12)


def test_a_folder_with_train_and_test_files(tmp_path: Path) -> None:
    names = {"classes": json.dumps(["up", "down", "left"])}
    for part, count in (("train", 6), ("test", 3)):
        write_parquet(
            tmp_path / f"{part}.parquet",
            {"image": image_column(count), "label": [0, 1, 0, 1, 0, 1][:count]},
            metadata=names,
        )
    source = load(tmp_path)
    assert source.test is not None
    assert (len(source.train), len(source.test)) == (6, 3)
    assert source.spec.classes == ("up", "down", "left")
    assert source.train.ids[0] == "train/0"
    assert torch.equal(
        source.test.take(torch.tensor([1]))[0],
        torch.from_numpy(np.asarray(picture(1)).transpose(2, 0, 1).copy()),
    )


def test_several_files_of_one_part_are_joined(tmp_path: Path) -> None:
    for i in range(2):
        write_parquet(
            tmp_path / f"train-0000{i}-of-00002.parquet",
            {"image": image_column(3), "label": [0, 1, 1]},
        )
    write_parquet(
        tmp_path / "test-00000-of-00001.parquet", {"image": image_column(2), "label": [0, 1]}
    )
    source = load(tmp_path)
    assert len(source.train) == 6
    assert source.test is not None
    assert len(source.test) == 2


def test_files_with_other_columns_are_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"image": image_column(3)})
    write_parquet(tmp_path / "b.parquet", {"picture": image_column(3)})
    with pytest.raises(UserError, match=r"b\.parquet has other columns than a\.parquet: picture"):
        load(tmp_path)


def test_a_split_column_is_kept(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "a.parquet",
        {"image": image_column(5), "split": ["test", "train", "train", "dev", "train"]},
    )
    source = load(path)
    assert source.train.ids == ["1", "2", "4"]
    assert source.test is not None
    assert source.test.ids == ["0"]
    assert any("'dev' are left out" in note for note in source.notes)


def pairs(path: Path, count: int = 10) -> Path:
    texts = [f"Picture Number {i}" for i in range(count)]
    columns = {
        "front": image_column(count),
        "back": image_column(count, mode="L"),
        "name": texts,
        "category": ["a", "b"] * (count // 2),
    }
    return write_parquet(path / "pairs.parquet", columns)


def test_images_and_texts_are_pairs(tmp_path: Path) -> None:
    source = load(pairs(tmp_path))
    spec = source.spec
    assert (spec.modality, spec.classes) == ("image+text", ("a", "b"))
    assert spec.parts["image"].shape == (3, 12, 12)
    assert source.tokenizer is not None
    assert spec.parts["text"].vocabulary == len(source.tokenizer)
    found = source.train.take(torch.arange(8))
    assert isinstance(found, Parts)
    assert found.image.shape == (8, 3, 12, 12)
    assert found.text.ids.shape == (8, spec.parts["text"].context)
    assert [source.tokenizer.decode(row.tolist()) for row in found.text.ids] == [
        name.lower() for name in source.train.ids
    ]
    for image, name in zip(found.image, source.train.ids, strict=True):
        assert torch.equal(
            image,
            torch.from_numpy(np.asarray(picture(int(name.split()[-1]))).transpose(2, 0, 1).copy()),
        )


def test_columns_can_be_chosen(tmp_path: Path) -> None:
    assert load(pairs(tmp_path), image_column="back").spec.modality == "image"
    both = load(tmp_path / "pairs.parquet", image_column="back", text_column="category")
    assert both.spec.modality == "image+text"
    assert both.spec.parts["image"].shape == (1, 12, 12)


def test_the_tokenizer_learns_from_training_texts_only(tmp_path: Path) -> None:
    texts = ["green leaf"] * 6 + ["zebra zebra zebra"] * 6
    columns = {"text": texts, "split": ["train"] * 6 + ["test"] * 6}
    source = load(write_parquet(tmp_path / "a.parquet", columns))
    assert source.spec.modality == "text"
    assert source.tokenizer is not None
    assert source.tokenizer.encode(["leaf"]).ids.shape == (1, 3)
    assert source.tokenizer.encode(["zebra"]).ids.shape[1] > 5


def test_texts_alone(tmp_path: Path) -> None:
    columns = {"sentence": [f"word {i} again" for i in range(10)], "label": [0, 1] * 5}
    source = load(write_parquet(tmp_path / "a.parquet", columns), size=4)
    assert (source.spec.modality, source.spec.shape, source.spec.mean) == ("text", (4,), ())
    assert isinstance(source.train.take(torch.tensor([0])), Tokens)


def test_texts_of_other_data_take_the_tokenizer_that_an_encoder_knows(tmp_path: Path) -> None:
    known = load(pairs(tmp_path))
    path = write_parquet(
        tmp_path / "new.parquet",
        {"image": image_column(4), "name": ["a much longer name than before"] * 4},
    )
    source = load(path, like=known.spec, tokenizer=known.tokenizer)
    assert source.tokenizer is known.tokenizer
    assert source.spec.parts["text"].context == known.spec.parts["text"].context


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_a_list_of_files(tmp_path: Path, ending: str) -> None:
    (tmp_path / "images").mkdir()
    for i in range(6):
        picture(i).save(tmp_path / "images" / f"{i}.png")
    comma = "," if ending == "csv" else "\t"
    rows = [comma.join(("file", "label", "patient"))] + [
        comma.join((f"images/{i}.png", "xy"[i % 2], f"p{i // 2}")) for i in range(6)
    ]
    path = tmp_path / f"list.{ending}"
    path.write_text("\n".join(rows) + "\n")
    source = load(path)
    assert source.spec.modality == "image"
    assert source.spec.classes == ("x", "y")
    assert source.spec.groups == ("patient",)
    assert source.test is not None
    assert {name[:9] for name in source.train.ids} == {
        "images/0.",
        "images/1.",
        "images/2.",
        "images/3.",
        "images/4.",
        "images/5.",
    } - {name[:9] for name in source.test.ids}
    assert len(source.test) % 2 == 0


def test_a_list_of_series(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.csv").write_text("\n".join(f"{i},{t}" for t in range(9)))
    (tmp_path / "list.csv").write_text("path,label\n0.csv,a\n1.csv,b\n2.csv,a\n")
    source = load(tmp_path / "list.csv")
    assert (source.spec.modality, source.spec.shape) == ("series", (2, 9))


def test_missing_files_of_a_list_are_skipped(tmp_path: Path) -> None:
    for i in range(3):
        picture(i).save(tmp_path / f"{i}.png")
    (tmp_path / "list.csv").write_text("path\n0.png\n1.png\n2.png\ngone.png\n")
    assert any(
        "1 of 4 images of list cannot be read: gone.png" in note
        for note in load(tmp_path / "list.csv").notes
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"text_column": "capshun"},
            r"pairs has no text column 'capshun'; its columns: front \(struct.*name \(string\)",
        ),
        (
            {"image_column": "side"},
            r"pairs has no image column 'side'; its columns: front \(struct",
        ),
        ({"label": "kind"}, "pairs has no label column 'kind'; its columns: name, category"),
        ({"group": "patient"}, "pairs has no group column 'patient'; its columns: name, category"),
    ],
)
def test_a_column_that_is_not_there_lists_those_that_are(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load(pairs(tmp_path), **options)


def test_a_table_without_samples_lists_its_columns(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"user": [1, 2], "sound": [b"unknown", b""]})
    with pytest.raises(
        UserError,
        match=r"a has no column of images, .* its columns: user \(int64\), sound \(binary\)",
    ):
        load(path)


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"text": pa.array([], pa.string())})
    with pytest.raises(UserError, match="a has no rows"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"PAR1 but no more", b"x" * 100])
def test_a_file_that_is_no_parquet(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(
        UserError,
        match=r"a\.parquet cannot be read as parquet \(.*\); check that the file is complete",
    ):
        load(tmp_path / "a.parquet")


def test_a_file_that_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1\n1,2,3\n")
    with pytest.raises(UserError, match=r"a\.csv cannot be read as a table"):
        load(tmp_path / "a.csv")


def test_images_without_bytes_are_unreadable(tmp_path: Path) -> None:
    column = image_column(3).to_pylist()
    column[1] = {"bytes": None, "path": "gone.png"}
    source = load(write_parquet(tmp_path / "a.parquet", {"image": column}))
    assert source.train.ids == ["0", "2"]
    assert any("1 of 3 images of a cannot be read: 1" in note for note in source.notes)


def test_class_names_by_set_are_joined(tmp_path: Path) -> None:
    names = {"classes": json.dumps({"one": ["x", "y"], "two": ["z"]})}
    columns = {"image": image_column(4), "label": [0, 1, 0, 0], "set": ["one", "one", "two", "two"]}
    source = load(write_parquet(tmp_path / "a.parquet", columns, metadata=names), split=False)
    assert source.spec.classes == ("one/x", "one/y", "two/z")
    assert source.train.label is not None
    assert source.train.label.tolist() == [0, 1, 2, 2]


def test_a_shared_group_across_a_given_split_is_said(tmp_path: Path) -> None:
    columns = {
        "image": image_column(4),
        "split": ["train", "train", "test", "test"],
        "patient": [1, 2, 2, 3],
    }
    source = load(write_parquet(tmp_path / "a.parquet", columns))
    assert (
        "1 members of 'patient' lie on both sides of the split that the data bring." in source.notes
    )


def test_labels_to_regress(tmp_path: Path) -> None:
    columns = {"image": image_column(5), "age": [1.5, 2.5, 3.0, 4.0, 9.0]}
    source = load(write_parquet(tmp_path / "a.parquet", columns), label="age", split=False)
    assert source.spec.target == "value"
    assert source.train.label is not None
    assert source.train.label.dtype == torch.float32


def test_without_labels_the_candidates_are_named(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "a.parquet",
        {"image": image_column(5), "age": [1, 2, 3, 4, 5], "split": ["train"] * 5},
    )
    assert (
        "No column has a common name for labels; choose one with --label: age." in load(path).notes
    )


def test_dictionary_columns_and_large_strings_are_read(tmp_path: Path) -> None:
    texts = pa.array([f"some text {i}" for i in range(4)], pa.large_string())
    labels = pa.array(["u", "v", "u", "v"]).dictionary_encode()
    pq.write_table(pa.table({"text": texts, "label": labels}), tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet").spec.classes == ("u", "v")
