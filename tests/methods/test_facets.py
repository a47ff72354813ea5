"""Every method has one leaf of the tree and its facets; they can be asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nearfar.errors import UserError
from nearfar.methods import registry
from nearfar.methods.facets import TREE, Facets, conditions, facets_in, meets


@pytest.mark.parametrize("name", registry.names())
def test_every_method_states_its_facets_once(name: str) -> None:
    text = registry.path_of(name).read_text(encoding="utf-8")
    kind = registry.get(name)
    assert kind.facets is not None
    assert facets_in(text) == kind.facets
    assert text.count("Facets(") == 1
    assert kind.facets.leaf in TREE
    assert (kind.facets.labels == "some") == kind.needs_labels or name == "sepclr"


def test_every_leaf_has_its_branch() -> None:
    for leaf in TREE:
        above = leaf.rpartition(".")[0]
        assert not above or above in TREE


def test_methods_are_found_by_what_they_are() -> None:
    wanted = conditions("teacher=ema,leaf=contrastive")
    found = {
        name
        for name in registry.names()
        if (facets := registry.get(name).facets) is not None and meets(facets, wanted)
    }
    assert {"moco-v2", "moco-v3", "pixpro"} <= found
    assert not {"simclr", "byol", "dino"} & found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("teacher", "expected facet=value"),
        ("teach=ema", "Unknown facet 'teach': did you mean teacher"),
        ("teacher=emma", "Unknown teacher 'emma': did you mean ema"),
        ("leaf=contrast", "Unknown leaf 'contrast'"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        conditions(text)


def test_facets_outside_the_lists_are_refused() -> None:
    with pytest.raises(UserError, match="Unknown guard 'luck'"):
        Facets("hybrid", guard="luck")


@pytest.mark.parametrize("words", [["--tree"], ["--table"], ["--where", "masking=random"]])
def test_the_lists_are_printed_without_torch(words: list[str]) -> None:
    code = (
        "import sys; from nearfar.cli import main; "
        f"code = main(['methods', *{words!r}]); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "mae" in done.stdout
    assert ("simclr" in done.stdout) == ("--where" not in words)
