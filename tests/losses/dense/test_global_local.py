"""Global and local contrast of medical slices: golden values and gradients, loops, errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nearfar.losses.dense.partitions import partition_alignment, partition_contrast
from nearfar.losses.dense.regions import region_contrast, region_places, volume_region_contrast
from tests.losses.cases import close, leaves, named
from tests.references import ReferenceCase

Golden = Callable[[str], ReferenceCase]
F64 = torch.float64


@pytest.mark.parametrize("name", named("e-dscl-global-*"))
def test_global_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    loss = partition_contrast if "gdminus" in name else partition_alignment
    (z,) = leaves(case, "z")
    how = {"partitions": int(case["hp_n_parts"]), "temperature": case["hp_temperature"].item()}
    released = loss(z, **how, reduction="released")
    released.backward()
    close(released, case["out_loss"])
    close(z.grad, case["out_grad_z"])
    close(loss(z, **how), case["out_loss_mean"])


@pytest.mark.parametrize("name", named("e-dscl-local-*"))
def test_local_reference(golden: Golden, name: str) -> None:
    case = golden(name)
    (maps,) = leaves(case, "feature_maps")
    weight = leaves(case, "W")[0] if "in_W" in case else None
    places, near = region_places(maps.shape[1], 3 if int(case["hp_region_is_3x3"]) else 1)
    assert torch.equal(places, case["out_positions"].long())
    assert torch.equal(near, case["out_negative_positions"].long())
    channels_first = maps.permute(0, 3, 1, 2)
    temperature = case["hp_temperature"].item()
    if "-LR-" in name:
        pair = channels_first[::2], channels_first[1::2]
        loss = region_contrast(*pair, weight, temperature=temperature)
    else:
        loss = volume_region_contrast(*channels_first.chunk(2), weight, temperature=temperature)
    loss.backward()
    close(loss, case["out_loss"])
    close(maps.grad, case["out_grad_feature_maps"])
    if weight is not None:
        close(weight.grad, case["out_grad_W"])


def pair_loss(s: Tensor, a: int, b: int, partitions: int) -> Tensor:
    others = [s[a, n] for n in range(len(s)) if n % partitions != a % partitions]
    return torch.logsumexp(torch.stack([s[a, b], *others]), dim=0) - s[a, b]


def test_the_global_losses_equal_their_loops() -> None:
    z = torch.randn(24, 4, dtype=F64)
    u = z / z.norm(dim=1, keepdim=True)
    s = u @ u.T / 0.2
    terms = []
    for r in range(8):
        for a, b in ((r, r + 8), (r, r + 16), (r + 8, r + 16)):
            terms += [pair_loss(s, a, b, 2), pair_loss(s, b, a, 2)]
    close(partition_contrast(z, partitions=2, temperature=0.2), torch.stack(terms).mean())
    terms = []
    for block in range(0, 12, 2):
        x, a, y, b = (2 * ((block + step) % 12) for step in range(4))
        for p in range(2):
            for one, two in ((x, a), (x, y), (y, b), (a, b)):
                terms += [pair_loss(s, one + p, two + p, 2), pair_loss(s, two + p, one + p, 2)]
    close(partition_alignment(z, partitions=2, temperature=0.2), torch.stack(terms).mean())


def test_all_other_regions_may_be_negatives() -> None:
    first, second = torch.randn(2, 3, 9, 9, dtype=F64), torch.randn(2, 3, 9, 9, dtype=F64)
    places, _ = region_places(9, 1)
    terms = []
    for one, two in ((first, second), (second, first)):
        for image in range(2):
            a, b = (
                torch.stack([x[image, :, r, c] for r, c in places.tolist()]) for x in (one, two)
            )
            a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
            for r in range(13):
                others = [n for n in range(13) if n != r]
                logits = torch.cat([(a[r] @ b[r])[None], a[others] @ a[r], b[others] @ a[r]]) / 0.1
                terms.append(logits.logsumexp(0) - logits[0])
    expected = torch.stack(terms).sum() / (13 * 4)
    close(region_contrast(first, second, negatives="all"), expected)


def test_wrong_inputs_get_one_sentence() -> None:
    with pytest.raises(ValueError, match="multiple of the 4 partitions"):
        partition_contrast(torch.zeros(10, 2))
    with pytest.raises(ValueError, match="'mean' and 'released'"):
        partition_alignment(torch.zeros(16, 2), reduction="sum")
    maps = torch.zeros(2, 3, 8, 8)
    with pytest.raises(ValueError, match="at least 3 volumes"):
        volume_region_contrast(maps, maps, partitions=1)
    with pytest.raises(ValueError, match=r"weight must be \(27, D\)"):
        region_contrast(maps, maps, torch.zeros(3, 2))
    with pytest.raises(ValueError, match="'near' and 'all'"):
        region_contrast(maps, maps, negatives="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="too small"):
        region_places(4, 3)
    with pytest.raises(ValueError, match="1 or 3"):
        region_places(9, 2)  # type: ignore[arg-type]
