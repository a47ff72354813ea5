"""What a proposal network has found: anchors, members, and the losses against known sites."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from nearfar.errors import UserError
from nearfar.networks.graphs.anchors import anchor_targets
from nearfar.networks.graphs.edges import graph_of_node, incoming

__all__ = ["Proposed"]


@dataclass(frozen=True)
class Proposed:
    """What a proposal network has found in N graphs of M nodes together.

    Attributes:
        pairs: (2, P) int64, anchor and member.
        anchors: (M,) logits of an anchor being functional.
        nodes: (P,) logits of a member being of the site.
        kept: (P,) bool, members that are not dropped.
        sizes: (N,) nodes of each graph.
    """

    pairs: Tensor
    anchors: Tensor
    nodes: Tensor
    kept: Tensor
    sizes: Tensor

    def functional(self, threshold: float = 0.5, *, node_threshold: float | None = None) -> Tensor:
        """(M,) 1 for nodes of a proposed site: kept and likely members of likely anchors.

        An anchor with a single node proposes nothing. The result has no gradient.

        Args:
            threshold: Probability above which an anchor is proposed.
            node_threshold: The same for members; None for the first.
        """
        least = threshold if node_threshold is None else node_threshold
        anchor, member = self.pairs
        alone = torch.bincount(anchor, minlength=len(self.anchors)) < 2
        likely = (self.anchors.sigmoid() > threshold) & ~alone
        inside = likely[anchor] & self.kept & (self.nodes.sigmoid() > least)
        flag = self.anchors.new_zeros(len(self.anchors))
        return flag.index_fill_(0, member[inside], 1.0)

    def importance(self) -> Tensor:
        """(M,) the most that an anchor makes of each node: max over anchors i of p_i u_ij."""
        anchor, member = self.pairs
        made = self.anchors.sigmoid()[anchor] * self.nodes.sigmoid()
        return made.new_zeros(len(self.anchors)).scatter_reduce(0, member, made, "amax")

    def losses(self, sites: Tensor, *, coverage: float = 0.7) -> dict[str, Tensor]:
        """Cross-entropies of anchors, and of the members of functional anchors, by graph.

        Args:
            sites: (M, S) bool, each graph's sites.
            coverage: Share of a site that an anchor must hold.

        Returns:
            "anchors" and "members": (N, 2) sums and counts; over all graphs the quotient of the
            summed columns is the loss. The sum of "members" is of the means over the members of
            each functional anchor. Of a graph without a site nothing is known: its rows are 0.
        """
        if sites.ndim != 2 or len(sites) != len(self.anchors):
            raise UserError(f"Sites must be ({len(self.anchors)}, S); found {tuple(sites.shape)}.")
        graph = graph_of_node(self.sizes)
        anchor, member = self.pairs
        target = anchor_targets(self.pairs, sites, self.sizes, coverage=coverage).to(self.anchors)
        of_anchor = binary_cross_entropy_with_logits(self.anchors, target, reduction="none")
        label = sites.any(dim=1).to(self.nodes)[member]
        of_node = binary_cross_entropy_with_logits(self.nodes, label, reduction="none")
        members = torch.bincount(anchor, minlength=len(self.anchors))
        means = incoming(of_node, anchor, len(self.anchors)) / members
        count = len(self.sizes)
        known = incoming(sites.any(dim=1).to(target), graph, count)[:, None] > 0
        of_anchors = torch.stack([of_anchor, torch.ones_like(target)], dim=1)
        of_members = torch.stack([means * target, target], dim=1)
        return {
            "anchors": incoming(of_anchors, graph, count) * known,
            "members": incoming(of_members, graph, count) * known,
        }
