"""The picture of a chain's residues, and the words beside it."""

from __future__ import annotations

import base64
from xml.etree import ElementTree

import torch

from nearfar import modalities
from nearfar.results.residue_pictures import residue_picture
from nearfar.results.terms import Terms
from nearfar.rows import Parts, Ragged

SVG = "{http://www.w3.org/2000/svg}"


def elements(picture: str) -> ElementTree.Element:
    kind, _, text = picture.partition(",")
    assert kind == "data:image/svg+xml;base64"
    return ElementTree.fromstring(base64.b64decode(text))


def test_the_strip_marks_each_stretch_of_the_site_where_it_lies() -> None:
    site = [True, False, True, True, False]
    found = elements(residue_picture([0.0, 0.1, 0.4, 0.2, 0.0], site))
    marks = [one for one in found.iter(f"{SVG}rect") if one.get("width") != "100%"]
    places = [(float(one.get("x", 0)), float(one.get("width", 0))) for one in marks]
    assert places == [(24.0, 58.0), (140.0, 116.0)]
    words = [one.text for one in found.iter(f"{SVG}text")]
    assert words == ["0.4", "0", "1", "5 residues", "site"]
    without = elements(residue_picture([0.0, 0.1]))
    assert "site" not in [one.text for one in without.iter(f"{SVG}text")]


def test_terms_draw_the_known_sites_of_the_samples_alone() -> None:
    graphs = modalities.toy_of(modalities.get("graph").toy, 2, torch.Generator().manual_seed(0))
    site = graphs.nodes["site"] * (graphs.graph == 1)
    graphs = graphs.with_nodes(site=site)
    residues = Ragged(Parts(importance=torch.rand(len(site))), graphs.sizes)
    found = Terms(torch.tensor([[0.25, 0.75]] * 2), ("T:1", "T:2"), ("<b>", "zinc"), residues)
    first, second = (
        [one.text for one in elements(picture).iter(f"{SVG}text")]
        for picture in found.pictures(graphs)
    )
    assert "site" not in first
    assert "site" in second
    assert found.captions() == ["zinc 0.75; <b> 0.25"] * 2
    assert Terms.telling(graphs) == [1, 0]
