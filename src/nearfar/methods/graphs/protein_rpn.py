"""ProteinRPN: every residue's neighbourhood is proposed as a functional site, and what is proposed
weighs more where the protein is read out.

An anchor is the graph of a few hops around a residue. Anchors are scored, and their members kept or
dropped by cone attention. Functional residues then pass messages in full and all others by half.
The read-out of the graph is contrasted with its perturbed self and with proteins that share terms.

    loss = BCE(terms) + BCE(anchors) + BCE(members of functional anchors)
            + w InfoNCE(clean, perturbed) + w SupCon(shared terms)
Source: ProteinRPN 2024; trunk and perturbation as HEAL (Gu et al. 2023), cone attention Tseng et
al. 2023.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.losses.graphs.terms import branch_entropy, shared_terms
from nearfar.losses.instance.contrastive import nt_xent
from nearfar.losses.labels.masked_supcon import masked_supcon
from nearfar.methods.method import (
    Batch,
    Encoder,
    Facets,
    Method,
    Outputs,
    Paper,
    Recipe,
    Spec,
    WantedViews,
)
from nearfar.networks.graphs.attention import FunctionalAttention
from nearfar.networks.graphs.edges import Spread, spread_of
from nearfar.networks.graphs.multiset import MultisetPooling
from nearfar.networks.graphs.proposals import Proposals, Proposed
from nearfar.networks.graphs.residue_encoder import ResidueEncoder, draws_like
from nearfar.networks.graphs.saliency import saliency
from nearfar.networks.graphs.term_head import TermHead
from nearfar.ranges import above, at_least, unit_interval, whole_number
from nearfar.results.terms import Terms
from nearfar.rows import Graphs, Parts, Ragged


class ProteinRPN(Method):
    """One residue graph, graph convolutions, proposals and a multiset read-out, terms and sites as
    targets, cross-entropy and two contrasts.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of ProteinRPN.

        Attributes:
            proposals: whether neighbourhoods are proposed; without, all residues count alike.
            hops: radius of an anchor.
            reach: angstrom between centroids within which residues are one hop apart.
            coverage: share of a site that an anchor must hold to be functional.
            activation: whether ReLU stands between the proposal network's layers.
            own: whether a residue's own values also pass by the proposal network's neighbourhood
                means.
            proposal_rate: learning rate of the proposal network, times that of all else.
            keep: share of an anchor's members that stays.
            width: of the proposal network's context.
            attention: width of queries and keys of the cone attention.
            threshold: probability from which an anchor, or a member, is functional.
            noise: length of the perturbation of each layer.
            contrast: w, the weight of both contrasts.
            temperature: of both contrasts.
            seeds: learned seeds of the first block of the read-out.
            heads: of the read-out; divides half of the encoder's width.
            dropout: before the last layer.
        """

        proposals: bool = True
        hops: Annotated[int, whole_number(1, 4)] = 2
        reach: Annotated[float, above(0)] = 6.9
        coverage: Annotated[float, unit_interval(zero=False)] = 0.7
        activation: bool = False
        own: bool = False
        proposal_rate: Annotated[float, above(0)] = 10.0
        keep: Annotated[float, unit_interval(zero=False)] = 0.5
        width: Annotated[int, whole_number()] = 256
        attention: Annotated[int, whole_number(2)] = 64
        threshold: Annotated[float, unit_interval()] = 0.5
        noise: Annotated[float, above(0)] = 0.1
        contrast: Annotated[float, at_least(0)] = 0.05
        temperature: Annotated[float, above(0)] = 0.1
        seeds: Annotated[int, whole_number()] = 50
        heads: Annotated[int, whole_number()] = 8
        dropout: Annotated[float, unit_interval(one=False)] = 0.2

    paper = Paper(
        title="ProteinRPN: Towards Accurate Protein Function Prediction with Graph-Based Region "
        "Proposals",
        authors="Mitra, Huang, Kellis",
        year=2024,
        arxiv="2409.00610",
        departures=(
            "The node drop and the supervised contrast follow the abstract; the released code "
            "keeps every node, and neither trains nor loads its proposals.",
            "Proposals are trained together with the terms; the paper trains them before, on "
            "PDBSite.",
            "The second block of the read-out attends to the first one's output, and padding is "
            "masked in every block; HEAL's code does neither.",
            "The flag of the sender scales a message; that of the receiver, as in the released "
            "code, changes little.",
            "A score follows from the scores of narrower terms (the true path rule) in what is "
            "predicted, not in the loss.",
        ),
    )
    facets = Facets("hybrid", level="node", target="pair-label", labels="some")
    recipes = {
        "paper": Recipe(
            optimizer="adam:beta1=0.95,beta2=0.95",
            learning_rate=1e-4,
            scale=False,
            schedule="constant",
            weight_decay=0.0,
            batch_size=32,
            epochs=100,
            warmup=0.0,
        ),
        "small": Recipe(
            settings={
                "width": 64,
                "attention": 8,
                "activation": True,
                "own": True,
                "coverage": 0.15,
                "seeds": 16,
            },
            optimizer="adam",
            learning_rate=1e-3,
            scale=False,
            weight_decay=0.0,
            batch_size=8,
            epochs=6,
        ),
    }
    modalities = ("graph",)
    encoder_kind = "nodes"
    needs_labels = True
    label_kind = "classes"
    predicts = Terms
    wanted_views = WantedViews(whole=1, style="plain")
    choices = {
        "views": "the graph, and noise in each layer of the encoder",
        "encoder": "residual graph convolutions over residues whose messages proposals weigh",
        "head": "multiset read-out, then two layers",
        "target": "terms and sites; the perturbed graph and graphs with a term in common",
        "loss": "cross-entropies, NT-Xent, supervised contrast",
    }

    encoder: ResidueEncoder

    waits = "Which links the members of an anchor share is found on the device, and counted."

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        if not isinstance(encoder, ResidueEncoder) or "x" not in spec.nodes:
            raise UserError(
                f"protein-rpn perturbs the layers of a network over residues; found "
                f"{type(encoder).__name__} on {spec.name}: choose protein data and residue-gcn."
            )
        s = self.settings
        features = spec.nodes["x"]
        width = encoder.dimension
        if s.proposals:
            self.proposals = Proposals(
                features,
                s.width,
                hops=s.hops,
                keep=s.keep,
                attention=s.attention,
                activation=s.activation,
                own=s.own,
            )
        self.attention = FunctionalAttention(features)
        self.pool = MultisetPooling(width, seeds=(s.seeds, 1), heads=s.heads)
        self.head = TermHead(width, spec, s.dropout)

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw dropout and noise of both passes here, so that several processes, resumed runs and
        the gradient cache agree.
        """
        (graphs,) = batch.views
        passes = [draws_like(self.encoder, graphs, generator) for _ in range(2)]
        of_head = torch.rand(len(batch), self.head.last.in_features, generator=generator)
        return replace(
            batch,
            views=[graphs.with_nodes(draws=torch.stack(passes, dim=1))],
            extra={**batch.extra, "head": of_head.to(passes[0])},
        )

    def forward(self, batch: Batch) -> Outputs:
        (graphs,) = batch.views
        found = self._proposed(graphs)
        x = self._attended(graphs, found)
        whole = spread_of(graphs.edges, x)
        first, second = graphs.nodes["draws"].unbind(dim=1)
        clean = self._read(graphs, x, whole, first)
        noisy = self._read(graphs, x, whole, second, self.settings.noise)
        logits = self.head(clean, batch.extra["head"])
        outputs = {"clean": clean, "noisy": noisy, "logits": logits, "terms": batch.label}
        if found is None:
            return outputs
        site = graphs.nodes["site"][:, None].bool()
        return {**outputs, **found.losses(site, coverage=self.settings.coverage)}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        s = self.settings
        logits = outputs["logits"]
        terms = outputs["terms"].to(logits)
        found = {"terms": branch_entropy(logits, terms, self.head.branches)}
        for name in ("anchors", "members") if s.proposals else ():
            total, count = outputs[name].unbind(dim=1)
            found[name] = total.sum() / count.sum().clamp(min=1)
        both = torch.cat([outputs["clean"], outputs["noisy"]])
        shared = shared_terms(terms).repeat(2, 2)
        contrast = nt_xent(outputs["clean"], outputs["noisy"], temperature=s.temperature)
        found["info_nce"] = s.contrast * contrast
        found["supcon"] = s.contrast * masked_supcon(both, shared, temperature=s.temperature)
        return found

    def encode(self, x: Graphs) -> Tensor:
        """(N, D) read-outs."""
        attended = self._attended(x, self._proposed(x))
        return self._read(x, attended, spread_of(x.edges, attended))

    def predict(self, x: Graphs) -> Terms:
        """Probabilities of terms, and the most that an anchor makes of each residue; without
        proposals how much the terms depend on it, gradient times input.
        """
        found = self._proposed(x)
        scores = self._scores(x, self._attended(x, found))
        importance = self._depended(x) if found is None else found.importance()
        residues = Parts(
            importance=importance,
            residue=x.nodes["residue"],
            number=x.nodes["number"],
            place=x.nodes["place"],
        )
        names = self.spec.classes
        words = tuple(self.spec.extra.get("term names", names))
        return Terms(scores, names, words, Ragged(residues, x.sizes))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The proposal network, which may learn at a rate of its own, and all else."""
        proposing = list(self.proposals.parameters()) if self.settings.proposals else []
        held = {id(one) for one in proposing}
        others = [one for one in self.parameters() if id(one) not in held]
        rate = self.settings.proposal_rate
        groups = [{"params": others}, {"params": proposing, "learning_rate_scale": rate}]
        return [group for group in groups if group["params"]]

    def _proposed(self, graphs: Graphs) -> Proposed | None:
        if not self.settings.proposals:
            return None
        near = graphs.edge_data["distance"] <= self.settings.reach
        edges = graphs.edges[:, near & (graphs.edges[0] != graphs.edges[1])]
        known = graphs.nodes
        proposed: Proposed = self.proposals(
            known["x"], edges, graphs.sizes, secondary=known["secondary"], places=known["place"]
        )
        return proposed

    def _attended(self, graphs: Graphs, found: Proposed | None) -> Tensor:
        """(M, features) after functional attention."""
        x = graphs.nodes["x"]
        flag = x.new_ones(len(x)) if found is None else found.functional(self.settings.threshold)
        attended: Tensor = self.attention(x, graphs.edges, flag)
        return attended

    def _read(
        self,
        graphs: Graphs,
        x: Tensor,
        whole: Spread,
        draws: Tensor | None = None,
        noise: float = 0.0,
    ) -> Tensor:
        known = graphs.with_nodes(x=x)
        hidden = self.encoder.nodes(known, draws=draws, strength=noise, whole=whole)
        read: Tensor = self.pool(hidden, whole, graphs.sizes)
        return read

    def _scores(self, graphs: Graphs, x: Tensor) -> Tensor:
        """(N, C) probabilities, each at least those of the terms that it follows from."""
        return self.head.probabilities(self._read(graphs, x, spread_of(graphs.edges, x)))

    def _depended(self, graphs: Graphs) -> Tensor:
        """(M,) how much the scores depend on each residue."""

        def scores(x: Tensor) -> Tensor:
            known = graphs.with_nodes(x=x)
            return self._scores(known, self._attended(known, None))

        return saliency(scores, graphs.nodes["x"], graphs.graph, len(graphs))
