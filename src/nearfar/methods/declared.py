"""What a method declares: its paper, its recipes, the finished parts that it starts from, and the
phases of its step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Literal, get_type_hints

from torch import Tensor, nn

from nearfar.errors import unknown_name
from nearfar.ranges import above, checked, unit_interval, whole_number

_FEW = 1024
"""Samples below which a batch is lowered for the sake of further steps."""
_SMALL_BATCH = 32
"""Samples that batches keep where there are few: batch norm and contrast need some."""
STEPS_OF_SMALL = 8
"""Steps that an epoch of a "small" recipe has at least, where batches stay large enough."""


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Where a method comes from.

    Attributes:
        departures: where this implementation differs from the paper or the authors' code, one
            sentence each.
    """

    title: str
    authors: str
    year: int
    arxiv: str = ""
    departures: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a method is trained: its settings and the optimiser's.

    Attributes:
        settings: Values that differ from the defaults of the method's ``Settings``, by name.
        optimizer: "adamw", "adam", "sgd", "lars", "larc" or "muon", with options behind a colon:
            "adam:beta1=0.5".
        learning_rate: Peak, per 256 samples of the whole batch.
        scale: Whether the learning rate grows with the batch; otherwise it stands as it is.
        schedule: How the learning rate moves, by a name of ``nearfar.training.schedules`` with its
            options: "cosine", "infinite:constant=0.3".
        weight_decay: For weights of two and more dimensions; vectors (biases, norms) have none
            unless the method says so.
        final_weight_decay: The same at the end, reached along half a cosine; None: it stays.
        layer_decay: Factor of the learning rate from each depth of the encoder to the one before
            it, in (0, 1]; None: all learn alike.
        freeze: Depths of the encoder, from the input on, that stay as they are; None: all learn.
        batch_size: Samples of the whole batch, over all processes.
        epochs: Passes over the training set.
        warmup: Share of the steps over which the learning rate rises linearly from 0.
        clip: Largest gradient norm (0: no clipping).
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    optimizer: str = "adamw"
    learning_rate: float = 2e-3
    scale: bool = True
    schedule: str = "cosine"
    weight_decay: float = 1e-4
    final_weight_decay: float | None = None
    layer_decay: float | None = None
    freeze: int | None = None
    batch_size: int = 256
    epochs: int = 30
    warmup: float = 0.05
    clip: float = 0.0

    @property
    def peak_learning_rate(self) -> float:
        """The peak for this recipe's batch."""
        return self.learning_rate * (self.batch_size / 256 if self.scale else 1.0)

    def continued(self) -> Recipe:
        """This recipe for an encoder that has learned already: a tenth of the learning rate, less
        towards the input, the first depth as it is, and a short warm-up.

        Example:
            >>> recipe = Recipe(learning_rate=0.5, warmup=0.1).continued()
            >>> recipe.learning_rate, recipe.layer_decay, recipe.freeze, recipe.warmup
            (0.05, 0.75, 1, 0.02)

        Source: Clark et al. 2020 (ELECTRA) for the decay by depth; the numbers are ours.
        """
        return replace(
            self,
            learning_rate=self.learning_rate / 10,
            layer_decay=0.75,
            freeze=1,
            warmup=min(self.warmup, 0.02),
        )

    def batch_for(self, length: int, *, steps: int = 2) -> int:
        """Samples of a batch from few training samples: this recipe's, or less, so that an epoch
        has some steps.

        Args:
            length: Number of training samples.
            steps: Wanted steps of an epoch of less than 1,024 samples, at least 2. Batches stay at
                32 or more for them, where an epoch of two steps allows.

        Example:
            >>> recipe = Recipe(batch_size=128)
            >>> [recipe.batch_for(length, steps=8) for length in (2000, 400, 100, 20)]
            [128, 50, 32, 10]
        """
        if length >= _FEW:
            steps = 2
        least = min(_SMALL_BATCH, length // 2)
        return min(self.batch_size, max(2, least, length // steps))


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A finished part that a method starts from.

    Attributes:
        kinds: Methods that it may be, the first of which is trained where no run is given; (): any
            run, which must be given.
        recipe: By which it is trained here.
        needed: Whether the method cannot do without.
        gives: What the method is handed: the whole "method", or its "encoder".
        shares: Whether its encoder becomes this method's own; an encoder that is shared is not
            handed on besides.
    """

    kinds: tuple[str, ...] = ()
    recipe: str = "small"
    needed: bool = True
    gives: Literal["method", "encoder"] = "method"
    shares: bool = False


@dataclass(frozen=True)
class NoSettings:
    """Of a method that has nothing to set."""


@dataclass
class Summed:
    """An output that the engine joins over processes by summation instead of concatenation (a
    centre's sum, a count).
    """

    value: Tensor


@dataclass(frozen=True)
class Phase:
    """One of several updates of a step, in order: its parameters move, all others stand still but
    pass gradients on.

    Attributes:
        name: What the phase is called in logs, and what its optimiser's state is stored under.
        parameters: Those that move.
        forward: Name of the method's function of its own samples.
        loss: Name of the method's function of the joined outputs.
        optimizer: Phases with one name here share an optimiser and its state; "" is the phase's
            own.
        times: Updates in each step in which the phase is due, at least 1.
        every: The phase is due in every so many steps, at least 1.
        since: Share of the run from which on the phase is due, in [0, 1].
        until: Share of the run from which on the phase is no longer due, in (0, 1]; 1 includes the
            end.
        rate: Factor of the run's learning rate, above 0.
        recipe: What differs from the run's recipe, by name, such as ``{"learning_rate": 5e-5}``.

    Raises:
        UserError: If a number is out of its range or the recipe names what no recipe has.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    forward: str = "forward"
    loss: str = "loss"
    optimizer: str = ""
    times: Annotated[int, whole_number()] = 1
    every: Annotated[int, whole_number()] = 1
    since: Annotated[float, unit_interval()] = 0.0
    until: Annotated[float, unit_interval(zero=False)] = 1.0
    rate: Annotated[float, above(0)] = 1.0
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("times", "every", "since", "until", "rate"):
            checked(_PHASE_HINTS[name], f"{name} of the phase {self.name}", getattr(self, name))
        known = [one.name for one in fields(Recipe)]
        for name in self.recipe:
            if name not in known:
                raise unknown_name(f"name in the recipe of the phase {self.name}", name, known)

    @property
    def updated_by(self) -> str:
        """Name of the optimiser."""
        return self.optimizer or self.name


_PHASE_HINTS = get_type_hints(Phase, include_extras=True)
