"""Several encoders of one architecture make one, which is built, saved and loaded by its name."""

from __future__ import annotations

from pathlib import Path

import torch

from nearfar import networks
from nearfar.networks.convnet import SmallConvNet
from nearfar.runs.encoder_files import load_encoder, name_of, save_encoder

from .specs import images


def test_features_are_those_of_all_parts_with_weights_of_their_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = networks.several(networks.build("small-convnet", images(1, 16, 16)), 3).eval()
    assert name_of(made) == "3*small-convnet"
    x = torch.randn(5, 1, 16, 16)
    parts = [part(x) for part in made.parts]  # type: ignore[operator, union-attr]
    assert torch.equal(made(x), torch.cat(parts, dim=1))
    assert made.dimension == 3 * parts[0].shape[1]
    assert not torch.equal(parts[0], parts[1])
    assert not torch.equal(parts[1], parts[2])
    save_encoder(made, tmp_path)
    assert torch.equal(load_encoder(tmp_path)[0](x), made(x))


def test_an_encoder_made_by_hand_is_copied_with_fresh_weights() -> None:
    one = SmallConvNet(images(1, 16, 16), widths=(4, 8))
    other = networks.fresh(one)
    assert {k: v.shape for k, v in one.state_dict().items()} == {
        k: v.shape for k, v in other.state_dict().items()
    }
    assert not torch.equal(
        one.state_dict()["layers.0.weight"], other.state_dict()["layers.0.weight"]
    )
