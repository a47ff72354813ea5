"""Groups, episodes and corruptions: as protocols, and what they are made of."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy
from torchvision.transforms.v2.functional import gaussian_blur

from nearfar.data.samples import Source
from nearfar.errors import UserError
from nearfar.evaluation import Wanted, evaluate
from nearfar.evaluation.features import Labelled, extract
from nearfar.evaluation.probes.linear import linear_probes
from nearfar.evaluation.trust.corruptions import STRENGTHS, corrupted
from nearfar.evaluation.trust.fairness import groups
from nearfar.views import plain_view

from .toys import Flatten, image_source


def grouped(test: int = 60) -> Source:
    """Bars of two devices; those of the second are mostly noise in the test set."""
    source = image_source(train=90, test=test)
    assert source.test is not None
    device = torch.arange(test) % 2
    source.test.content[device == 1] = torch.randint(
        0, 255, (int((device == 1).sum()), 1, 8, 8), dtype=torch.uint8
    )
    parts = [
        dataclasses.replace(s, group={"device": g})
        for s, g in ((source.train, torch.arange(90) % 2), (source.test, device))
    ]
    return Source(source.spec, *parts, members={"device": ("good", "poor")})


def test_the_worst_group_and_the_gap_equal_torchmetrics() -> None:
    source = grouped()
    view = plain_view(source.spec)
    found = evaluate(Flatten().eval(), source, view, wanted=Wanted(("fairness",), seeds=1))
    assert source.test is not None
    train, test = (
        Labelled(extract(Flatten().eval(), s, view), s.label, 3)
        for s in (source.train, source.test)
    )  # type: ignore[arg-type]
    predicted = linear_probes(train)[0].model(test.features).argmax(dim=1)
    accuracy = [
        float(MulticlassAccuracy(3, average="micro")(predicted[g::2], test.labels[g::2]))
        for g in (0, 1)
    ]
    worst = found.score("worst device: accuracy")
    gap = found.score("gap between best and worst device")
    assert worst.value == pytest.approx(min(accuracy))
    assert gap.value == pytest.approx(max(accuracy) - min(accuracy))
    assert gap.value > 0.3
    assert worst.low < worst.value < worst.high
    assert gap.low < gap.value < gap.high
    assert (worst.setting, worst.count) == ("poor, of 2", 30)


def test_small_groups_are_not_judged() -> None:
    right = torch.tensor([1.0, 0.0]).repeat(20)
    group = torch.tensor([0] * 20 + [1] * 15 + [2] * 5)
    found = groups(right, group)
    assert found is not None
    assert found.judged == 2
    assert groups(right, torch.tensor([0] * 35 + [1] * 5)) is None
    with pytest.raises(
        UserError,
        match=r"'fairness' needs a group column \(--group\) with two groups of 10 test samples",
    ):
        evaluate(
            Flatten().eval(), grouped(18), plain_view(grouped().spec), wanted=Wanted(("fairness",))
        )


def test_newcombes_interval() -> None:
    """The first example of Newcombe 1998, method 10: 56/70 against 48/80."""
    right = torch.tensor([1.0] * 56 + [0.0] * 14 + [1.0] * 48 + [0.0] * 32)
    found = groups(right, torch.tensor([0] * 70 + [1] * 80))
    assert found is not None
    assert (found.gap.low, found.gap.value, found.gap.high) == pytest.approx(
        (0.0524, 0.2, 0.3339), abs=2e-4
    )


def test_episodes_of_all_classes_where_there_are_fewer_than_five() -> None:
    source = image_source()
    found = evaluate(
        Flatten().eval(), source, plain_view(source.spec), wanted=Wanted(("few-shot",), seeds=1)
    )
    assert found.metrics() == ["3-way 1-shot accuracy", "3-way 5-shot accuracy"]
    one, five = (found.score(metric) for metric in found.metrics())
    assert 1 / 3 < one.value <= five.value
    assert (one.over, one.count, one.setting, five.setting) == (
        "episodes",
        600,
        "9 queries",
        "5 queries",
    )


@pytest.mark.parametrize("kind", STRENGTHS)
@pytest.mark.parametrize("shape", [(5, 1, 32, 32), (3, 3, 48, 40)])
def test_corruption_grows_with_strength_and_keeps_shape_and_order(
    kind: str, shape: tuple[int, ...]
) -> None:
    coarse = torch.rand(*shape[:2], 7, 7) * 255  # pictures, not noise: neighbours are alike
    images = F.interpolate(coarse, shape[2:], mode="bicubic").clamp(0, 255).to(torch.uint8)
    found = [
        corrupted(images, kind, strength, torch.Generator().manual_seed(1))
        for strength in range(1, 6)
    ]
    damage = [float((one.float() - images.float()).abs().mean()) for one in found]
    assert all(one.shape == images.shape and one.dtype == torch.uint8 for one in found)
    assert damage[4] > damage[2] > damage[0] >= 0
    assert damage[4] > 1
    again = corrupted(images, kind, 5, torch.Generator().manual_seed(1))
    assert torch.equal(again, found[4])
    if kind != "noise":
        alone = torch.cat([corrupted(one[None], kind, 3, torch.Generator()) for one in images])
        assert torch.equal(alone, found[2]), "an image does not depend on its batch"


def test_what_each_corruption_does() -> None:
    flat = torch.full((2, 3, 32, 32), 120, dtype=torch.uint8)
    for kind in ("blur", "contrast", "pixelate", "JPEG"):
        assert (corrupted(flat, kind, 5, torch.Generator()).float() - 120).abs().max() <= (
            8 if kind == "JPEG" else 0
        ), kind
    noise = corrupted(flat, "noise", 1, torch.Generator().manual_seed(0)).float()
    assert float(noise.std()) == pytest.approx(0.04 * 255, rel=0.05)
    images = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8)
    blurred = gaussian_blur(images.float(), [7, 7], [0.96, 0.96]).round().to(torch.uint8)
    assert torch.equal(corrupted(images, "blur", 3, torch.Generator()), blurred)
    spread = (
        corrupted(images, "contrast", 2, torch.Generator()).float().std() / images.float().std()
    )
    assert float(spread) == pytest.approx(0.5, abs=0.02)
    blocks = corrupted(images, "pixelate", 3, torch.Generator())
    assert torch.equal(blocks[:, :, ::2, ::2], blocks[:, :, 1::2, 1::2])


def test_corruptions_refuse_what_they_do_not_know() -> None:
    images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(UserError, match="Unknown corruption 'jpeg'"):
        corrupted(images, "jpeg", 1, torch.Generator())
    with pytest.raises(UserError, match="strength of a corruption is 6; expected 1 to 5"):
        corrupted(images, "blur", 6, torch.Generator())
    with pytest.raises(UserError, match="expected uint8"):
        corrupted(images.float(), "blur", 1, torch.Generator())


def test_robustness_is_measured_against_clean_images() -> None:
    source = image_source()
    found = evaluate(
        Flatten().eval(), source, plain_view(source.spec), wanted=Wanted(("robustness",), seeds=1)
    )
    kinds = [found.value(f"error under {kind}") for kind in STRENGTHS]
    assert found.value("mean corruption error") == pytest.approx(sum(kinds) / 5)
    over = found.value("mean corruption error") - found.value("error on clean images")
    assert found.value("mean corruption error over clean") == pytest.approx(over)
    linear = evaluate(
        Flatten().eval(), source, plain_view(source.spec), wanted=Wanted(("linear",), seeds=1)
    )
    assert found.value("error on clean images") == pytest.approx(
        1 - linear.value("linear accuracy")
    )
    assert found.rows() == ["trained", "raw input", "simple features"]
