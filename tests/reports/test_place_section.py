"""Pictures of what an encoder tells apart within an image."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nearfar
from nearfar.networks.places import places_of
from nearfar.reports.look import Look
from nearfar.reports.pictures.place_section import in_colours, places
from nearfar.views import plain_view


def look_at(folder: Path, encoder: str) -> Look:
    halves = torch.randint(
        0, 60, (24, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    halves[:, 0, :, 8:] += 180
    run = nearfar.pretrain(
        "simclr",
        data=halves,
        encoder=encoder,
        steps=1,
        batch_size=8,
        evaluate=False,
        quiet=True,
        precision="float32",
        output=folder,
    )
    return Look(run, run.source())


def _pixels(picture: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))))


def test_colours_are_the_components_of_all_places_stretched() -> None:
    generator = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    strengths = torch.tensor([9.0, 3.0, 1.0, 0.01, 0.01, 0.01])
    hidden = torch.randn(5 * 16, 6, generator=generator) * strengths
    maps = (hidden @ directions).view(5, 4, 4, 6).movedim(-1, 1)
    found = in_colours(maps)
    assert found.shape == (5, 3, 4, 4)
    assert found.dtype == torch.uint8
    columns = found.movedim(1, -1).reshape(-1, 3).double()
    for number in range(3):
        likeness = torch.corrcoef(torch.stack([columns[:, number], hidden[:, number].double()]))
        assert abs(float(likeness[0, 1])) > 0.95
    assert int(columns.amin()) == 0
    assert int(columns.amax()) == 255
    narrow = in_colours(maps[:, :2])
    assert int(narrow[:, 2].max()) == 0


@pytest.mark.parametrize("encoder", ["small-convnet", "vit-micro"])
def test_each_image_stands_beside_its_places(encoder: str, tmp_path: Path) -> None:
    look = look_at(tmp_path / "run", encoder)
    section = places(look)
    assert section is not None
    found = re.findall(r'src="(data:image/png[^"]+)"', section.body)
    kinds = 3 if encoder == "vit-micro" else 2
    shown = min(8, len(look.shown))
    assert len(found) == kinds * shown
    assert ("Attention is that of the class token" in section.body) == (kinds == 3)
    network = look.run.encoder()
    plain = plain_view(look.source.spec)(look.shown.take(torch.arange(shown)))
    function = places_of(network, plain[:1])
    assert function is not None
    with torch.no_grad():
        expected = in_colours(function(plain).float())
    assert np.array_equal(_pixels(found[1]), expected[0].permute(1, 2, 0).numpy())


def test_where_there_are_no_places_there_is_no_section(tmp_path: Path) -> None:
    look = look_at(tmp_path / "run", "perceptron")
    assert places(look) is None
