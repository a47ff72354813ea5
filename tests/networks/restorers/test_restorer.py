"""Restoration networks as encoders: by name, saved and opened, of any size, and refused by kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nearfar import networks
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.networks import catalogue
from nearfar.networks.restorers.restorer import Restorer
from nearfar.rows import Parts
from nearfar.runs.encoder_files import check_input, export_encoder, load_encoder, save_encoder

SMALL = Spec("photos", "image", (3, 12, 12), 10, mean=(0.0,) * 3, std=(1.0,) * 3)
X4 = replace(SMALL, extra={"factor": 4})
PAIR = Spec(
    "photos",
    "image+image",
    (),
    10,
    parts={"degraded": X4, "clean": replace(SMALL, shape=(3, 48, 48))},
)


@pytest.mark.parametrize("name", catalogue.names_of_kind("restorer"))
def test_every_restorer_restores_and_has_features(name: str) -> None:
    enlarges = name.startswith(("srresnet", "edsr"))
    spec = X4 if enlarges else SMALL
    with torch.device("meta"):
        encoder = networks.build(name, spec)
        x = torch.zeros(2, 3, 8, 10)
        assert isinstance(encoder, Restorer)
        factor = 4 if enlarges else 1
        assert encoder.restore(x).shape == (2, 3, 8 * factor, 10 * factor)
        assert encoder(x).shape == (2, encoder.dimension)
        assert encoder.feature_map(x).shape[1] == encoder.map_dimension


def test_of_several_parts_the_first_is_taken(tmp_path: Path) -> None:
    encoder = networks.build("srresnet-small", PAIR, kind="restorer").eval()
    assert isinstance(encoder, Restorer)
    assert encoder.architecture["spec"] == X4
    x = torch.rand(2, 3, 6, 6)
    both = Parts(degraded=x, clean=torch.rand(2, 3, 24, 24))
    assert torch.equal(encoder(both), encoder(x))
    save_encoder(encoder, tmp_path)
    opened, _ = load_encoder(tmp_path)
    assert isinstance(opened, Restorer)
    assert torch.equal(opened.restore(x), encoder.restore(x))
    check_input(opened, PAIR)
    check_input(opened, replace(X4, shape=(3, 70, 99)))
    with pytest.raises(UserError, match="shape"):
        check_input(opened, replace(X4, shape=(1, 12, 12)))


def test_a_restorer_is_exported_as_encoders_are(tmp_path: Path) -> None:
    encoder = networks.build("srresnet-small", X4).eval()
    told: list[str] = []
    export_encoder(encoder, tmp_path / "restorer.pt2", "torch", tell=told.append)
    assert "differ" in told[0]


def test_the_default_is_the_modalitys() -> None:
    encoder = networks.build(None, PAIR, kind="restorer")
    assert getattr(encoder, "architecture")["name"] == "srresnet-small"  # noqa: B009


@pytest.mark.parametrize(
    ("name", "spec", "kind", "sentence"),
    [
        ("nafnet", X4, "any", "keeps the size of images"),
        ("resnet18", SMALL, "restorer", "no encoder of the kind restorer"),
        ("srresnet", PAIR, "towers", "takes one part"),
        ("srresnet", SMALL, "painter", "painter"),
        (None, Spec("s", "series", (3, 64), 10), "restorer", "encoder of the kind restorer"),
    ],
)
def test_what_does_not_fit_is_refused(
    name: str | None, spec: Spec, kind: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        networks.build(name, spec, kind=kind)
