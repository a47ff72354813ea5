"""The authors' templates: a stand-in of their format is read as it says, and faults are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nearfar import data
from nearfar.data.readers.genecis import cropped, squared
from nearfar.data.selection.queries import TASKS
from nearfar.errors import UserError


def whole(number: int) -> dict[str, Any]:
    return {"val_image_id": number}


def boxed(number: int, box: list[float]) -> dict[str, Any]:
    return {"image_id": number, "instance_bbox": box}


def shade(number: int) -> int:
    """The grey of each image."""
    return 40 * number


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of templates and their images, each of one grey."""
    (tmp_path / "images").mkdir()
    for number in range(6):
        grey = (shade(number),) * 3
        Image.new("RGB", (12, 12), grey).save(tmp_path / "images" / f"{number:012d}.jpg")
        Image.new("RGB", (20, 30), grey).save(tmp_path / "images" / f"{number}.jpg")
    objects = [
        {
            "reference": whole(0),
            "condition": "with a wall",
            "target": whole(1),
            "gallery": [whole(number) for number in (2, 3, 4)],
        },
        {
            "reference": whole(1),
            "condition": "table",
            "target": whole(5),
            "gallery": [whole(number) for number in (4, 3, 0)],
        },
    ]
    attributes = [
        {
            "reference": boxed(2, [10, 10, 8, 4]),
            "condition": "colour",
            "target": boxed(3, [0, 0, 20, 30]),
            "gallery": [boxed(2, [1, 1, 4, 4])],
        }
    ] * 2
    (tmp_path / "change_object.json").write_text(json.dumps(objects))
    (tmp_path / "focus_attribute.json").write_text(json.dumps(attributes))
    return tmp_path


def test_templates_become_queries_with_the_target_first(folder: Path) -> None:
    source = data.load(f"genecis:{folder / 'change_object.json'}")
    assert source.spec.modality == "image+text+image"
    test = source.test
    assert test is not None
    assert len(test) == 2
    x = test.take(torch.tensor([1]))
    found = x.target.values[x.target.index[0]].float().mean(dim=(1, 2, 3))
    expected = torch.tensor([shade(number) for number in (5, 4, 3, 0)]).float()
    assert torch.allclose(found, expected, atol=2)
    assert x.target.called.tolist() == [[5, 4, 3, 0]]
    assert abs(float(x.reference.float().mean()) - shade(1)) < 2
    words = source.tokenizer.encode(["table"], source.spec.parts["condition"].context)
    assert torch.equal(x.condition.ids, words.ids)


def test_files_of_a_folder_are_tasks_with_galleries_of_their_own_size(folder: Path) -> None:
    source = data.load(f"genecis:{folder}", size=10)
    test = source.test
    assert test is not None
    names = source.members["task"]
    assert [names[one] for one in test.group["task"].tolist()] == [
        "change-object",
        "change-object",
        "focus-attribute",
        "focus-attribute",
    ]
    assert set(names) <= set(TASKS)
    assert (test.content["target"].index >= 0).sum(1).tolist() == [4, 4, 2, 2]
    assert source.spec.parts["target"].shape == (3, 10, 10)
    x = test.take(torch.tensor([2])).reference[0].float()
    assert float(x[:, 0].mean()) < 5 < float(x[:, 5].mean())  # the box on a black square


def test_a_box_grows_at_the_left_and_the_top_unless_it_is_to_be_symmetric() -> None:
    image = Image.fromarray(np.arange(40 * 40, dtype=np.uint16).reshape(40, 40).astype(np.uint8))
    assert cropped(image, (10, 10, 10, 10)).size == (17, 17)
    assert cropped(image, (10, 10, 10, 10), "symmetric").size == (24, 24)
    pixels = np.asarray(squared(Image.new("RGB", (4, 2), (9, 9, 9))))
    assert pixels.shape == (4, 4, 3)
    assert pixels[:, 0, 0].tolist() == [0, 9, 9, 0]


def test_the_form_of_crops_is_an_option(folder: Path) -> None:
    released, symmetric = (
        data.load(f"genecis:{folder / 'focus_attribute.json'}{option}", size=12).test
        for option in ("", ",crop=symmetric")
    )
    assert released is not None
    assert symmetric is not None
    first, second = (one.take(torch.tensor([0])).reference for one in (released, symmetric))
    assert not torch.equal(first, second)


def _without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda template: template.pop(key)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without("reference"), "template 0 of .* is incomplete: it has no 'reference'"),
        (_without("target"), "its gallery has no target"),
        (lambda t: t.update(condition="  "), "condition of template 0 of .* is empty"),
        (lambda t: t.update(gallery=[]), "gallery of template 0 of .* is empty"),
        (lambda t: t.update(target=whole(77)), "image 000000000077.jpg of .* is not in"),
        (lambda t: t.update(target={"name": 1}), "no 'val_image_id' or 'image_id'"),
        (lambda t: t.update(target=boxed(1, [1, 2, 0, 4])), "'instance_bbox'"),
    ],
)
def test_a_fault_gets_one_sentence(folder: Path, change: Any, said: str) -> None:
    file = folder / "change_object.json"
    found = json.loads(file.read_text())
    change(found[0])
    file.write_text(json.dumps(found))
    with pytest.raises(UserError, match=said):
        data.load(f"genecis:{file}")


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "cannot be read as JSON"), ("[]", "holds no templates"), ("[1]", "holds no templates")],
)
def test_a_file_that_is_no_list_of_templates_is_refused(folder: Path, text: str, said: str) -> None:
    file = folder / "change_object.json"
    file.write_text(text)
    with pytest.raises(UserError, match=said):
        data.load(f"genecis:{file}")


def test_templates_that_are_not_there_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no GeneCIS templates"):
        data.load(f"genecis:{tmp_path}")
    with pytest.raises(UserError, match="crop"):
        data.load(f"genecis:{tmp_path},crop=round")
