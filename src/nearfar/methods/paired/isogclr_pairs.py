"""iSogCLR for pairs: CLIP with a learned temperature for each image and for each text.

An image is compared with the batch's texts and a text with its images, as in CLIP. Each keeps a
running estimate of its denominator over all the data and a temperature of its own, moved by the
gradient of the robust contrastive objective of ``isogclr``. A running maximum is taken out of the
exponents, so that temperatures of 0.01 stay finite.

    F = mean over images i of tau_i log mean_j exp((s_ij - s_ii) / tau_i) + tau_i rho, and the same
    over texts
Source: Qiu et al. 2023, arXiv 2305.11965, section 3.2, algorithm 2; SogCLR: Yuan et al. 2022, arXiv
    2202.12387.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from torch import Tensor

from nearfar.batch import Batch
from nearfar.losses.instance.individual_temperature import BIMODAL, SampleState, bimodal_step
from nearfar.methods.method import Facets, Method, Outputs, Paper, Recipe, Spec, WantedViews
from nearfar.networks.projections import OLDER_NAMES, Projections
from nearfar.networks.towers import Towers
from nearfar.ranges import above, at_least, check_bounds, unit_interval, whole_number
from nearfar.targets.sample_table import SampleTable


class ISogCLRPairs(Method):
    """One view of a pair, an encoder for each part, linear projections, the partner as target,
    robust losses both ways.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of ISogCLRPairs.

        Attributes:
            temperature: of every image and text at the start, above 0.
            individual: whether the temperatures learn; without, this is SogCLR.
            rho: how far from uniform the negatives of a sample are weighted, at least 0.
            gamma: share of the batch in the running denominators, in (0, 1].
            rate: step size of the temperatures.
            beta: share of the batch in their running gradients, in (0, 1].
            bounds: least and greatest temperature.
            projection: dimensions of the shared space.
        """

        temperature: Annotated[float, above(0)] = 0.01
        individual: bool = True
        rho: Annotated[float, at_least(0)] = 6.0
        gamma: Annotated[float, unit_interval(zero=False)] = 0.8
        rate: Annotated[float, at_least(0)] = 0.03
        beta: Annotated[float, unit_interval(zero=False)] = 0.9
        bounds: tuple[Annotated[float, above(0)], Annotated[float, above(0)]] = (0.005, 1.0)
        projection: Annotated[int, whole_number()] = 256

        def __post_init__(self) -> None:
            """Temperatures that learn start within their bounds."""
            if self.individual:
                check_bounds("bounds", self.bounds, "temperature", self.temperature)

    paper = Paper(
        title="Not All Semantics are Created Equal: Contrastive Self-supervised Learning with "
        "Automatic "
        "Temperature Individualization",
        authors="Qiu, Hu, Yuan, Zhou, Zhang, Yang",
        year=2023,
        arxiv="2305.11965",
        departures=(
            "A sample's own partner is left out of the sums over negatives; the authors' code "
            "keeps it.",
            "A denominator starts at its first batch value; the authors' grows from 0.",
        ),
    )
    facets = Facets("contrastive.multimodal", target="pair-label", labels="pairs")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="adamw",
            learning_rate=2e-4,
            weight_decay=0.02,
            batch_size=256,
            epochs=30,
            warmup=0.05,
        ),
        "small": Recipe(
            settings={"temperature": 0.05, "rho": 3.0, "rate": 0.003, "projection": 128},
            learning_rate=1e-3,
            weight_decay=0.1,
        ),
    }
    modalities = ("image+text", "*+*")
    encoder_kind = "towers"
    older_names = OLDER_NAMES
    encoder: Towers
    wanted_views = WantedViews(whole=1, style="crop", whole_scale=(0.5, 1.0))
    choices = {
        "views": "one view of each pair",
        "encoder": "one for each modality",
        "head": "a linear projection for each",
        "target": "the sample's other half; the batch's others against a running denominator of "
        "each sample",
        "loss": "robust contrastive loss both ways, with a temperature for each image and each "
        "text",
    }

    def __init__(self, encoder: Towers, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        self.first, self.second = spec.parts
        self.projections = Projections(encoder, s.projection, bias=True)
        columns: dict[str, float | bool] = {
            "estimate": 0.0,
            "temperature": s.temperature,
            "momentum": 0.0,
            "shift": 0.0,
            "seen": False,
        }
        self.first_table, self.second_table = (
            SampleTable(spec.length, **columns) for _ in range(2)
        )
        self.rule = replace(
            BIMODAL,
            gamma=s.gamma,
            rho=s.rho if s.individual else None,
            rate=s.rate,
            beta=s.beta,
            bounds=s.bounds,
        )

    def forward(self, batch: Batch) -> Outputs:
        (pair,) = batch.views
        first, second = (self.embed_part(name, pair[name]) for name in (self.first, self.second))
        return {"first": first, "second": second, "index": batch.index}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        loss, _, _ = self._step(outputs)
        tables = {"first": self.first_table, "second": self.second_table}
        means = {
            f"{part} temperature": table.get_buffer("temperature")[outputs["index"]].mean()
            for part, table in tables.items()
        }
        return {"isogclr": loss, **means}

    def after_step(self, outputs: Outputs) -> None:
        _, first, second = self._step(outputs)
        self.first_table.update(outputs["index"], first._asdict())
        self.second_table.update(outputs["index"], second._asdict())

    def _step(self, outputs: Outputs) -> tuple[Tensor, SampleState, SampleState]:
        states = (
            SampleState(**table(outputs["index"]))
            for table in (self.first_table, self.second_table)
        )
        return bimodal_step(outputs["first"], outputs["second"], *states, rule=self.rule)

    def project_part(self, name: str, x: Any) -> Tensor:
        projected: Tensor = self.projections(name, self.encoder.part(name)(x))
        return projected
