"""Whole image views: presets, probabilities, ranges, shapes, independence, determinism, errors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import v2

from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.views import ImageViewSettings, WantedViews, make_views, plain_view
from nearfar.views.image import views as module
from nearfar.views.image.settings import BYOL_FIRST, BYOL_SECOND, CONTRASTIVE, CROP, DINO_LOCAL
from nearfar.views.samples import normalise

STRONG = replace(CONTRASTIVE, rotation=30.0, solarise=0.3)


def spec(channels: int = 3, sides: tuple[int, int] = (32, 32), **extra: object) -> Spec:
    mean = tuple(0.3 + 0.1 * c for c in range(channels))
    std = tuple(0.2 + 0.05 * c for c in range(channels))
    return Spec("shapes", "image", (channels, *sides), 100, mean=mean, std=std, extra=extra)


def pixels(count: int = 16, channels: int = 3, sides: tuple[int, int] = (32, 32)) -> Tensor:
    return torch.randint(
        0, 256, (count, channels, *sides), dtype=torch.uint8, generator=generator(9)
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def settings_of(wanted: WantedViews, of: Spec) -> list[ImageViewSettings]:
    return [kind for kind, _ in module.image_views(of, wanted).kinds]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("style", ["contrastive", "asymmetric", "crop", "plain"])
@pytest.mark.parametrize("sides", [(32, 32), (80, 66)], ids=str)
def test_shapes_and_types(channels: int, style: str, sides: tuple[int, int]) -> None:
    wanted = WantedViews(whole=3, local=2, style=style, noise=7)
    views = make_views(spec(channels, sides), wanted)(pixels(5, channels, sides), generator())
    small = (round(0.43 * sides[0]), round(0.43 * sides[1]))
    assert [tuple(view.shape) for view in views] == [(5, channels, *sides)] * 3 + [
        (5, channels, *small)
    ] * 2
    noise = views.about["noise"]
    assert noise.shape == (5, 7)
    assert all(view.dtype == torch.float32 and view.isfinite().all() for view in views)
    assert 0 <= noise.min() < noise.max() < 1


def test_one_sample_is_a_batch() -> None:
    views = make_views(spec(), WantedViews(local=1, style="asymmetric"))(pixels(1), generator())
    assert [len(view) for view in views] == [1, 1, 1]


def test_the_same_generator_state_gives_the_same_views_to_the_bit() -> None:
    make = make_views(spec(sides=(80, 66)), WantedViews(local=1, noise=4), settings=STRONG)
    samples = pixels(sides=(80, 66))
    source = generator()
    first = make(samples, source)
    second = make(samples, source)
    again = make(samples, generator())
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], first[1])


def test_samples_are_not_changed() -> None:
    samples = pixels()
    before = samples.clone()
    make_views(spec(), WantedViews(), settings=STRONG)(samples, generator())
    assert torch.equal(samples, before)


def test_a_view_depends_on_its_own_sample_only() -> None:
    make = make_views(spec(), WantedViews(local=1), settings=STRONG)
    samples = pixels()
    other = samples.clone()
    other[3] = 255 - other[3]
    for before, after in zip(make(samples, generator()), make(other, generator()), strict=True):
        same = (before == after).flatten(1).all(1)
        assert same.tolist() == [row != 3 for row in range(len(samples))]


def test_samples_draw_different_parameters() -> None:
    samples = pixels(1).expand(12, -1, -1, -1)
    view = make_views(spec(), WantedViews())(samples, generator())[0]
    distances = torch.cdist(view.flatten(1), view.flatten(1)) + 1e9 * torch.eye(12)
    assert distances.min() > 1


@settings(deadline=None)
@given(
    values=st.integers(0, 2**31),
    strength=st.floats(0, 3),
    probability=st.floats(0, 1),
    rotation=st.floats(0, 180),
    channels=st.sampled_from([1, 3]),
    constant=st.sampled_from([None, 0, 255]),
)
def test_values_stay_in_the_unit_range(
    values: int,
    strength: float,
    probability: float,
    rotation: float,
    channels: int,
    constant: int | None,
) -> None:
    kind = ImageViewSettings(
        scale=(0.1, 1.0),
        flip=0.5,
        rotation=rotation,
        jitter=probability,
        brightness=strength,
        contrast=strength,
        saturation=strength,
        hue=min(0.5, strength),
        grey=probability / 2,
        blur=probability,
        solarise=probability / 2,
    )
    images = torch.randint(
        0, 256, (4, channels, 16, 12), dtype=torch.uint8, generator=generator(values)
    )
    images = images if constant is None else torch.full_like(images, constant)
    for size in ((16, 12), (7, 5)):
        view = module.augment(images, kind, size, generator(values))
        assert view.min() >= -1e-6, "interpolation weights sum to one up to rounding"
        assert view.max() <= 1 + 1e-6


@pytest.mark.parametrize("channels", [1, 3])
def test_views_that_are_made_together_are_those_made_one_by_one(channels: int) -> None:
    of = spec(channels, (16, 12))
    images = pixels(9, channels, (16, 12))
    everything = {
        "jitter": 0.8,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.4,
        "hue": 0.1,
        "grey": 0.3,
        "blur": 0.5,
        "solarise": 0.3,
    }
    kinds = (
        (ImageViewSettings(scale=(0.2, 1.0), flip=0.5, **everything), (16, 12)),
        (ImageViewSettings(flip=0.5, blur=1.0), (16, 12)),
        (ImageViewSettings(rotation=30.0, solarise=1.0), (16, 12)),
        (ImageViewSettings(scale=(0.2, 1.0), **everything), (7, 5)),
        (ImageViewSettings(), (16, 12)),
    )
    together = generator(3)
    alone = generator(3)
    for found, (kind, size) in zip(
        module.ImageViews(of, kinds)(images, together), kinds, strict=True
    ):
        assert torch.equal(found, normalise(module.augment(images, kind, size, alone), of))


def test_probability_one_is_always_and_zero_is_never() -> None:
    images = pixels(64)
    unit = images / 255
    never = module.augment(
        images, ImageViewSettings(brightness=0.5, hue=0.5), (32, 32), generator()
    )
    assert torch.equal(never, unit)
    always = {
        "flip": unit.flip(3),
        "grey": module.greyscale(unit),
        "solarise": torch.where(unit >= 0.5, 1 - unit, unit),
    }
    for name, expected in always.items():
        changed = module.augment(
            images, replace(ImageViewSettings(), **{name: 1.0}), (32, 32), generator()
        )
        assert torch.equal(changed, expected), name
    jittered = module.augment(
        images, ImageViewSettings(jitter=1.0, brightness=0.9), (32, 32), generator()
    )
    assert (jittered != unit).flatten(1).any(1).all()
    blurred = module.augment(
        images, ImageViewSettings(blur=1.0, sigma=(1.0, 2.0)), (32, 32), generator()
    )
    assert (blurred != unit).flatten(1).any(1).all()


@pytest.mark.parametrize("name", ["flip", "grey", "blur", "solarise", "jitter"])
def test_operations_happen_as_often_as_asked(name: str) -> None:
    images = pixels(2000, sides=(8, 8))
    kind = replace(ImageViewSettings(brightness=0.9, sigma=(1.0, 2.0)), **{name: 0.3})
    changed = module.augment(images, kind, (8, 8), generator()) != images / 255
    share = changed.flatten(1).any(1).float().mean()
    assert abs(share - 0.3) < 5 * (0.3 * 0.7 / 2000) ** 0.5


def test_jitter_parameters_are_distributed_as_torchvisions() -> None:
    count = 4000
    kind = ImageViewSettings(brightness=0.8, contrast=1.4, saturation=0.2, hue=0.1)
    factors, order = module._jitter_parameters(count, kind, generator())
    jitter = v2.ColorJitter(0.8, 1.4, 0.2, 0.1)
    drawn = [jitter.make_params([]) for _ in range(count)]
    names = ("brightness_factor", "contrast_factor", "saturation_factor", "hue_factor")
    expected = torch.tensor([[one[name] for name in names] for one in drawn])
    limits = torch.tensor([jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue])
    assert (factors >= limits[:, 0]).all()
    assert (factors <= limits[:, 1]).all()
    error = 5 * (2 / count) ** 0.5 * expected.std(0)
    assert ((factors.mean(0) - expected.mean(0)).abs() < error).all()
    assert ((factors.std(0) - expected.std(0)).abs() < error).all()
    assert torch.equal(order.sort(1).values, torch.arange(4).expand(count, 4))
    numbers, counts = (order * torch.tensor([64, 16, 4, 1])).sum(1).unique(return_counts=True)
    assert len(numbers) == 24
    assert (counts - count / 24).abs().max() < 5 * (count / 24) ** 0.5
    assert torch.corrcoef(factors.T).sub(torch.eye(4)).abs().max() < 5 / count**0.5


@pytest.mark.parametrize("channels", [1, 4])
def test_images_without_rgb_keep_their_channels_apart(channels: int) -> None:
    images = pixels(32, channels)
    colour = ImageViewSettings(jitter=1.0, saturation=0.9, hue=0.5, grey=1.0)
    assert torch.equal(module.augment(images, colour, (32, 32), generator()), images / 255)


def test_plain_is_the_sample_itself() -> None:
    of = spec(sides=(20, 45))
    samples = pixels(6, sides=(20, 45))
    plain = plain_view(of)(samples)
    mean = torch.tensor(of.mean).view(3, 1, 1)
    std = torch.tensor(of.std).view(3, 1, 1)
    torch.testing.assert_close(plain, (samples / 255 - mean) / std)
    views = make_views(of, WantedViews(whole=2, style="plain"))(samples, generator())
    assert torch.equal(views[0], plain)
    assert torch.equal(views[1], plain)


def test_the_whole_image_is_rotated_when_only_rotation_is_asked() -> None:
    images = torch.full((8, 1, 20, 45), 255, dtype=torch.uint8)
    turned = module.augment(images, ImageViewSettings(rotation=180.0), (20, 45), generator())
    assert (turned[:, 0, 0, 0] == 0).any()
    assert turned[:, 0, 10, 22].min() > 0.999


def test_presets_by_style_and_size() -> None:
    large = spec(sides=(224, 224))
    small = spec(sides=(64, 64))
    assert settings_of(WantedViews(), large) == [CONTRASTIVE] * 2
    assert settings_of(WantedViews(whole=3, style="asymmetric"), large) == [
        BYOL_FIRST,
        BYOL_SECOND,
        BYOL_FIRST,
    ]
    assert settings_of(WantedViews(whole=1, style="crop"), large) == [CROP]
    local = settings_of(
        WantedViews(whole=1, local=2, style="asymmetric", local_scale=(0.05, 0.2)), large
    )
    assert local == [BYOL_FIRST] + [replace(DINO_LOCAL, scale=(0.05, 0.2))] * 2
    assert settings_of(WantedViews(whole=1, whole_scale=(0.3, 0.6)), large) == [
        replace(CONTRASTIVE, scale=(0.3, 0.6))
    ]
    assert all(
        one.blur == 0 for one in settings_of(WantedViews(style="asymmetric", local=1), small)
    )
    first = settings_of(WantedViews(), small)[0]
    assert (first.brightness, first.contrast, first.saturation, first.hue) == (0.4, 0.4, 0.4, 0.1)


def test_data_without_mirror_images_are_never_flipped() -> None:
    for style in ("contrastive", "asymmetric", "crop"):
        kept = settings_of(WantedViews(style=style, local=1), spec(flip=False))
        assert [one.flip for one in kept] == [0.0] * 3
        assert all(
            one.flip == 0.5 for one in settings_of(WantedViews(style=style, local=1), spec())
        )


def test_data_to_which_bright_parts_matter_are_never_solarised() -> None:
    wanted = WantedViews(style="asymmetric")
    assert [one.solarise for one in settings_of(wanted, spec(solarise=False))] == [0.0, 0.0]
    assert [one.solarise for one in settings_of(wanted, spec())] == [0.0, 0.2]


@pytest.mark.parametrize("style", ["contrastive", "asymmetric", "crop", "plain"])
def test_no_crop_is_smaller_than_the_data_allow(style: str) -> None:
    """Whatever asks for it: the preset, the method's whole views or its local ones."""
    wanted = WantedViews(style=style, local=1, local_scale=(0.05, 0.14), further=("contrastive",))
    for one in (wanted, replace(wanted, whole_scale=(0.1, 0.9))):
        kept = [settings.scale for settings in settings_of(one, spec(crop=0.3))]
        assert kept[2] == (0.3, 0.6)
        assert all(low >= 0.3 and high >= 0.9 for low, high in (*kept[:2], kept[3]))
    assert settings_of(wanted, spec())[2].scale == (0.05, 0.14)


def test_own_settings_replace_the_presets() -> None:
    mine = ImageViewSettings(scale=(0.5, 0.7), grey=1.0)
    kinds = module.image_views(
        spec(), WantedViews(whole_scale=(0.9, 1.0), local=1, local_scale=(0.1, 0.2)), mine
    ).kinds
    assert [kind for kind, _ in kinds] == [mine, mine, replace(mine, scale=(0.1, 0.2))]
    each = [CROP, mine, CONTRASTIVE]
    assert [
        kind for kind, _ in module.image_views(spec(), WantedViews(local=1), each).kinds
    ] == each


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        (torch.zeros(2, 3, 32, 32), "float32"),
        (torch.zeros(2, 1, 32, 32, dtype=torch.uint8), r"\(2, 1, 32, 32\)"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), r"\(3, 32, 32\)"),
        ([1, 2], "a list"),
    ],
)
def test_wrong_samples_are_named(samples: object, found: str) -> None:
    for make in (
        lambda: make_views(spec(), WantedViews())(samples, generator()),
        lambda: plain_view(spec())(samples),
    ):
        with pytest.raises(
            UserError, match=rf"'shapes' are .*{found}.* uint8 tensor of shape \(N, 3, 32, 32\)"
        ):
            make()


def test_missing_statistics_are_named() -> None:
    with pytest.raises(
        UserError, match="has 0 means and 0 standard deviations: expected 3 of each"
    ):
        plain_view(replace(spec(), mean=(), std=()))(pixels())


def test_wrong_wishes_are_named() -> None:
    with pytest.raises(
        UserError, match=r"Unknown view style 'contrastiv': did you mean contrastive\?"
    ):
        make_views(spec(), WantedViews(style="contrastiv"))
    with pytest.raises(UserError, match=r"Unknown modality 'images': did you mean image"):
        make_views(replace(spec(), modality="images"), WantedViews())
    with pytest.raises(UserError, match="Unknown modality 'smells'"):
        plain_view(replace(spec(), modality="smells"))
    with pytest.raises(
        UserError,
        match="are 1 of ImageViewSettings: expected one ImageViewSettings for all views, or 3",
    ):
        make_views(spec(), WantedViews(local=1), settings=[CROP])
    with pytest.raises(UserError, match="are 1 of int: expected one ImageViewSettings"):
        make_views(spec(), WantedViews(), settings=3)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"flip": 1.2}, "flip is 1.2"),
        ({"hue": 0.6}, "hue is 0.6"),
        ({"brightness": -1.0}, "brightness is -1"),
        ({"scale": (0.5, 1.5)}, "scale is"),
        ({"scale": (0.0, 1.0)}, "scale is"),
        ({"ratio": (2.0, 1.0)}, "ratio is"),
        ({"sigma": (0.0, 1.0)}, "sigma is"),
        ({"rotation": 181.0}, "rotation is 181"),
    ],
)
def test_impossible_settings_are_named(change: dict[str, object], found: str) -> None:
    with pytest.raises(UserError, match=f"{found}.*expected"):
        ImageViewSettings(**change)  # type: ignore[arg-type]
