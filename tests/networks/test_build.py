from __future__ import annotations

import re
import subprocess
import sys

import pytest
import torch

from nearfar import networks
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.networks import catalogue
from nearfar.networks.encoder import TokenEncoder
from nearfar.networks.towers import Towers
from nearfar.rows import Parts, Tokens

from .specs import images, pairs, series, texts


@pytest.mark.parametrize(
    ("spec", "kind", "name"),
    [
        (images(3, 32, 32), "any", "small-convnet"),
        (images(3, 32, 32), "tokens", "vit-micro"),
        (series(2, 40), "any", "series-convnet"),
        (series(2, 40), "tokens", "series-transformer"),
        (texts(), "any", "text-transformer"),
        (pairs(), "towers", "small-convnet+text-transformer"),
        (pairs(), "any", "small-convnet+text-transformer"),
    ],
)
def test_the_default_and_its_name_build_the_same_encoder(spec: Spec, kind: str, name: str) -> None:
    torch.manual_seed(3)
    default = networks.build(None, spec, kind=kind)
    torch.manual_seed(3)
    named = networks.build(name, spec, kind=kind)
    assert default.architecture == named.architecture == {"name": name, "spec": spec}
    assert isinstance(default, TokenEncoder) == (kind == "tokens")
    for (key, value), (other_key, other) in zip(
        default.state_dict().items(), named.state_dict().items(), strict=True
    ):
        assert key == other_key
        assert torch.equal(value, other)


def test_towers_take_a_name_for_each_part_and_dispatch_by_type() -> None:
    towers = networks.build("resnet18", pairs(), kind="towers").eval()
    assert towers.architecture["name"] == "resnet18+text-transformer"
    assert isinstance(towers, Towers)
    assert towers.dimension == towers.part("image").dimension == 512
    tokens = Tokens(torch.randint(50, (2, 7)), torch.ones(2, 7, dtype=torch.bool))
    pictures = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(
            towers(Parts(image=pictures, text=tokens)), towers.part("image")(pictures)
        )
        assert torch.equal(towers(pictures), towers.part("image")(pictures))
        assert torch.equal(towers(tokens), towers.part("text")(tokens))


@pytest.mark.parametrize(
    ("name", "spec", "kind", "sentence"),
    [
        (
            "resnet19",
            images(3, 32, 32),
            "any",
            r"^Unknown encoder 'resnet19': did you mean resnet18",
        ),
        ("vit_micro", images(3, 32, 32), "tokens", r"did you mean vit-micro"),
        (
            "resnet18",
            series(2, 40),
            "any",
            r"^resnet18 encodes image data, but sensors holds series data; .* series-convnet, "
            r"series-p",
        ),
        (
            "timm:resnet10t",
            series(2, 40),
            "any",
            r"^timm:resnet10t encodes image data, but sensors holds series data",
        ),
        ("small-convnet+text-transformer", images(3, 32, 32), "any", r"^Unknown encoder"),
        (
            "small-convnet+text-tranformer",
            pairs(),
            "towers",
            r"^Unknown encoder 'text-tranformer': did you mean text-transformer",
        ),
        (
            "small-convnet",
            images(3, 7, 30),
            "any",
            r"^The images of pictures have 7 x 30 pixels; encoders need at least 8 a side",
        ),
        (
            None,
            texts(),
            "tokens",
            r"^There is no encoder over patches for text data; .*: image, series\.$",
        ),
        (
            None,
            images(3, 32, 32),
            "towers",
            r"^There is no set of encoders for image data; .*: several "
            r"parts, such as image\+text\.$",
        ),
        (
            None,
            images(3, 32, 32),
            "token",
            r"^Unknown kind of encoder 'token': did you mean tokens",
        ),
    ],
)
def test_a_wrong_choice_is_answered_in_one_sentence(
    name: str | None, spec: Spec, kind: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        networks.build(name, spec, kind=kind)
    assert "\n" not in str(caught.value)


def test_names_are_known_without_torch() -> None:
    code = (
        "import sys, nearfar.networks as n; n.names(); n.catalogue.default('image'); assert "
        "'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, (_, network) in catalogue.entries().items()
        if " M parameters" in network.summary
    ],
)
def test_the_summary_states_the_size(name: str) -> None:
    modality, entry = catalogue.entries()[name]
    found = re.search(r"([\d.]+) M parameters", entry.summary)
    assert found
    specs = {
        "image": images(3, 32, 32),
        "series": series(3, 100),
        "audio": Spec("sounds", "audio", (64, 100), 100),
        "video": Spec("clips", "video", (3, 8, 32, 32), 100),
        "points": Spec("objects", "points", (3, 100), 100),
        "graph": Spec("chains", "graph", (), 100, nodes={"x": 32, "residue": 1}),
    }
    with torch.device("meta"):
        encoder = networks.build(name, specs[modality])
    millions = sum(p.numel() for p in encoder.parameters()) / 1e6
    decimals = len(found[1].partition(".")[2])
    assert found[1] == f"{millions:.{decimals}f}"
