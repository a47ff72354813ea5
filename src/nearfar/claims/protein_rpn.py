"""ProteinRPN: proposals find the residues of functional sites, which gradients of the same network
without proposals do not.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from nearfar import data, networks
from nearfar.claims.claim import Claim
from nearfar.data.samples import Samples, Source
from nearfar.errors import UserError
from nearfar.evaluation.features import predicted
from nearfar.evaluation.measures.terms import term_areas
from nearfar.methods import registry
from nearfar.methods.method import Recipe
from nearfar.options import resolved_settings
from nearfar.rows import Graphs
from nearfar.training.loop import fit
from nearfar.training.plan import Plan
from nearfar.views import plain_view

PROPOSALS = "proposals"
SALIENCY = "gradients without proposals"
PATH = "proteins.parquet"
CHAINS = 120
LONGEST = 300
STEPS = 40
BATCH = 12


@cache
def proteins(path: str = "") -> Source:
    """Chains with a known site and at most 300 residues: 120 for training, and all of the test set.

    Raises:
        UserError: If the table is not in this folder.
    """
    file = Path(path or PATH)
    if not file.is_file():
        raise UserError(
            f"This claim reads {PATH}; lay that table and its .obo file into this folder."
        )
    source = data.load(file)
    assert source.test is not None
    train = _short(source.train)
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:CHAINS]
    spec = source.spec
    return Source(spec, train.subset(chosen.sort().values), _short(source.test))


def _short(samples: Samples) -> Samples:
    graphs: Graphs = samples.take(torch.arange(len(samples)))
    sites = torch.zeros(len(graphs)).index_add(0, graphs.graph, graphs.nodes["site"])
    return samples.subset(((sites > 0) & (graphs.sizes <= LONGEST)).nonzero()[:, 0])


def measure(arm: str, seed: int) -> dict[str, float]:
    """How well the importance of residues finds those of the site, and the terms' areas."""
    source = proteins()
    assert source.test is not None
    assert source.test.label is not None
    kind = registry.get("protein-rpn")
    torch.manual_seed(seed)
    encoder = networks.build("residue-gcn", source.spec, kind="nodes")
    small = kind.recipe("small")
    settings = resolved_settings(
        kind.Settings, small.settings, {"proposals": arm == PROPOSALS, "width": 32}
    )
    method = kind(encoder, source.spec, settings)
    recipe = Recipe(
        optimizer="adam",
        learning_rate=small.learning_rate,
        scale=False,
        weight_decay=0.0,
        batch_size=BATCH,
    )
    progress = fit(method, source, method.views(), Plan(recipe, steps=STEPS, seed=seed))
    if progress.step < progress.steps:
        raise KeyboardInterrupt
    found = predicted(method.eval().predict, source.test, plain_view(source.spec), batch_size=32)
    graphs: Graphs = source.test.take(torch.arange(len(source.test)))
    sizes = graphs.sizes.tolist()
    areas, precisions = [], []
    for site, value in zip(
        graphs.nodes["site"].split(sizes),
        found.residues.values.importance.split(sizes),
        strict=True,
    ):
        areas.append(float(roc_auc_score(site.numpy(), value.numpy())))
        precisions.append(float(average_precision_score(site.numpy(), value.numpy())))
    annotated = source.test.label.any(dim=1)
    macro, micro = term_areas(source.test.label[annotated], found.scores[annotated])
    return {
        "site AUC": sum(areas) / len(areas),
        "site precision": sum(precisions) / len(precisions),
        "AUPR, micro": micro,
        "AUPR, macro": macro,
    }


CLAIM = Claim(
    statement="Proposals, trained with the terms, find the residues of functional sites better "
    "than the gradients of the same network without proposals.",
    first=PROPOSALS,
    second=SALIENCY,
    metric="site AUC",
    measure=measure,
    seeds=3,
    setting="120 protein chains with a known site and at most 300 residues for training, the like "
    "of the test set for testing; residues described by kind, chemistry and packing; 40 steps of "
    "12 chains; site AUC is the mean over test chains of the ROC-AUC of the residues' importance. "
    "The paper pretrains proposals on PDBSite and uses a protein language model.",
    tuning="Width, coverage, learning rate and activation of the proposal network were chosen on "
    "the validation chains, which this claim does not use, with seed 0.",
)
