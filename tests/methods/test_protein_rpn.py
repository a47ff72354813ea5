"""ProteinRPN: what it may not see, what it predicts, which data it refuses."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from nearfar import modalities, networks
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.methods.graphs.protein_rpn import ProteinRPN
from nearfar.methods.supervised.supcon import SupCon
from nearfar.rows import Graphs
from nearfar.testing.toys import spec_for, toy, toy_encoder


def evaluated(**settings: Any) -> tuple[ProteinRPN, Graphs]:
    method, batch = toy(ProteinRPN, settings=settings)
    assert isinstance(method, ProteinRPN)
    return method.eval(), batch.views[0]


@pytest.mark.parametrize("proposals", [True, False])
def test_what_is_predicted_does_not_depend_on_the_known_site(proposals: bool) -> None:
    method, graphs = evaluated(proposals=proposals)
    other = graphs.with_nodes(site=1 - graphs.nodes["site"])
    before, after = method.predict(graphs), method.predict(other)
    assert torch.equal(before.scores, after.scores)
    assert before.residues is not None
    assert after.residues is not None
    assert torch.equal(before.residues.values.importance, after.residues.values.importance)
    assert torch.equal(method.encode(graphs), method.encode(other))


@pytest.mark.parametrize("proposals", [True, False])
def test_a_protein_alone_is_predicted_as_beside_others(proposals: bool) -> None:
    method, graphs = evaluated(proposals=proposals)
    whole = method.predict(graphs)
    alone = method.predict(graphs[3:4])
    assert whole.residues is not None
    assert alone.residues is not None
    assert_close(alone.scores, whole.scores[3:4])
    assert_close(alone.residues.values.importance, whole.residues[3:4].values.importance)


def test_a_broader_term_is_at_least_as_likely_as_its_narrower_terms() -> None:
    spec = dataclasses.replace(spec_for(ProteinRPN), extra={"above": [[0], [0, 1], [0, 1, 2]]})
    method = ProteinRPN(toy_encoder(spec, "nodes"), spec).eval()
    graphs = modalities.toy_of(spec, 6, torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores = method.predict(graphs).scores
        raw = method.head(method.encode(graphs)).sigmoid()
    assert bool((scores[:, 0] >= scores[:, 1]).all())
    assert bool((scores[:, 1] >= scores[:, 2]).all())
    assert torch.equal(scores[:, 2], raw[:, 2])
    assert_close(scores[:, 0], raw.amax(dim=1))


def test_proteins_without_a_term_or_a_site_teach_nothing_of_them() -> None:
    method, batch = toy(ProteinRPN)
    assert batch.label is not None
    batch.label = torch.zeros_like(batch.label)
    batch.views = [batch.views[0].with_nodes(site=torch.zeros_like(batch.views[0].nodes["site"]))]
    terms = method.loss(method(batch))
    for name in ("terms", "anchors", "members", "supcon"):
        assert float(terms[name].detach()) == 0
    assert float(terms["info_nce"].detach()) > 0


def test_the_small_recipe_proposes_the_site_of_the_toys_it_learns() -> None:
    """After some steps the importance of residues orders those of known sites before others."""
    method, batch = toy(ProteinRPN)
    assert isinstance(method, ProteinRPN)
    graphs = batch.views[0]
    site = (graphs.nodes["x"][:, 0] > 0).double()  # a site that can be seen
    batch.views = [graphs.with_nodes(site=site)]

    def gap() -> float:
        method.eval()
        with torch.no_grad():
            found = method.predict(batch.views[0]).residues
        method.train()
        assert found is not None
        importance = found.values.importance
        return float(importance[site > 0].mean() - importance[site == 0].mean())

    before = gap()
    optimizer = torch.optim.Adam(method.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        torch.stack(list(method.loss(method(batch)).values())).sum().backward()
        optimizer.step()
    assert gap() > before + 0.1


def test_labels_of_another_kind_are_refused() -> None:
    one_class = modalities.get("graph").toy
    with pytest.raises(UserError, match="protein-rpn needs several classes a sample"):
        ProteinRPN(toy_encoder(one_class, "nodes"), one_class)
    several = dataclasses.replace(modalities.get("image").toy, target="classes")
    with pytest.raises(UserError, match="supcon needs one class a sample"):
        SupCon(toy_encoder(several), several)


def test_graphs_that_are_no_proteins_are_refused() -> None:
    spec = Spec("molecules", "graph", (), 4, classes=("a",), target="classes", nodes={"x": 3})
    with pytest.raises(UserError, match="no residues; expected graphs of proteins"):
        networks.build(None, spec, kind="nodes")


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for a program's own peak")
def test_a_long_chain_takes_little_memory() -> None:
    """A chain of 600 residues as proteins fold: training steps stay under 1.5 GB in all.

    The peak is the new program's own; what getrusage tells includes that of the one that began it.
    """
    script = """
from pathlib import Path
import numpy as np, torch
from nearfar import networks
from nearfar.data.content.proteins.chains import Chains
from nearfar.data.content.proteins.residues import Chain
from nearfar.data.options import DataOptions
from nearfar.data.spec import Spec
from nearfar.batch import Batch
from nearfar.methods.graphs.protein_rpn import ProteinRPN
torch.manual_seed(0)
random = np.random.default_rng(0)
side = np.array([[x, y, z] for x in range(9) for y in range(9) for z in range(9)][:600])
ca = (5.2 * side + random.normal(scale=0.5, size=(600, 3))).astype(np.float32)
words = np.array(['-'] * 600)
chain = Chain('a', random.integers(0, 20, 600), np.arange(600), np.array([''] * 600), ca, ca,
              ca + 1, words)
site = (np.linalg.norm(ca - ca[300], axis=1) < 10).astype(np.float32)
graphs = Chains([chain] * 2, [site] * 2).load(np.array([0, 1]), DataOptions(), None).content
spec = Spec('p', 'graph', (), 2, classes=('a', 'b'), target='classes',
            nodes={'x': 32, 'residue': 1})
encoder = networks.build('residue-gcn-512', spec, kind='nodes')
method = ProteinRPN(encoder, spec).train()
batch = Batch([graphs[:1]], torch.arange(1), torch.ones(1, 2, dtype=torch.bool))
batch = method.prepare(batch, torch.Generator().manual_seed(0))
torch.stack(list(method.loss(method(batch)).values())).sum().backward()
method.eval().predict(graphs[:1])
print(int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]) / 2**20)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 1.5
