"""``--with triplets``: training triplets, and test queries whose galleries keep their promise."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from nearfar import data
from nearfar.data.content.arrays import ReadyArray
from nearfar.data.made.styled_digits import STYLES
from nearfar.data.prepare import prepared
from nearfar.data.prepare.triplets import ANSWERS, PLACE
from nearfar.data.samples import Source
from nearfar.data.selection.queries import TASKS
from nearfar.data.tables.table import Table
from nearfar.errors import UserError
from nearfar.rows import Parts, Picked


@cache
def digits() -> Source:
    return data.load("digit-cis")


@cache
def queries() -> Source:
    return prepared(digits(), ("triplets:count=200,queries=30,gallery=6",), seed=3)


def images(texts: list[str], **columns: list[str]) -> Source:
    """Black images of these texts and columns, the first half for training."""
    count = len(texts)
    content = ReadyArray(np.zeros((count, 1, 4, 4), dtype=np.uint8), "some")
    part = ["train"] * (count // 2) + ["test"] * (count // 2)
    known = {name: np.array(values, dtype=object) for name, values in columns.items()}
    ids = [str(row) for row in range(count)]
    return data.load(Table("some", ids, content, texts, known, part))


def properties(source: Source, numbers: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Number and style of images by row."""
    rows = numbers.numpy()
    return source.columns["number"][rows], source.columns["style"][rows]


def test_digit_cis_says_both_properties_and_is_the_same_each_time() -> None:
    source = digits()
    assert source.spec.modality == "image+text"
    assert (len(source.train), len(source.test or ())) == (1437, 360)
    styles = source.column("style", source.train)
    assert set(styles) == set(STYLES)
    texts = source.column("text", source.train)
    numbers = source.column("number", source.train)
    assert texts[0] == f"number {numbers[0]}, style {styles[0]}"
    bright = source.train.content.image[source.train.rows].float().mean(dim=(1, 2, 3))
    means = {name: float(bright[np.array(styles) == name].mean()) for name in STYLES}
    assert means["inverted"] > means["thick"] > means["normal"]
    assert abs(means["tilted"] - means["normal"]) < 10


@pytest.mark.parametrize("task", TASKS)
def test_the_first_of_a_gallery_answers_and_no_other(task: str) -> None:
    source = queries()
    test = source.test
    assert test is not None
    rows = (test.group["task"] == TASKS.index(task)).nonzero()[:, 0]
    assert len(rows) == 30
    held: Picked = test.content["target"]
    reference = held.numbers[test.annotations[PLACE][rows]]
    number, style = properties(source, reference)
    numbers, styles = properties(source, held.called[rows])
    same_number, same_style = numbers == number[:, None], styles == style[:, None]
    if task.startswith("focus"):
        about, beside = (
            (same_number, same_style) if task.endswith("object") else (same_style, same_number)
        )
        assert (about[:, 0] & ~beside[:, 0]).all()
        assert not about[:, 1:].any()
        values = styles if task.endswith("object") else numbers
        assert (beside[:, 1:] | (values[:, 1:] == values[:, :1])).all()
        assert (beside[:, 1:].sum(1) == 3).all()
        return
    kept = same_style if task.endswith("object") else same_number
    changed = numbers if task.endswith("object") else styles
    meets = changed == changed[:, :1]
    assert kept[:, 0].all()
    assert not (meets[:, 1:] & kept[:, 1:]).any()
    assert (meets[:, 1:] | kept[:, 1:]).all()
    said = [one.partition(", ")[2].partition(":")[0] for one in np.array(test.ids)[rows]]
    names = source.names["number" if task.endswith("object") else "style"]
    assert said == [names[value] for value in changed[:, 0]]


def test_all_right_images_are_known_and_the_reference_is_none_of_them() -> None:
    source = queries()
    test = source.test
    assert test is not None
    held: Picked = test.content["target"]
    answers = test.annotations[ANSWERS]
    place = test.annotations[PLACE]
    assert (held.index[:, :1] == answers).any(1).all()
    assert not (held.index[:, 1:, None] == answers[:, None]).any()
    assert not (place[:, None] == answers).any()
    assert torch.equal(test.take(torch.arange(4)).reference, held.values[place[:4]])


def test_training_triplets_are_of_training_images_alone_in_equal_shares() -> None:
    source = queries()
    assert source.train.group["task"].bincount().tolist() == [50] * 4
    content: Parts = source.train.content
    chosen = torch.cat([content["reference"].called, content["target"].called])
    trained = {int(one) for one in digits().train.ids}
    assert set(chosen.tolist()) <= trained
    x = source.train.take(torch.tensor([5, 7]))
    assert x.reference.shape == x.target.shape == (2, 1, 16, 16)
    again = prepared(digits(), ("triplets:count=200,queries=30,gallery=6",), seed=3)
    assert again.train.ids == source.train.ids
    assert prepared(digits(), ("triplets:count=200",), seed=4).train.ids != source.train.ids


def test_a_text_says_attribute_and_object_where_no_column_does() -> None:
    texts = [f"{colour} {thing}" for thing in ("big car", "cup") for colour in ("red", "blue")] * 8
    source = prepared(images(texts), ("triplets:task=change-attribute,gallery=2",), seed=0)
    words = {one.partition(", ")[2].partition(":")[0] for one in source.train.ids}
    assert words == {"red", "blue"}


def test_facts_are_mined_from_three_columns() -> None:
    things = ["table", "tree"] * 6
    columns = {"subject": ["cat"] * 24, "relation": ["on"] * 24, "object": things * 2}
    source = prepared(
        images(["a cat"] * 24, **columns), ("triplets:by=facts,gallery=2,count=9",), seed=0
    )
    words = {one.partition(", ")[2].partition(":")[0] for one in source.train.ids}
    assert words == {"on table", "on tree"}


def test_tasks_without_a_gallery_are_told() -> None:
    texts = [f"{colour} {thing}" for thing in ("car", "cup") for colour in ("red", "blue")] * 2
    source = prepared(images(texts), ("triplets:gallery=9",), seed=0)
    assert source.test is None
    assert "no gallery of 9 for change-object, focus-object" in " ".join(source.notes)


@pytest.mark.parametrize(
    ("source", "chain", "said"),
    [
        (lambda: data.load("digits"), "triplets", "takes images with texts"),
        (digits, "triplets:object=shape", "Unknown column of digit-cis 'shape'"),
        (digits, "triplets:by=facts", "columns subject, relation, object"),
        (lambda: images(["cup"] * 8), "triplets", "needs two properties of every image"),
        (digits, "triplets:gallery=1", "gallery"),
    ],
)
def test_wrong_data_get_one_sentence(source: object, chain: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        prepared(source(), (chain,), seed=0)  # type: ignore[operator]
