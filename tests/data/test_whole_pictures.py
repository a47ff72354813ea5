"""Whole pictures, stored apart from the size of views."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from nearfar.data import load
from nearfar.errors import UserError
from nearfar.rows import Whole, concatenate, pieces_of, rows_of, select
from nearfar.views.image.views import image_views
from nearfar.views.wanted import WantedViews


def _gradient(path: Path, width: int, height: int) -> None:
    """Red tells how far right a pixel lies, green how far down."""
    across = np.tile(np.linspace(0, 255, width), (height, 1))
    down = np.tile(np.linspace(0, 255, height)[:, None], (1, width))
    Image.fromarray(np.stack([across, down, 0 * down], axis=2).astype(np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(8):
        width, height = ((160, 80), (80, 160), (100, 100))[number % 3]
        _gradient(folder / f"{number}.png", width, height)
    return folder


def test_what_is_taken_is_the_middle_as_before(photos: Path) -> None:
    before = load(photos, split=False, size=32)
    whole = load(photos, split=False, size=32, store=64)
    assert isinstance(whole.train.content, Whole)
    assert whole.spec.shape == (3, 32, 32)
    index = torch.arange(8)
    first, second = (one.train.take(index).float() for one in (before, whole))
    assert float((first - second).abs().mean()) < 2
    assert torch.equal(whole.train.subset(index[2:]).take(index[:2]), whole.train.take(index[2:4]))
    assert any("stored as squares of 64 pixels" in note for note in whole.notes)


def test_crops_come_from_all_of_a_picture_with_its_aspect(photos: Path) -> None:
    source = load(photos, split=False, size=32, store=64)
    pictures = source.train.whole(torch.zeros(400, dtype=torch.int64))  # 160 x 80 pixels
    assert float(pictures.aspect[0]) == 2.0
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (source.spec.mean, source.spec.std))
    settings = {"scale": (0.1, 0.4), "ratio": (1.0, 1.0)}
    wanted = WantedViews(whole=1)
    maker = image_views(source.spec, wanted, _settings(**settings))
    (view,) = maker(pictures, torch.Generator().manual_seed(0))
    pixels = view * std + mean
    wide = pixels[:, 0].amax((1, 2)) - pixels[:, 0].amin((1, 2))
    high = pixels[:, 1].amax((1, 2)) - pixels[:, 1].amin((1, 2))
    # A square crop is half as large a share of the width as of the height.
    assert torch.allclose(2 * wide, high, atol=0.1)
    left = pixels[:, 0].amin((1, 2))
    assert float(left.min()) < 0.02  # beyond the middle square, which begins at a quarter
    assert float(pixels[:, 0].max()) > 0.98
    middle = maker(source.train.take(torch.zeros(400, dtype=torch.int64)), torch.Generator())[0]
    assert float((middle * std + mean)[:, 0].min()) > 0.2


def _settings(**values: object):  # type: ignore[no-untyped-def]
    from nearfar.views.image.settings import ImageViewSettings

    return ImageViewSettings(**values)  # type: ignore[arg-type]


def test_a_view_that_is_not_cropped_is_the_middle(photos: Path) -> None:
    source = load(photos, split=False, size=32, store=64)
    (view,) = image_views(source.spec, WantedViews(whole=1), _settings())(
        source.train.whole(torch.arange(8)), torch.Generator()
    )
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (source.spec.mean, source.spec.std))
    taken = source.train.take(torch.arange(8)).float() / 255
    assert float((view * std + mean - taken).abs().max()) < 0.02


def test_whole_pictures_are_rows(photos: Path) -> None:
    content = load(photos, split=False, size=32, store=64).train.content
    index = torch.tensor([5, 0, 3])
    assert torch.equal(rows_of(content, index).middle(), select(content, index))
    assert torch.equal(content[index].middle(), select(content, index))
    joined = concatenate([content[:2], content[2:]])
    assert torch.equal(joined.values, content.values)
    assert [len(piece) for piece in pieces_of(content)] == [2] * 8
    assert torch.equal(rows_of(content.values, index), content.values[index])


def test_what_cannot_be_stored_whole(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((8, 16, 16), np.uint8))
    with pytest.raises(UserError, match="no picture files; leave --store out"):
        load(tmp_path / "a.npz", store=32)


def test_views_are_no_larger_than_what_is_stored(photos: Path) -> None:
    with pytest.raises(UserError, match=r"store is 16, but views are of 32 x 32 .* at least 32"):
        load(photos, store=16, size=32)
    assert load(photos, store=32, size=32).spec.shape == (3, 32, 32)


def test_whole_pictures_of_sixteen_bits(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(6):
        values = random.integers(1000, 5000, (16, 16), dtype=np.uint16)
        Image.fromarray(values).save(tmp_path / f"{number}.png")
    whole, middle = (load(tmp_path, split=False, size=16, store=n) for n in (16, None))
    index = torch.arange(6)
    assert whole.train.take(index).dtype == torch.uint16
    assert torch.equal(whole.train.take(index).int(), middle.train.take(index).int())


@pytest.mark.parametrize("store", [None, 64])
def test_a_set_larger_than_the_disk_is_decoded_as_it_is_taken(
    store: int | None, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photos / "3.png").write_bytes((photos / "3.png").read_bytes()[:80])
    kept = load(photos, size=32, store=store, cache=tmp_path / "kept")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    streamed = load(photos, size=32, store=store, cache=tmp_path / "streamed")
    assert any("decoded whenever they are taken" in note for note in streamed.notes)
    assert sum(path.stat().st_size for path in (tmp_path / "streamed").rglob("*")) < 60_000
    assert streamed.spec == kept.spec
    assert streamed.train.ids == kept.train.ids
    assert streamed.train.marks is not None
    if store is None:  # so that a run goes on wherever its pictures lie
        assert torch.equal(streamed.train.marks, kept.train.marks)
    index = torch.tensor([3, 0, 3, 1])
    for one, other in (
        (streamed.train.take(index), kept.train.take(index)),
        (streamed.train.subset(index).take(index), kept.train.subset(index).take(index)),
    ):
        assert torch.equal(one, other)
    if store is not None:
        assert torch.equal(streamed.train.whole(index).values, kept.train.whole(index).values)
