"""Preparations: each changes what it says, by seed alone, and refuses data that are not its
kind.
"""

from __future__ import annotations

import pytest
import torch

from nearfar.data import Source, load
from nearfar.data.prepare import kind_of, names, prepared
from nearfar.data.prepare.label_noise import CLEAN, with_noise
from nearfar.errors import UserError
from nearfar.named import options_of
from nearfar.parsing import documented
from nearfar.ranges import is_declared


@pytest.fixture(scope="module")
def digits() -> Source:
    return load("digits", limit=300)


def labels(source: Source) -> torch.Tensor:
    assert source.train.label is not None
    return source.train.label


@pytest.mark.parametrize("name", names())
def test_options_are_declared_and_told(name: str) -> None:
    kind = kind_of(name)
    told = documented(kind)
    for option, (hint, _) in options_of(kind).items():
        assert told.get(option), option
        assert is_declared(hint) or hint in (str, str | None, bool), option


def test_exactly_the_share_of_labels_is_wrong_and_the_truth_is_kept(digits: Source) -> None:
    found = prepared(digits, ["label-noise:rate=0.25"], seed=3)
    wrong = labels(found) != labels(digits)
    assert int(wrong.sum()) == round(0.25 * len(digits.train))
    assert torch.equal(found.train.annotations[CLEAN], labels(digits))
    again = prepared(digits, ["label-noise:rate=0.25"], seed=3)
    assert torch.equal(labels(again), labels(found))
    assert not torch.equal(labels(prepared(digits, ["label-noise:0.25"], seed=4)), labels(found))
    assert found.test is digits.test


def test_pairs_and_frequencies_of_noise() -> None:
    label = torch.tensor([0] * 100 + [1] * 800 + [2] * 100)
    pair = with_noise(label, 3, 0.5, "pair", seed=0)
    assert torch.equal(pair[pair != label], (label[pair != label] + 1) % 3)
    drawn = with_noise(label, 3, 0.5, "frequency", seed=0)
    from_first = drawn[(label == 0) & (drawn != label)]
    assert (from_first == 1).double().mean() > 0.7, "8 of 9 flip to the frequent class"
    assert (with_noise(torch.zeros(9).long(), 2, 0.5, "frequency", seed=0) == 1).sum() == 4


def test_a_long_tail_falls_by_the_imbalance(digits: Source) -> None:
    counts = torch.bincount(labels(prepared(digits, ["long-tail:imbalance=8"], seed=0)))
    assert counts.tolist() == sorted(counts.tolist(), reverse=True)
    assert int(counts[0]) == int(torch.bincount(labels(digits)).min())
    assert int(counts[-1]) == max(1, round(int(counts[0]) / 8))


def test_a_stream_has_a_task_for_each_part_of_the_classes(digits: Source) -> None:
    found = prepared(digits, ["stream:tasks=5"], seed=0)
    task = found.train.group["task"]
    assert torch.equal(task, labels(digits) // 2)
    assert found.members["task"] == tuple(f"task {number}" for number in range(5))
    assert found.test is not None
    assert torch.equal(found.test.group["task"], found.test.label // 2)
    random = prepared(digits, ["stream:tasks=4,by=random"], seed=0).train.group["task"]
    sizes = torch.bincount(random)
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize(
    ("chain", "count"),
    [
        (["forget:class,name=3"], lambda s: int((labels(s) == 3).sum())),
        (["forget:random,rate=0.2"], lambda s: round(0.2 * len(s.train))),
        (["label-noise:0.1", "forget:noisy"], lambda s: round(0.1 * len(s.train))),
    ],
)
def test_what_is_to_be_forgotten_has_its_role(digits: Source, chain: list[str], count) -> None:
    role = prepared(digits, chain, seed=0).train.group["role"]
    assert int(role.sum()) == count(digits)


def test_new_classes_are_left_out_or_hidden(digits: Source) -> None:
    left = prepared(digits, ["classes:base=0.3"], seed=0)
    assert sorted(set(labels(left).tolist())) == [0, 1, 2]
    hidden = prepared(digits, ["classes:base=0.3,new=unlabelled"], seed=0)
    assert len(hidden.trained) == len(digits.train)
    assert hidden.trained.label is not None
    shown = hidden.trained.label[hidden.trained.label >= 0]
    assert set(shown.tolist()) == {0, 1, 2}
    assert torch.equal(labels(hidden), labels(digits)), "protocols see the truth"


def test_one_more_at_the_end_changes_none_before_it(digits: Source) -> None:
    alone = prepared(digits, ["label-noise:0.3"], seed=0)
    longer = prepared(digits, ["label-noise:0.3", "limit:50"], seed=0)
    kept = {name: int(label) for name, label in zip(alone.train.ids, labels(alone), strict=True)}
    assert len(longer.train) == longer.spec.length == 50
    for name, label in zip(longer.train.ids, labels(longer), strict=True):
        assert kept[name] == int(label)


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        (["label-nose"], "Unknown preparation 'label-nose': did you mean label-noise"),
        (["label-noise:rate=1"], r"rate of the preparation label-noise is 1\.0; expected"),
        (["label-noise:rat=0.1"], "Unknown option of the preparation label-noise 'rat'"),
        (["stream:tasks=11"], "makes 11 tasks by label, of which digits has 10"),
        (["stream:by=colour"], "divides by 'colour', which digits has not"),
        (["forget:class,name=eleven"], "Unknown class 'eleven'"),
        (["forget:noisy"], "needs labels that were made wrong"),
        (["classes:base=0.01"], "makes 0 of 10 classes known"),
        (["stream", "stream"], "has a group column 'task' already"),
        (["limit"], "needs the option samples"),
        ([":3"], "expected NAME or NAME:key=value"),
    ],
)
def test_what_does_not_fit_is_one_sentence(digits: Source, chain: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        prepared(digits, chain, seed=0)


def test_data_without_classes_are_refused() -> None:
    values = load("digits", limit=20)
    from dataclasses import replace

    bare = replace(values, train=replace(values.train, label=None))
    for name in ("label-noise", "long-tail", "stream", "forget", "classes"):
        with pytest.raises(UserError, match=f"preparation {name} needs class labels"):
            prepared(bare, [name], seed=0)
