"""GeneCIS: an image and a word that says in what respect find another image.

A finished CLIP model embeds the reference, the condition and the target. A small network, the
combiner, makes one query of reference and condition. Each query must find its target among the
targets of the batch; the factor of the similarities is fixed.

    q = combiner(t, v),  t = text(condition), v = image(reference),  k = image(target)
    combiner(t, v) = norm(O c + o + g t + (1 - g) v), c and the gate g made of t and v
    loss = CE(s norm(q) norm(k)^T, diagonal),  s = 100
Source: Vaze et al. 2023, arXiv 2306.07969, section 4; the combiner is that of Baldrati et al. 2022.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.batch import Batch
from nearfar.errors import UserError
from nearfar.losses.instance.contrastive import info_nce
from nearfar.methods.method import (
    Facets,
    Method,
    Outputs,
    Paper,
    Pretrained,
    Recipe,
    Spec,
    WantedViews,
)
from nearfar.networks.paired.combiner import Combiner
from nearfar.networks.towers import Towers
from nearfar.ranges import above, unit_interval, whole_number
from nearfar.results.ranking import Ranking
from nearfar.rows import Parts, Picked
from nearfar.views.draws import rand


class GeneCIS(Method):
    """One crop of reference and target, a finished image-text model with a combiner, the target's
    embedding, InfoNCE from the query to the target.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of GeneCIS.

        Attributes:
            width: of the combiner's projections; the layers behind are twice as wide.
            dropout: share of the combiner's hidden values that is set to 0.
            scale: fixed factor of the similarities.
            tune: whether the image-text model learns too.
        """

        width: Annotated[int, whole_number()] = 2560
        dropout: Annotated[float, unit_interval(one=False)] = 0.5
        scale: Annotated[float, above(0)] = 100.0
        tune: bool = True

    paper = Paper(
        title="GeneCIS: A Benchmark for General Conditional Image Similarity",
        authors="Vaze, Carion, Misra",
        year=2023,
        arxiv="2306.07969",
        departures=(
            "No image is loaded beside reference and target; the authors' further one enters no "
            "loss.",
            "The gradient is clipped as a whole; the authors clip that of CLIP alone.",
            "Where drawing a triplet fails too often it is given up; the authors' code may draw "
            "for ever.",
        ),
    )
    facets = Facets("contrastive.multimodal", target="pair-label", labels="pairs")
    recipes = {
        "paper": Recipe(
            optimizer="adamw",
            learning_rate=1e-6,
            scale=False,
            schedule="cosine:final=0.001",
            weight_decay=0.0,
            batch_size=256,
            epochs=6,
            warmup=0.0,
            clip=1.0,
        ),
        # With a few thousand triplets a factor of 100 does not learn to tell conditions apart.
        "small": Recipe(
            settings={"width": 128, "tune": False, "scale": 20.0},
            learning_rate=3e-3,
            scale=False,
            schedule="cosine:final=0.001",
            weight_decay=0.0,
            batch_size=64,
            epochs=20,
            warmup=0.0,
            clip=1.0,
        ),
    }
    modalities = ("image+text+image",)
    encoder_kind = "towers"
    encoder: Towers
    predicts = Ranking
    by_row = True
    learns_from = {"reference": "image", "condition": "text", "target": "image"}
    prepared = "triplets"
    pretrained = {"clip": Pretrained(kinds=("clip", "isogclr-pairs"), shares=True)}
    wanted_views = WantedViews(whole=1, style="crop", whole_scale=(0.9, 1.0))
    choices = {
        "views": "one crop of reference and of target",
        "encoder": "a finished image-text model's",
        "head": "a combiner of text and image",
        "target": "the embedding of the image that is meant; those of the batch as negatives",
        "loss": "InfoNCE from query to target",
    }

    def __init__(
        self,
        encoder: Towers,
        spec: Spec,
        settings: Settings | None = None,
        *,
        clip: Method,
    ) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        image, text = (clip.spec.part_name(kind) for kind in ("image", "text"))
        if image is None or text is None:
            raise UserError(
                f"genecis starts from a model of images and texts; found one of "
                f"{clip.spec.modality} data."
            )
        self.image_part, self.text_part = image, text
        # What scales similarities while that model is trained has no part here.
        idle = [name for name, _ in clip.named_parameters(recurse=False)]
        learning = {
            name for name, one in clip.named_parameters() if one.requires_grad and name not in idle
        }
        self.clip = clip.requires_grad_(False)
        self.before = copy.deepcopy(clip).eval() if s.tune else None
        for name, parameter in clip.named_parameters():
            parameter.requires_grad_(s.tune and name in learning)
        self.combiner = Combiner(clip.settings.projection, s.width, dropout=s.dropout)

    def train(self, mode: bool = True) -> GeneCIS:
        """An image-text model that does not learn keeps its batch norms' statistics."""
        super().train(mode)
        if self.before is not None:
            self.before.eval()
        else:
            self.clip.eval()
        return self

    def image(self, x: Tensor) -> Tensor:
        """Embeddings (N, D) of images, as the image-text model gives them."""
        return self.clip.project_part(self.image_part, x)

    def query(self, sample: Parts, draws: Tensor | None = None) -> Tensor:
        """Unit embeddings (N, D) of what is looked for; ``draws`` as the combiner takes them."""
        text = self.clip.project_part(self.text_part, sample.condition)
        queries: Tensor = self.combiner(text, self.image(sample.reference), draws)
        return queries

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw what the combiner drops."""
        drawn = rand((len(batch), sum(self.combiner.sizes)), generator)
        batch.extra["draws"] = drawn.to(batch.index.device)
        return batch

    def forward(self, batch: Batch) -> Outputs:
        (sample,) = batch.views
        query = self.query(sample, batch.extra["draws"])
        return {"query": query, "target": self.image(sample.target)}

    def loss(self, outputs: Outputs, rows: slice | None = None) -> dict[str, Tensor]:
        query, target = outputs["query"], outputs["target"]
        found = info_nce(query, target, temperature=1 / self.settings.scale, rows=rows)
        return {"info_nce": found}

    def encode(self, x: Any) -> Tensor:
        """Features of the image; of a triplet those of its reference."""
        features: Tensor = self.encoder(x.reference if _is_triplet(x) else x)
        return features

    @torch.no_grad()
    def predict(self, x: Parts) -> Ranking:
        """Similarity of each query to the images of its gallery."""
        gallery = _gallery(x)
        return _ranked(self.query(x), self.image(gallery.values), gallery)

    @torch.no_grad()
    def weighed(self, x: Parts, weights: Mapping[str, float]) -> Ranking:
        gallery = _gallery(x)
        clip = self.clip if self.before is None else self.before
        kinds = {"reference": self.image_part, "condition": self.text_part}
        parts = [weight * clip.project_part(kinds[one], x[one]) for one, weight in weights.items()]
        images = clip.project_part(self.image_part, gallery.values)
        return _ranked(normalize(torch.stack(parts).sum(0), dim=1), images, gallery)


def _is_triplet(x: Any) -> bool:
    return isinstance(x, Parts) and "reference" in x


def _gallery(x: Any) -> Picked:
    """The galleries of N queries.

    Raises:
        UserError: If there are none.
    """
    if not _is_triplet(x) or not isinstance(x.get("target"), Picked):
        raise UserError(
            "genecis ranks the images of a gallery, and these samples have none; give queries with "
            "galleries, such as --with triplets makes of test samples."
        )
    gallery: Picked = x.target
    return gallery


def _ranked(query: Tensor, images: Tensor, gallery: Picked) -> Ranking:
    """Cosines of unit queries (N, D) with the images (M, D) of each one's gallery."""
    similarity = query @ normalize(images, dim=1).T
    scores = similarity.gather(1, gallery.index.clamp(min=0))
    return Ranking(scores.masked_fill(gallery.index < 0, -torch.inf), gallery.called)
