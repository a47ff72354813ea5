"""Encoders of sound, clips and points: shapes, gradients, files, and what each must not depend
on.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nearfar import networks
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.runs.encoder_files import export_encoder, load_encoder

AUDIO = Spec("sounds", "audio", (64, 40), 100, mean=(-4.0,) * 64, std=(2.0,) * 64)
VIDEO = Spec("clips", "video", (3, 4, 16, 16), 100, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))
POINTS = Spec("objects", "points", (3, 64), 100, mean=(0.0, 0.0, 1.0), std=(2.0, 2.0, 1.0))
SPECS = [AUDIO, VIDEO, POINTS]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.modality)
def test_shapes_gradients_and_files(spec: Spec, tmp_path: Path) -> None:
    encoder = networks.build(None, spec)
    x = torch.randn(5, *spec.shape)
    local = x[..., :7] if spec.modality != "video" else x[..., :7, :7]
    features = encoder(x)
    assert features.shape == encoder(local).shape == (5, encoder.dimension)
    features.square().sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
    export_encoder(encoder.eval(), tmp_path / "saved")
    assert torch.equal(load_encoder(tmp_path / "saved")[0](x), encoder(x))
    with pytest.raises(UserError, match=f"no encoder over patches for {spec.modality} data"):
        networks.build(None, spec, kind="tokens")


@torch.no_grad()
def test_points_have_no_order_and_count_once() -> None:
    encoder = networks.build(None, POINTS).eval()
    x = torch.randn(2, 3, 64)
    shuffled = x[:, :, torch.randperm(64)]
    torch.testing.assert_close(encoder(shuffled), encoder(x))
    torch.testing.assert_close(encoder(torch.cat([x, x[:, :, :9]], dim=2)), encoder(x))


@torch.no_grad()
def test_a_still_clip_has_no_change_and_a_moving_one_has() -> None:
    encoder = networks.build(None, VIDEO).eval()
    moving = torch.randn(2, 3, 4, 16, 16)
    still = moving[:, :, :1].expand(-1, -1, 4, -1, -1)
    half = encoder.dimension // 2
    assert float(encoder(still)[:, half:].abs().max()) < 1e-5
    assert float(encoder(moving)[:, half:].abs().max()) > 1e-3
    torch.testing.assert_close(encoder(still)[:, :half], encoder(still[:, :, :1])[:, :half])
