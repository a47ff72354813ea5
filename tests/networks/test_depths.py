"""The order of an encoder's parameters from its input to its features."""

from __future__ import annotations

import dataclasses

import pytest
from torch import nn

from nearfar import modalities, networks
from nearfar.networks import catalogue
from nearfar.networks.encoder import Encoder
from nearfar.networks.timm_encoder import TimmEncoder


def built(name: str) -> Encoder:
    return networks.build(name, modalities.get(catalogue.entries()[name][0]).toy)


def depths(encoder: Encoder) -> list[list[str]]:
    names = {parameter: name for name, parameter in encoder.named_parameters()}
    return [[names[parameter] for parameter in depth] for depth in encoder.by_depth()]


@pytest.mark.parametrize(
    "name", [name for name in catalogue.names() if name not in ("vit-base", "scatnet45")]
)
def test_every_parameter_has_one_of_several_depths(name: str) -> None:
    encoder = built(name)
    found = depths(encoder)
    every = sorted(name for name, _ in encoder.named_parameters())
    assert sorted(name for depth in found for name in depth) == every
    assert len(found) > 1
    assert all(found)


def test_a_transformer_goes_from_its_embedding_by_its_blocks_to_its_norm() -> None:
    found = depths(built("vit-micro"))
    assert {name.partition(".")[0] for name in found[0]} == {"class_token", "embedding"}
    blocks = [sorted({".".join(name.split(".")[:3]) for name in depth}) for depth in found[1:-1]]
    assert blocks == [[f"transformer.blocks.{n}"] for n in range(len(blocks))]
    assert sorted(found[-1]) == ["transformer.norm.bias", "transformer.norm.weight"]


def test_a_residual_network_goes_from_its_stem_block_by_block() -> None:
    found = depths(built("resnet18"))
    assert found[0] == ["resnet.conv1.weight", "resnet.bn1.weight", "resnet.bn1.bias"]
    tops = [{".".join(name.split(".")[:3]) for name in depth} for depth in found[1:]]
    assert tops == [{f"resnet.layer{stage}.{block}"} for stage in (1, 2, 3, 4) for block in (0, 1)]


def test_a_timm_model_goes_as_timm_says() -> None:
    decayed = pytest.importorskip("timm.optim").param_groups_layer_decay
    spec = dataclasses.replace(modalities.get("image").toy, shape=(3, 32, 32))
    encoder = networks.build("timm:test_vit", spec)
    assert isinstance(encoder, TimmEncoder)
    found = encoder.by_depth()
    scale = {p: g["lr_scale"] for g in decayed(encoder.model, layer_decay=0.5) for p in g["params"]}
    for place, depth in enumerate(found):
        assert {scale[p] for p in depth} == {0.5 ** (len(found) - 1 - place)}


def test_encoders_side_by_side_meet_at_their_last_depths() -> None:
    spec = modalities.get("image+text").toy
    towers = networks.build("small-convnet+text-transformer", spec)
    image, text = (towers.part(name).by_depth() for name in ("image", "text"))
    found = towers.by_depth()
    assert len(found) == max(len(image), len(text))
    for back in range(1, min(len(image), len(text)) + 1):
        assert set(found[-back]) == {*image[-back], *text[-back]}


def test_a_shared_parameter_counts_once() -> None:
    class Tied(Encoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
            self.layers[1].weight = self.layers[0].weight

    assert depths(Tied()) == [["layers.0.weight", "layers.0.bias"], ["layers.1.bias"]]


@pytest.mark.parametrize(
    ("name", "modality", "count"),
    [
        ("resnet18", "image", 8),
        ("2*resnet18", "image", 16),
        ("small-convnet", "image", 0),
        ("resnet18+text-transformer", "image+text", 12),
    ],
)
def test_blocks_are_opened_in_every_encoder(name: str, modality: str, count: int) -> None:
    encoder = networks.build(name, modalities.get(modality).toy)
    blocks = encoder.opened_blocks()
    assert len(blocks) == count
    assert not any(isinstance(part, Encoder) for block in blocks for part in block.modules())
