"""iSogCLR: a temperature for each training sample, learned with a running estimate of its
denominator over all the data.

SimCLR compares a view with the negatives of its batch at one temperature. Here each sample keeps a
running mean of exp(similarity / tau) over the negatives it has met, so that small batches do not
bias the gradient, and its own tau, moved by
the gradient of a robust objective: the worst weighting of its negatives within KL divergence rho of
uniform. Samples with many alike end at a higher tau than rare ones. With ``individual`` off, tau is
constant and the method is SogCLR.

    F_i = tau_i log mean_z exp((s(i, z) - s(i, i+)) / tau_i) + tau_i rho,
      minimised over the network and tau_i
Source: Qiu et al. 2023, arXiv 2305.11965, equations 6 to 8, algorithm 1; SogCLR: Yuan et al. 2022,
    arXiv 2202.12387.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor
from torch.nn.functional import normalize

from nearfar.losses.instance.individual_temperature import (
    Rule,
    SampleState,
    cosine_gamma,
    unimodal_step,
)
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
from nearfar.networks.heads import mlp, together
from nearfar.ranges import above, at_least, check_bounds, unit_interval, whole_number
from nearfar.targets.sample_table import SampleTable


class ISogCLR(Method):
    """Two views, one encoder, a wide projector, the other view as target, a robust contrastive loss
    of each sample's own.
    """

    @dataclass(frozen=True)
    class Settings:
        """The settings of ISogCLR.

        Attributes:
            temperature: of every sample at the start, above 0.
            individual: whether each sample's temperature learns; without, this is SogCLR.
            rho: how far from uniform the negatives of a sample are weighted, at least 0.
            gamma: share of the batch in the running denominators, in (0, 1].
            descent: share of the run over which gamma falls from 1 along a cosine; 0: it is
                constant.
            rate: step size of the temperatures.
            beta: share of the batch in their running gradients, in (0, 1].
            bounds: least and greatest temperature.
            hinge: margin c of the variant with squared hinges of all other views (the authors'
                0.8); 0: similarities.
            hidden: width of the projector's two hidden layers.
            projection: dimensions in which views are compared.
        """

        temperature: Annotated[float, above(0)] = 0.1
        individual: bool = True
        rho: Annotated[float, at_least(0)] = 0.4
        gamma: Annotated[float, unit_interval(zero=False)] = 0.8
        descent: Annotated[float, unit_interval()] = 0.0
        rate: Annotated[float, at_least(0)] = 0.03
        beta: Annotated[float, unit_interval(zero=False)] = 0.5
        bounds: tuple[Annotated[float, above(0)], Annotated[float, above(0)]] = (0.05, 1.0)
        hinge: Annotated[float, at_least(0)] = 0.0
        hidden: Annotated[int, whole_number()] = 8192
        projection: Annotated[int, whole_number()] = 8192

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
            "A sample's denominator starts at its first batch value whenever it is first met; the "
            "authors' only in epoch 0.",
        ),
    )
    facets = Facets("contrastive.in_batch")
    recipes = {
        "paper": Recipe(
            settings={},
            optimizer="lars",
            learning_rate=1.6,
            weight_decay=5e-4,
            batch_size=128,
            epochs=400,
            warmup=0.025,
        ),
        "small": Recipe(settings={"temperature": 0.2, "hidden": 512, "projection": 128}),
    }
    wanted_views = WantedViews(whole_scale=(0.2, 1.0))
    choices = {
        "views": "two strong views",
        "encoder": "one, shared",
        "head": "3-layer projector, very wide",
        "target": "the other view; the batch's negatives against a running denominator of each "
        "sample",
        "loss": "robust contrastive loss with a temperature for each sample",
    }

    def __init__(self, encoder: Encoder, spec: Spec, settings: Settings | None = None) -> None:
        super().__init__(encoder, spec, settings)
        s = self.settings
        self.projector = mlp((encoder.dimension, s.hidden, s.hidden, s.projection), last_bias=False)
        self.table = SampleTable(
            spec.length,
            estimate=0.0,
            temperature=s.temperature,
            momentum=0.0,
            shift=0.0,
            seen=False,
        )

    def forward(self, batch: Batch) -> Outputs:
        z1, z2 = (
            normalize(z, dim=1)
            for z in together(self.projector, together(self.encoder, batch.views))
        )
        return {"z1": z1, "z2": z2, "index": batch.index}

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        s = self.settings
        gamma = cosine_gamma(s.gamma, self.progress / s.descent) if s.descent else s.gamma
        self.rule = Rule(
            gamma, s.rho if s.individual else None, s.rate, s.beta, s.bounds
        )  # after_step takes the same
        loss, _ = self._step(outputs)
        return {
            "isogclr": loss,
            "temperature": self.table.get_buffer("temperature")[outputs["index"]].mean(),
        }

    def after_step(self, outputs: Outputs) -> None:
        _, state = self._step(outputs)
        self.table.update(outputs["index"], state._asdict())

    def _step(self, outputs: Outputs) -> tuple[Tensor, SampleState]:
        state = SampleState(**self.table(outputs["index"]))
        return unimodal_step(
            outputs["z1"], outputs["z2"], state, rule=self.rule, hinge=self.settings.hinge or None
        )
