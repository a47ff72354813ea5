"""Text views against a loop over tokens; image-text pairs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.rows import Parts, Tokens
from nearfar.views import ImageViewSettings, TextViewSettings, WantedViews, make_views, plain_view
from nearfar.views import text as module
from nearfar.views.text import END, MASK, PADDING, START

TEXT = Spec("notes", "text", (12,), 100, vocabulary=50, context=12)
IMAGE = Spec("captions", "image", (3, 16, 16), 100, mean=(0.5,) * 3, std=(0.25,) * 3)
PAIRS = Spec("captions", "image+text", (), 100, parts={"image": IMAGE, "text": TEXT})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def notes(count: int = 40) -> Tokens:
    """Texts of 0 to 10 ordinary tokens between start and end."""
    words = torch.randint(5, 50, (count, 12), generator=generator(3))
    lengths = torch.arange(count) % 11
    place = torch.arange(12)
    ids = torch.where(place == 0, START, torch.where(place == lengths[:, None] + 1, END, words))
    mask = place < lengths[:, None] + 2
    return Tokens(ids.masked_fill(~mask, PADDING), mask)


def words(tokens: Tokens, row: int) -> list[int]:
    return tokens.ids[row][tokens.mask[row]].tolist()


def assert_well_formed(tokens: Tokens) -> None:
    """Padding behind only; start first, end last."""
    lengths = tokens.mask.sum(1)
    assert torch.equal(tokens.mask, torch.arange(tokens.ids.shape[1]) < lengths[:, None])
    assert (tokens.ids[~tokens.mask] == PADDING).all()
    assert (tokens.ids[:, 0] == START).all()
    assert (tokens.ids.gather(1, lengths[:, None] - 1) == END).all()


@pytest.mark.parametrize("style", ["contrastive", "asymmetric", "crop", "plain"])
def test_views_are_well_formed_and_deterministic(style: str) -> None:
    make = make_views(TEXT, WantedViews(local=1, style=style, noise=3))
    views = make(notes(), generator())
    again = make(notes(), generator())
    assert len(views) == 3
    for view, same in zip(views, again, strict=True):
        assert view.ids.shape == (40, 12)
        assert view.ids.dtype == torch.int64
        assert_well_formed(view)
        assert torch.equal(view.ids, same.ids)
        assert torch.equal(view.mask, same.mask)
    assert views.about["noise"].shape == (40, 3)
    assert torch.equal(views.about["noise"], again.about["noise"])
    changed = not torch.equal(views[0].ids, notes().ids)
    assert changed == (style != "plain")


def test_plain_is_the_text_itself() -> None:
    tokens = notes()
    assert plain_view(TEXT)(tokens) is tokens


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_deletion_and_masking_as_loops_do_them(probability: float) -> None:
    tokens = notes()
    draws = torch.rand(40, 12, generator=generator())
    deleted = module.delete_tokens(tokens, draws, probability)
    masked = module.mask_tokens(tokens, draws, probability)
    assert_well_formed(deleted)
    for row in range(40):
        ordinary = range(1, int(tokens.mask[row].sum()) - 1)
        spared = [place for place in ordinary if draws[row, place] >= probability]
        spared = spared or sorted(ordinary, key=lambda place: -float(draws[row, place]))[:1]
        ids = tokens.ids[row].tolist()
        assert words(deleted, row) == [START, *(ids[place] for place in spared), END]
        assert words(masked, row) == [
            START,
            *(ids[place] if place in spared else MASK for place in ordinary),
            END,
        ]


def test_a_span_is_a_run_of_the_text() -> None:
    tokens = notes()
    share = torch.rand(40, generator=generator()).clamp_min(0.01)
    place = torch.rand(40, generator=generator(1))
    spans = module.keep_span(tokens, share, place)
    assert_well_formed(spans)
    for row in range(40):
        inner = words(tokens, row)[1:-1]
        length = max(1, round(len(inner) * float(share[row])))
        first = int(float(place[row]) * (len(inner) - length + 1))
        assert words(spans, row) == [START, *inner[first : first + length], END]


def test_text_without_start_and_end_keeps_one_token() -> None:
    tokens = Tokens(torch.tensor([[7, 8, 9, 0]]), torch.tensor([[True, True, True, False]]))
    emptied = module.augment(tokens, TextViewSettings(delete=1.0), generator())
    assert emptied.mask.sum() == 1
    assert emptied.ids[0, 0] in (7, 8, 9)


def test_tokens_are_deleted_as_often_as_asked() -> None:
    ids = torch.randint(5, 50, (500, 40))
    tokens = Tokens(ids, torch.ones_like(ids, dtype=torch.bool))
    deleted = module.augment(tokens, TextViewSettings(delete=0.2), generator())
    assert abs(deleted.mask.float().mean() - 0.8) < 0.015
    masked = module.augment(tokens, TextViewSettings(mask=0.2), generator())
    assert abs((masked.ids == MASK).float().mean() - 0.2) < 0.015


def pairs(count: int = 6) -> Parts:
    images = torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=generator(2))
    return Parts(image=images, text=notes(count))


def test_each_view_of_a_pair_is_an_image_view_with_the_text() -> None:
    batch = pairs()
    (pair,) = make_views(PAIRS, WantedViews(whole=1, style="crop"))(batch, generator())
    assert pair.image.shape == (6, 3, 16, 16)
    assert pair.text is batch.text
    alone = make_views(IMAGE, WantedViews(whole=1, style="crop"))(batch.image, generator())[0]
    assert torch.equal(pair.image, alone), "the text takes no draws"
    several = make_views(PAIRS, WantedViews(whole=2, local=1, noise=4))(batch, generator())
    assert [tuple(view.image.shape[2:]) for view in several] == [(16, 16), (16, 16), (7, 7)]
    assert all(view.text is batch.text for view in several)
    assert several.about["noise"].shape == (6, 4)


def test_a_part_may_want_other_views_than_the_rest() -> None:
    words = WantedViews(whole=2, style="contrastive")
    wanted = WantedViews(whole=2, style="plain", parts={"text": words})
    first, second = make_views(PAIRS, wanted)(pairs(), generator())
    assert torch.equal(first.image, second.image)
    assert not torch.equal(first.text.ids, second.text.ids)


def test_strengths_of_a_pair_are_those_of_its_image_or_by_part() -> None:
    batch = pairs()
    grey = make_views(PAIRS, WantedViews(whole=1), settings=ImageViewSettings(grey=1.0))(
        batch, generator()
    )[0].image
    assert torch.equal(grey[:, 0], grey[:, 2])
    by_part = {"image": ImageViewSettings(grey=1.0)}
    same = make_views(PAIRS, WantedViews(whole=1), settings=by_part)(batch, generator())[0].image
    assert torch.equal(grey, same)
    with pytest.raises(UserError, match="the part 'sound'; expected one of image, text"):
        make_views(PAIRS, WantedViews(whole=1), settings={"sound": None})


def test_the_plain_view_of_a_pair_is_a_pair() -> None:
    batch = pairs()
    plain = plain_view(PAIRS)(batch)
    torch.testing.assert_close(plain.image, (batch.image / 255 - 0.5) / 0.25)
    assert plain.text is batch.text


@pytest.mark.parametrize(
    ("spec", "samples", "message"),
    [
        (TEXT, torch.zeros(2, 12), "'notes' are a Tensor: text views expect nearfar.rows.Tokens"),
        (
            PAIRS,
            torch.zeros(2, 3, 16, 16, dtype=torch.uint8),
            "'captions' are a Tensor: image.text views expect nearfar.rows.Parts",
        ),
        (
            PAIRS,
            Parts(image=torch.zeros(2, 3, 16, 16), text=[1, 2]),
            "'captions' are float32 .* uint8 tensor",
        ),
        (
            PAIRS,
            Parts(image=torch.zeros(2, 3, 16, 16, dtype=torch.uint8), text=[1, 2]),
            "'notes' are a list: text views expect",
        ),
    ],
)
def test_wrong_samples_are_named(spec: Spec, samples: Tensor, message: str) -> None:
    for make in (
        lambda: plain_view(spec)(samples),
        lambda: make_views(spec, WantedViews())(samples, generator()),
    ):
        with pytest.raises(UserError, match=message):
            make()


def test_impossible_settings_are_named() -> None:
    with pytest.raises(UserError, match=r"text view setting delete is 1\.5: expected"):
        TextViewSettings(delete=1.5)
    with pytest.raises(UserError, match="text view setting scale is"):
        TextViewSettings(scale=(0.0, 0.5))
    with pytest.raises(UserError, match="Unknown view style"):
        make_views(TEXT, WantedViews(style="none"))
