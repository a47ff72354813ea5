"""MAE: the authors' mask and loss, and only visible patches reach the encoder."""

from __future__ import annotations

import pytest
import torch

from nearfar import networks
from nearfar.batch import Batch
from nearfar.losses.dense.masked import masked_reconstruction
from nearfar.methods.masked.mae import MAE, random_mask

from .toys import batch_for, build, spec_of

SMALL = {"width": 48, "depth": 1, "heads": 3}


def test_reference_mask_and_loss(golden) -> None:
    case = golden("a-mae-case1")
    kept, restore, mask = random_mask(case["in_noise"], float(case["hp_mask_ratio"]))
    tokens = case["in_tokens"].gather(1, kept.unsqueeze(2).expand(-1, -1, 5))
    assert torch.equal(tokens, case["out_tokens_kept"])
    assert torch.equal(restore, case["out_ids_restore"])
    assert torch.equal(mask, case["out_mask"])
    method = build(MAE, SMALL).double()
    for normalise, suffix in ((False, ""), (True, "_norm_pix")):
        prediction = case["in_pred"].clone().requires_grad_()
        error = masked_reconstruction(
            prediction, case["out_patches"], mask, normalise=normalise, reduction="none"
        )
        loss = method.loss({"error": error, "removed": mask.sum(dim=1)})["reconstruction"]
        loss.backward()
        torch.testing.assert_close(loss.detach(), case[f"out_loss{suffix}"], rtol=1e-8, atol=0)
        torch.testing.assert_close(
            prediction.grad, case[f"out_grad_pred{suffix}"], rtol=1e-8, atol=1e-12
        )


@pytest.mark.parametrize(("length", "removed", "kept"), [(16, 0.75, 4), (10, 0.5, 5), (7, 0.9, 0)])
def test_mask_keeps_the_patches_with_the_least_noise(
    length: int, removed: float, kept: int
) -> None:
    noise = torch.rand(3, length)
    stay, restore, mask = random_mask(noise, removed)
    assert stay.shape == (3, kept)
    assert mask.sum(dim=1).tolist() == [length - kept] * 3
    for row in range(3):
        by_noise = sorted(range(length), key=lambda place: noise[row, place])
        assert stay[row].tolist() == by_noise[:kept]
        assert [by_noise[place] for place in restore[row]] == list(range(length))
        assert [place for place in range(length) if not mask[row, place]] == sorted(by_noise[:kept])


def test_removed_patches_do_not_reach_the_encoder() -> None:
    method = build(MAE, SMALL)
    batch = batch_for(method)
    _, _, mask = random_mask(batch.extra["noise"], method.settings.removed)
    seen = []
    encode = method.encoder.encode_tokens
    method.encoder.encode_tokens = lambda tokens: seen.append(tokens) or encode(tokens)
    method(batch)
    patches = method.encoder.patchify(batch.views[0])
    batch.views[0] = method.encoder.unpatchify(patches + 9 * mask.unsqueeze(2))
    method(batch)
    assert seen[0].shape[1] == method.encoder.patches - int(mask[0].sum())
    torch.testing.assert_close(seen[1], seen[0])


def test_learns_from_series_unchanged() -> None:
    spec = spec_of(MAE, modality="series")
    method = MAE(networks.build(None, spec, kind="tokens"), spec, MAE.Settings(**SMALL))
    outputs = method(
        Batch(
            [torch.randn(4, 3, 64)],
            torch.arange(4),
            extra={"noise": torch.rand(4, method.encoder.patches)},
        )
    )
    loss = method.loss(outputs)["reconstruction"]
    loss.backward()
    assert loss.isfinite()
    assert method.decoder.predict.weight.grad.any()
