"""Text views against a loop over tokens; image-text pairs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nearfar.batch import Pair, Tokens
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.views import ImageViewSettings, TextViewSettings, WantedViews, make_views, plain_view
from nearfar.views import text as module
from nearfar.views.text import END, MASK, PADDING, START

TEXT = Spec("notes", "text", (12,), 100, vocabulary=50, context=12)
PAIRS = Spec(
    "captions",
    "image-text",
    (3, 16, 16),
    100,
    mean=(0.5,) * 3,
    std=(0.25,) * 3,
    vocabulary=50,
    context=12,
)


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
    make = make_views(TEXT, WantedViews(local=1, style=style, mask=True), patches=3)
    views = make(notes(), generator())
    again = make(notes(), generator())
    assert len(views) == 4
    for view, same in zip(views[:3], again[:3], strict=True):
        assert view.ids.shape == (40, 12)
        assert view.ids.dtype == torch.int64
        assert_well_formed(view)
        assert torch.equal(view.ids, same.ids)
        assert torch.equal(view.mask, same.mask)
    assert views[3].shape == (40, 3)
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


def pairs(count: int = 6) -> Pair:
    return Pair(
        torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=generator(2)),
        notes(count),
    )


def test_pairs_give_image_views_then_the_text() -> None:
    batch = pairs()
    image, tokens = make_views(PAIRS, WantedViews(whole=1, style="crop"))(batch, generator())
    assert image.shape == (6, 3, 16, 16)
    assert tokens is batch.second
    several = make_views(PAIRS, WantedViews(whole=2, local=1, mask=True), patches=4)(
        batch, generator()
    )
    assert [type(view).__name__ for view in several] == [
        "Tensor",
        "Tensor",
        "Tensor",
        "Tokens",
        "Tensor",
    ]
    assert several[-1].shape == (6, 4)
    grey = make_views(PAIRS, WantedViews(whole=1), settings=ImageViewSettings(grey=1.0))(
        batch, generator()
    )[0]
    assert torch.equal(grey[:, 0], grey[:, 2])


def test_the_plain_view_of_a_pair_is_a_pair() -> None:
    batch = pairs()
    plain = plain_view(PAIRS)(batch)
    torch.testing.assert_close(plain.first, (batch.first / 255 - 0.5) / 0.25)
    assert plain.second is batch.second


@pytest.mark.parametrize(
    ("spec", "samples", "message"),
    [
        (TEXT, torch.zeros(2, 12), "'notes' are a Tensor: text views expect nearfar.batch.Tokens"),
        (
            PAIRS,
            torch.zeros(2, 3, 16, 16, dtype=torch.uint8),
            "'captions' are a Tensor: image-text views expect nearfar.batch.Pair",
        ),
        (PAIRS, Pair(torch.zeros(2, 3, 16, 16), None), "'captions' are float32 .* uint8 tensor"),
        (
            PAIRS,
            Pair(torch.zeros(2, 3, 16, 16, dtype=torch.uint8), [1, 2]),
            "'captions' are a list: text views expect",
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
