"""Folders of images: parts, classes, sizes, channels, unreadable files, and the cache behind
them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from nearfar.data import load
from nearfar.data.content import pictures
from nearfar.data.content.decode import pixels
from nearfar.errors import UserError
from tests.data.conftest import picture

Write = Callable[..., Path]


def test_class_folders_are_labels(image_folder: Write) -> None:
    folder = image_folder({f"{kind}/{i}.png": {} for kind in ("dog", "cat") for i in range(5)})
    source = load(folder)
    assert (source.spec.name, source.spec.modality, source.spec.shape) == (
        "photos",
        "image",
        (3, 12, 12),
    )
    assert source.spec.classes == ("cat", "dog")
    assert source.test is not None
    assert (len(source.train), len(source.test)) == (8, 2)
    for samples in (source.train, source.test):
        assert samples.label is not None
        assert [source.spec.classes[i] for i in samples.label] == [
            name.partition("/")[0] for name in samples.ids
        ]


def test_pixels_belong_to_their_names(image_folder: Write) -> None:
    names = [f"{i}.png" for i in range(7)]
    source = load(image_folder({name: {} for name in names}), split=False)
    assert source.train.ids == names
    assert source.test is None
    assert source.spec.target == "none"
    expected = np.stack([np.asarray(picture(i)).transpose(2, 0, 1) for i in range(7)])
    assert torch.equal(source.train.take(torch.arange(7)), torch.from_numpy(expected))


def test_train_and_test_folders_are_kept(image_folder: Write) -> None:
    folder = image_folder(
        {f"{part}/{kind}/1.png": {} for part in ("train", "test", "val") for kind in ("a", "b")}
    )
    source = load(folder)
    assert source.train.ids == ["train/a/1.png", "train/b/1.png"]
    assert source.test is not None
    assert source.test.ids == ["test/a/1.png", "test/b/1.png"]
    assert source.spec.classes == ("a", "b")
    assert any("'val' are left out" in note for note in source.notes)


def test_files_beside_class_folders_mean_no_classes(image_folder: Write) -> None:
    source = load(image_folder({"a/1.png": {}, "a/2.png": {}, "3.png": {}}))
    assert source.train.label is None


def test_hidden_and_other_files_are_no_images(image_folder: Write) -> None:
    folder = image_folder({"1.png": {}, "2.png": {}, ".hidden/3.png": {}})
    (folder / "._1.png").write_bytes(b"\x00")
    (folder / "readme.txt").write_text("hello")
    assert load(folder).train.ids == ["1.png", "2.png"]


def test_statistics_are_those_of_the_training_images(image_folder: Write) -> None:
    source = load(image_folder({f"{i}.png": {} for i in range(10)}))
    x = source.train.take(torch.arange(8)).double() / 255
    assert source.spec.mean == pytest.approx(x.mean(dim=(0, 2, 3)).tolist(), rel=1e-6)
    assert source.spec.std == pytest.approx(x.std(dim=(0, 2, 3), correction=0).tolist(), rel=1e-6)


@pytest.mark.parametrize(("modes", "channels"), [(("L", "LA"), 1), (("L", "RGB"), 3)])
def test_one_channel_only_if_all_are_grey(
    image_folder: Write, modes: tuple[str, str], channels: int
) -> None:
    source = load(image_folder({f"{i}.png": {"mode": mode} for i, mode in enumerate(modes)}))
    assert source.spec.shape == (channels, 12, 12)
    assert len(source.spec.mean) == channels


@pytest.mark.parametrize(
    ("sizes", "options", "shape", "resized"),
    [
        ([(9, 9), (9, 14), (20, 9), (30, 30)], {}, (9, 9), 3),
        ([(9, 14)] * 3, {}, (14, 9), 0),
        ([(9, 9), (9, 9)], {"size": 16}, (16, 16), 2),
        ([(300, 260)] * 2, {}, (224, 224), 2),
    ],
)
def test_sizes(
    image_folder: Write,
    sizes: list[tuple[int, int]],
    options: dict[str, int],
    shape: tuple[int, int],
    resized: int,
) -> None:
    source = load(
        image_folder({f"{i}.png": {"size": size} for i, size in enumerate(sizes)}), **options
    )
    assert source.spec.shape == (3, *shape)
    assert source.spec.extra.get("resized", 0) == resized
    said = (
        f"{resized} of {len(sizes)} images were resized and cropped to {shape[0]} x {shape[1]} "
        "pixels; --size sets another size."
    )
    assert [note for note in source.notes if "resized" in note] == ([said] if resized else [])


def test_images_take_the_shape_that_an_encoder_knows(image_folder: Write) -> None:
    known = load(image_folder({f"{i}.png": {"size": (10, 10)} for i in range(3)}, "known")).spec
    source = load(
        image_folder({f"{i}.png": {"size": (31, 17), "mode": "L"} for i in range(3)}, "new"),
        like=known,
    )
    assert source.spec.shape == (3, 10, 10)


def broken(folder: Path) -> Path:
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("no image")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:200])
    return folder


def test_unreadable_images_are_skipped_and_named(image_folder: Write) -> None:
    folder = broken(image_folder({f"{i}.png": {} for i in range(5)}))
    for _ in range(2):  # decoded, then from the cache
        source = load(folder, split=False)
        assert source.train.ids == [f"{i}.png" for i in range(5)]
        assert (
            "3 of 8 images of photos cannot be read: cut.png, empty.jpg, text.png; skipped."
            in source.notes
        )
        assert torch.equal(
            source.train.take(torch.tensor([4]))[0],
            torch.from_numpy(pixels(picture(4), (3, 12, 12)).copy()),
        )


def test_strict_refuses_unreadable_images(image_folder: Write) -> None:
    folder = broken(image_folder({f"{i}.png": {} for i in range(5)}))
    for _ in range(2):
        with pytest.raises(
            UserError,
            match=r"3 of 8 images of photos cannot be read: .*; repair or remove them, or leave "
            r"out --strict",
        ):
            load(folder, strict=True)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n nothing"])
def test_a_folder_without_a_readable_image_is_refused(tmp_path: Path, content: bytes) -> None:
    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(content)
    with pytest.raises(UserError, match=r"None of the 2 images of .* can be read"):
        load(tmp_path)


def test_images_that_break_only_when_decoded_are_refused_too(image_folder: Write) -> None:
    folder = image_folder({"0.png": {}, "1.png": {}})
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"None of the 2 images of photos can be read"):
        load(folder)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"The folder {tmp_path} is empty; expected images"):
        load(tmp_path)


def test_a_folder_of_other_files_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.doc").write_text("x")
    (tmp_path / "b").write_text("x")
    with pytest.raises(
        UserError,
        match=r"holds no image, sound, CSV, parquet or structure file; .*1 \.doc, 1 without ending",
    ):
        load(tmp_path)


def test_one_image_is_too_few_to_learn_from_but_not_to_embed(image_folder: Write) -> None:
    folder = image_folder({"0.png": {}})
    with pytest.raises(UserError, match="photos has 1 usable training sample; expected at least 2"):
        load(folder)
    assert len(load(folder, split=False).train) == 1


def test_one_class_only_is_said(image_folder: Write) -> None:
    source = load(image_folder({f"cat/{i}.png": {} for i in range(5)}))
    assert source.spec.classes == ("cat",)
    assert any("one class, 'cat'" in note for note in source.notes)


def test_too_few_to_split_is_said(image_folder: Write) -> None:
    source = load(image_folder({f"{i}.png": {} for i in range(2)}))
    assert source.test is None
    assert "There is no test set: 2 samples are too few to split." in source.notes


def test_the_second_start_decodes_nothing(
    image_folder: Write, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    folder = image_folder({f"{i}.png": {} for i in range(6)})
    first = load(folder)
    monkeypatch.setattr(pictures, "measure", None)
    again = load(folder)
    assert _decoded(cache) == 1
    assert torch.equal(first.train.take(torch.arange(4)), again.train.take(torch.arange(4)))


@pytest.mark.parametrize("change", ["file", "size", "limit"])
def test_another_file_or_option_is_decoded_anew(
    image_folder: Write, cache: Path, change: str
) -> None:
    folder = image_folder({f"{i}.png": {} for i in range(6)})
    before = load(folder, split=False).train.take(torch.tensor([0]))
    if change == "file":
        picture(99).save(folder / "0.png")
        assert not torch.equal(load(folder, split=False).train.take(torch.tensor([0])), before)
    else:
        load(folder, split=False, **{change: 4})
    assert _decoded(cache) == 2


def _decoded(cache: Path) -> int:
    """Sets of images in the cache, which are kept apart from what their headers say."""
    entries = (cache / "decoded").iterdir()
    return sum(np.load(entry / "content.npy", mmap_mode="r").ndim == 4 for entry in entries)


def test_the_cache_folder_can_be_chosen(image_folder: Write, tmp_path: Path, cache: Path) -> None:
    load(image_folder({f"{i}.png": {} for i in range(3)}), cache=tmp_path / "mine")
    assert (tmp_path / "mine").is_dir()
    assert list(cache.iterdir()) == []


def test_many_images_pass_through_several_blocks(
    image_folder: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_BLOCK", 4)
    monkeypatch.setattr(pictures, "_TASK", 3)
    folder = broken(image_folder({f"{i}.png": {} for i in range(10)}))
    source = load(folder, split=False)
    assert source.train.ids == [f"{i}.png" for i in range(10)]
    assert torch.equal(
        source.train.take(torch.tensor([9]))[0],
        torch.from_numpy(np.asarray(picture(9)).transpose(2, 0, 1).copy()),
    )


@pytest.mark.parametrize("name", [".", "./", "given"])
def test_names_are_the_same_however_the_folder_is_given(
    image_folder: Write, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    files: dict[str, dict[str, object]] = {
        f"{label}/{i}.png": {} for label in "ab" for i in range(3)
    }
    folder = image_folder(files)
    monkeypatch.chdir(folder if name.startswith(".") else folder.parent)
    found = load(name if name.startswith(".") else folder.name)
    assert set(found.train.ids) <= set(files)
    assert found.spec.classes == ("a", "b")
