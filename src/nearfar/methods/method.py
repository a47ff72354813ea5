"""The one base class: a method is its networks, a loss in two phases, and what changes after a
step.

A method's file imports the whole contract from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.batch import Batch, TrainingSet
from nearfar.data.batches.wanted import (
    Crossed,
    Episodes,
    Grouped,
    Ordered,
    Repeated,
    Shuffled,
    Streams,
    WantedBatches,
    Weighted,
    Whole,
)
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.methods.declared import (
    STEPS_OF_SMALL,
    NoSettings,
    Paper,
    Phase,
    Pretrained,
    Recipe,
    Summed,
)
from nearfar.methods.facets import Facets
from nearfar.methods.names import name_of
from nearfar.networks.encoder import Encoder
from nearfar.ranges import check_settings
from nearfar.results.result import Result
from nearfar.views.made import Views, Wanted
from nearfar.views.wanted import WantedViews

__all__ = [
    "STEPS_OF_SMALL",
    "Batch",
    "Crossed",
    "Encoder",
    "Episodes",
    "Facets",
    "Grouped",
    "Method",
    "NoSettings",
    "Ordered",
    "Outputs",
    "Paper",
    "Phase",
    "Pretrained",
    "Recipe",
    "Repeated",
    "Shuffled",
    "Spec",
    "Streams",
    "Summed",
    "TrainingSet",
    "WantedBatches",
    "WantedViews",
    "Weighted",
    "Whole",
    "total",
]

Outputs = dict[str, Any]


def total(own: Tensor) -> Tensor:
    """The sum of a statistic over all processes, with its gradient, where ``forward`` needs it
    midway; itself on one process.

    A gradient inside ``forward`` (a meta-gradient) is that of one process on the joined batch if
    each sum over samples in it is a total.
    """
    from nearfar import collectives

    return collectives.all_reduce_sum(own)


def _renamed(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give weights of older files the names that they have now."""
    for older, name in getattr(module, "older_names", {}).items():
        for key in [key for key in state if key.startswith(prefix + older)]:
            state[prefix + name + key.removeprefix(prefix + older)] = state.pop(key)


class Method(nn.Module):
    """A self-supervised method. Subclasses state the five choices and define ``forward`` and
    ``loss``.

    The engine calls, for each step: ``forward(batch)`` on each process's own samples;
    ``loss(outputs)`` on the outputs of the joined batch, in float32 or wider;
    ``after_backward(phase)`` once gradients are complete; the optimiser; ``after_step(outputs)``.
    Before each epoch it calls ``before_epoch``.

    A loss that also takes ``rows: slice | None = None`` says that it can compute a range of the
    samples' share alone: the terms that have a gradient of a partition's ranges add up to the
    whole's, the others are means over the range, or do not depend on it. On several processes each
    is then asked for the share of its own samples.

    Class data: ``paper``; ``facets``, what kind of method it is; ``Settings``, a frozen dataclass
    whose defaults are the paper's; ``recipes`` with the keys "paper" and "small" (what works on a
    laptop with small samples); ``modalities``, or () for any; ``encoder_kind``, "any", "tokens"
    (needs a ``TokenEncoder``), "nodes" (needs a ``NodeEncoder``) or "towers" (needs a pair of
    encoders); ``default_encoder``, the built-in one that is taken when none is named, for methods
    that bring their own; ``needs_labels``, and then ``label_kind``, "class", "classes" (several a
    sample), "value" (real numbers) or "any"; ``by_row``, whether ``view_sources`` and ``prepare``
    treat each sample by itself and draw through ``nearfar.views.draws``; ``choices``, one phrase
    for each of the five choices; ``cannot``, what the engine must refuse and why: "shard" (divided
    parameters), "cache" (the gradient cache), "accumulate" or "ahead" (batches made while a step
    computes); ``waits``, why a step of it must ask the device for a value and wait for the answer,
    "" if none does; ``predicts``, the type of result that ``predict`` gives; ``learns_from``, by
    name the modality of each part that its samples must have, and ``needs_groups``, by name the
    members of each group column that its batches are made by; ``prepared``, the preparation that
    makes either where the data lack it; ``pretrained``, the finished parts that it starts from,
    each an argument of ``__init__`` by its name; ``older_names``, what weights were called in
    older files.

    Attributes:
        encoder: what the user gets in the end.
        settings: this run's settings.

    Raises:
        UserError: if the data's labels are not of the method's kind, or a setting is out of its
            range.
    """

    paper: ClassVar[Paper] = Paper(title="", authors="", year=0)
    facets: ClassVar[Facets | None] = None
    Settings: ClassVar[type[Any]] = NoSettings
    recipes: ClassVar[Mapping[str, Recipe]] = {}
    modalities: ClassVar[tuple[str, ...]] = ()
    encoder_kind: ClassVar[str] = "any"
    default_encoder: ClassVar[str | None] = None
    needs_labels: ClassVar[bool] = False
    label_kind: ClassVar[str] = "any"
    by_row: ClassVar[bool] = False
    choices: ClassVar[Mapping[str, str]] = {}
    cannot: ClassVar[Mapping[str, str]] = {}
    waits: ClassVar[str] = ""
    predicts: ClassVar[type[Result] | None] = None
    learns_from: ClassVar[Mapping[str, str]] = {}
    needs_groups: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    prepared: ClassVar[str] = ""
    pretrained: ClassVar[Mapping[str, Pretrained]] = {}
    older_names: ClassVar[Mapping[str, str]] = {}

    def __init__(self, encoder: Encoder, spec: Spec, settings: Any = None) -> None:
        super().__init__()
        self._check_labels(spec)
        self.encoder = encoder
        self.spec = spec
        self.settings = self.Settings() if settings is None else settings
        check_settings(self.settings)
        self._progress = 0.0
        self.register_load_state_dict_pre_hook(_renamed)  # type: ignore[no-untyped-call]

    @classmethod
    def recipe(cls, name: str) -> Recipe:
        """The recipe of that name; where the method has none, its first one, or the usual one.

        >>> Method.recipe("small") == Recipe()
        True
        """
        return cls.recipes.get(name) or next(iter(cls.recipes.values()), Recipe())

    @property
    def stands_on(self) -> Method | None:
        """The method that this one holds as ``host`` and stands on; None for most.

        The hooks below hand on to it. A method that defines one of them itself calls ``super()`` as
        well, so that its host lacks nothing.
        """
        host = self._modules.get("host")
        return host if isinstance(host, Method) else None

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1]; set by the engine before each step and before
        ``after_step``.
        """
        return self._progress

    @progress.setter
    def progress(self, share: float) -> None:
        self._progress = share
        if (host := self.stands_on) is not None:
            host.progress = share

    def _check_labels(self, spec: Spec) -> None:
        name = name_of(type(self))
        if self.label_kind == "class" and spec.target == "value":
            raise UserError(
                f"{name} needs classes; the labels of {spec.name} are real numbers: take another "
                "method."
            )
        if self.needs_labels and "classes" in (self.label_kind, spec.target):
            if self.label_kind == "classes" and spec.target not in ("classes", "none"):
                found = "one class a sample" if spec.target == "class" else "real numbers"
                raise UserError(
                    f"{name} needs several classes a sample; the labels of {spec.name} are "
                    f"{found}: take another method."
                )
            if self.label_kind in ("class", "value"):
                wanted = "one class a sample" if self.label_kind == "class" else "real numbers"
                raise UserError(
                    f"{name} needs {wanted}; samples of {spec.name} have several classes: choose "
                    "another column with --label, or another method."
                )
        if self.label_kind == "value" and spec.target == "class":
            raise UserError(
                f"{name} needs real numbers to regress; the labels of {spec.name} are classes: "
                "take another method."
            )

    @property
    def wanted_views(self) -> Wanted:
        """Which views a batch must carry; may depend on the settings."""
        return WantedViews() if (host := self.stands_on) is None else host.wanted_views

    @property
    def wanted_batches(self) -> WantedBatches:
        """Which samples a batch holds together; may depend on the settings."""
        return Shuffled() if (host := self.stands_on) is None else host.wanted_batches

    def views(self, settings: Any = None) -> Views:
        """What makes the wanted views of this method's data; ``settings`` as for
        ``nearfar.views.make_views``.
        """
        return self.wanted_views.maker(self.spec, settings)

    @classmethod
    def takes(cls, modality: str) -> bool:
        """Whether the method learns from samples of this modality; "*" among ``modalities`` stands
        for any one, "*+*" for any two.

        >>> Method.takes("image")
        True
        """
        return not cls.modalities or any(
            fnmatch(modality, one) and modality.count("+") == one.count("+")
            for one in cls.modalities
        )

    def before_epoch(self, epoch: int, training_set: TrainingSet) -> None:
        """Look at all training samples (cluster them, fit a generator) before epoch ``epoch``, from
        0; nothing by default.

        Every process calls it with the same samples; whatever it changes must lie in buffers or
        parameters, and be a function of those, the samples and ``training_set.seed`` alone, so that
        a resumed run is the uninterrupted one.
        """
        if (host := self.stands_on) is not None:
            host.before_epoch(epoch, training_set)

    def view_sources(
        self, samples: Any, index: Tensor, generator: torch.Generator
    ) -> list[Any] | None:
        """Raw samples for each view in turn, where views are not all made of ``samples`` (whose
        numbers are ``index``).

        ``generator``, on the CPU, is that of the views. This and ``prepare`` may run while the step
        before computes: they use what ``before_epoch`` sets, and nothing that steps change.
        """
        return (
            None
            if (host := self.stands_on) is None
            else host.view_sources(samples, index, generator)
        )

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Change the batch before it is embedded, where samples must meet one another (mixed
        inputs); as it is by default.

        What is added has N rows like all else; ``generator`` is that of the views. The batch is the
        whole one (or the whole part that is contrasted, where batches are split), of which each
        process then takes its rows. With ``by_row``, the batch is this process's rows alone and
        takes 1 / p of the work.
        """
        return batch if (host := self.stands_on) is None else host.prepare(batch, generator)

    def forward(self, batch: Batch) -> Outputs:
        """Outputs of this process's samples: tensors with N rows (joined by concatenation) or
        ``Summed`` statistics.
        """
        raise UserError(
            f"{type(self).__name__} defines no forward(batch); expected one that gives a dict of "
            "outputs."
        )

    def loss(self, outputs: Outputs) -> dict[str, Tensor]:
        """Named terms of the joined batch, already weighted; the engine minimises their sum.
        Detached terms are diagnostics.
        """
        raise UserError(
            f"{type(self).__name__} defines no loss(outputs); expected one that gives a dict of "
            "named terms."
        )

    def after_backward(self, phase: str) -> None:
        """Change gradients before clipping and the optimiser of a phase (freeze a layer early on);
        nothing by default.
        """
        if (host := self.stands_on) is not None:
            host.after_backward(phase)

    def after_step(self, outputs: Outputs) -> None:
        """Momentum, queue, centre: what follows the optimiser's step, from the joined, detached
        outputs.

        Of several phases all outputs are there; where two have one name, the later phase's stand.
        """
        if (host := self.stands_on) is not None:
            host.after_step(outputs)

    def alarm(self, terms: Mapping[str, float]) -> str | None:
        """What the user should be told when the loss's terms show a failure that this method is
        known for; None when all is well.
        """
        return None if (host := self.stands_on) is None else host.alarm(terms)

    def encode(self, x: Any) -> Tensor:
        """Features (N, D) for evaluation and users."""
        features: Tensor = self.encoder(x)
        return features

    def predict(self, x: Any) -> Result:
        """What the method says of N samples.

        Args:
            x: N samples in plain view; the method is in evaluation mode and takes no gradient.

        Returns:
            An instance of ``predicts``.

        Raises:
            UserError: If features are all that the method gives.
        """
        raise UserError(
            f"{type(self).__name__} predicts nothing: its features are all there is; use `nearfar "
            "embed`."
        )

    def origin(self, x: Any) -> Result | None:
        """What was predicted before this method changed what it started from, to be shown beside
        it; None by default.

        Args:
            x: As for ``predict``.
        """
        return None

    def trust(self, x: Any, label: Tensor) -> Tensor:
        """How much the method trusts given labels: (N,), larger for labels that are likelier right.

        By default the probability that ``predict`` gives to the given class, so that a small loss
        is trusted. A method that weighs samples while it learns says by its weights.

        Args:
            x: N samples in plain view; the method is in evaluation mode and takes no gradient.
            label: (N,) int64 classes, right or wrong.

        Raises:
            UserError: If the method predicts no classes.
        """
        from nearfar.results.classes import Classes

        found = self.predict(x)
        if not isinstance(found, Classes):
            raise UserError(f"{type(self).__name__} predicts no classes, so it trusts no labels.")
        return found.probabilities.gather(1, label[:, None])[:, 0]

    def weighed(self, x: Any, weights: Mapping[str, float]) -> Result | None:
        """What a weighted sum of the parts' embeddings would predict, before this method learned
        how to combine them; None by default.

        Args:
            x: As for ``predict``.
            weights: By name of the part.
        """
        return None

    def project_part(self, name: str, x: Any) -> Tensor:
        """Embeddings (N, D) of one part of the samples in the space where the parts are compared,
        of the length that they come with.

        Args:
            name: Of the part, such as "image".
            x: N samples of that part alone, as encoders take them.

        Raises:
            UserError: If the method has no such space.
        """
        raise UserError(
            f"{type(self).__name__} compares no parts of samples in one space; choose a method for "
            "pairs, such as clip."
        )

    def embed_part(self, name: str, x: Any) -> Tensor:
        """Unit embeddings (N, D) of one part of the samples: those of ``project_part``, normalised.

        Args:
            name: Of the part, such as "image".
            x: N samples of that part alone, as encoders take them.

        Raises:
            UserError: If the method has no such space.
        """
        return normalize(self.project_part(name, x), dim=1)

    @property
    def has_shared_space(self) -> bool:
        """Whether ``embed_part`` embeds the parts of samples in one space."""
        own = type(self)
        return (
            own.embed_part is not Method.embed_part or own.project_part is not Method.project_part
        )

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimiser; keys beside ``params``: ``learning_rate_scale`` (1),
        ``constant_learning_rate`` (False), ``decay`` (None: by the number of dimensions). Default:
        one group with all parameters that learn.
        """
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def phases(self) -> list[Phase]:
        """The updates of a step in order; by default one phase with everything that learns. Only a
        phase's own parameters move in it.
        """
        return [Phase("all", tuple(p for p in self.parameters() if p.requires_grad))]
