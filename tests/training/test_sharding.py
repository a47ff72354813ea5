"""A run whose parameters are divided over the processes is the run without, in all that can be seen
from outside.
"""

from __future__ import annotations

import dataclasses
import functools
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.testing import assert_close

from nearfar import collectives, modalities
from nearfar.methods.distillation.byol import BYOL
from nearfar.methods.method import Batch, Method, Outputs, Phase, Recipe, Summed
from nearfar.networks.encoder import Encoder
from nearfar.networks.patch_transformer import PatchTransformer
from nearfar.testing import on_processes
from nearfar.testing.toys import toy, toy_samples
from nearfar.training import update
from nearfar.training.care.checkpoints import latest_checkpoint, load_checkpoint
from nearfar.training.care.profile import Profile
from nearfar.training.loop import fit
from nearfar.training.phases import Optimizers
from nearfar.training.plan import Plan
from nearfar.training.processes import sharding
from nearfar.training.progress import Progress
from nearfar.views.made import Made, about
from tests.training.test_loop_processes import same_views, stopping_views
from tests.training.toys import SharedToy, Toy, ToyEncoder, ToySource

pytestmark = pytest.mark.slow

ADAMW = Recipe(batch_size=5, epochs=2)
METHODS: Mapping[str, tuple[str, dict[str, Any], Plan]] = {
    "statistics of the batch": ("simclr", {}, Plan(ADAMW, seed=3)),
    "a momentum encoder": (
        "byol",
        {},
        Plan(dataclasses.replace(ADAMW, optimizer="lars", learning_rate=1.0), seed=3),
    ),
    "a queue": (
        "moco-v2",
        {},
        Plan(dataclasses.replace(ADAMW, optimizer="sgd", learning_rate=1.0), seed=3),
    ),
    "prototypes that start frozen": (
        "swav",
        {},
        Plan(dataclasses.replace(ADAMW, optimizer="sgd", learning_rate=1.0), seed=3),
    ),
    "crops, a centre and each gradient clipped by itself": ("dino", {}, Plan(ADAMW, seed=3)),
    "tokens": ("mae", {}, Plan(ADAMW, seed=3)),
    "two towers and a learned scalar": ("clip", {}, Plan(ADAMW, seed=3)),
    "parts of a batch": ("clip", {}, Plan(ADAMW, seed=3, accumulate=2)),
    "the gradient cache": ("clip", {}, Plan(ADAMW, seed=3, gradient_cache=2)),
    "a parameter that is computed": ("directpred", {}, Plan(ADAMW, seed=3)),
    "a parameter set before the first epoch": ("conr", {}, Plan(ADAMW, seed=3)),
    "networks exchanged between epochs": ("mcl", {"stages": 2, "clusters": 2}, Plan(ADAMW, seed=3)),
    "a network trained before the first epoch that makes views": (
        "genview",
        {"generator_steps": 2},
        Plan(dataclasses.replace(ADAMW, optimizer="sgd", learning_rate=1.0, clip=0.01), seed=3),
    ),
    "half precision": ("mae", {}, Plan(ADAMW, seed=3, precision="bfloat16")),
}
OPTIMIZERS = {
    "adamw": Recipe(optimizer="adamw", learning_rate=0.3, batch_size=11, epochs=3),
    "sgd": Recipe(optimizer="sgd", learning_rate=0.3, batch_size=11, epochs=3, clip=0.01),
    "lars": Recipe(optimizer="lars", learning_rate=20.0, batch_size=11, epochs=3, clip=0.01),
    "larc": Recipe(optimizer="larc", learning_rate=20.0, batch_size=11, epochs=3),
    "muon": Recipe(optimizer="muon", learning_rate=0.3, batch_size=11, epochs=3),
}

IN_TURN = Plan(OPTIMIZERS["sgd"], seed=3, shard=True)


class Data:
    """What ``fit`` needs of a source, with the toy samples of a method."""

    def __init__(self, method: Method) -> None:
        self.spec = method.spec
        self.train = toy_samples(method.spec)
        self.trained = self.train
        self.test = None


class Watch:
    """Remembers the first weights that it finds in the encoder after each epoch, as an evaluation
    would, without the other processes.
    """

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def on_start(self, progress: Progress) -> None: ...

    def on_log(self, progress: Progress) -> None: ...

    def on_epoch(self, progress: Progress, method: Method) -> None:
        self.seen.append(next(method.encoder.parameters()).detach().clone())

    def on_end(self, progress: Progress) -> None: ...


def double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def in_double(views: Callable[..., list[Any]], samples: Any, generator: torch.Generator) -> Made:
    made = views(samples, generator)
    beside = {name: double(value) for name, value in about(made).items()}
    return Made([double(view) for view in made], beside)


def inputs_in_double(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Of encoders, which a method calls with plain views between epochs."""
    return tuple(double(x) for x in inputs)


def run(name: str, settings: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """The state and the loss terms after a run, and what a callback saw."""
    method, _ = toy(name, settings=settings)
    views = method.views()
    if plan.precision == "bfloat16":
        method = method.float()
    else:
        views = functools.partial(in_double, views)
        for part in method.modules():
            if isinstance(part, Encoder):
                part.register_forward_pre_hook(inputs_in_double)
    watch = Watch()
    progress = fit(method, Data(method), views, plan, None, [watch])
    return {
        "terms": {key: torch.tensor(value) for key, value in progress.terms.items()},
        "seen": watch.seen,
        **kept(method),
    }


def kept(method: Method) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in method.state_dict().items()}


def both_ways() -> dict[str, list[dict[str, Any]]]:
    """Each of METHODS, whole and sharded."""
    found = {}
    for why, (name, settings, plan) in METHODS.items():
        try:
            found[why] = [
                run(name, settings, dataclasses.replace(plan, shard=shard))
                for shard in (False, True)
            ]
        except Exception as error:
            error.add_note(why)
            raise
    return found


@functools.cache
def methods_both_ways() -> dict[int, list[dict[str, list[dict[str, Any]]]]]:
    return on_processes(both_ways, seconds=240)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("why", METHODS)
def test_a_sharded_run_is_the_run_of_as_many_whole_processes(why: str, count: int) -> None:
    """Together with the battery, which compares steps with those of one process."""
    tolerance = 1e-6 if METHODS[why][2].precision == "bfloat16" else 1e-10
    for rank, found in enumerate(methods_both_ways()[count]):
        whole, sharded = found[why]
        assert len(whole["seen"]) == (2 if rank == 0 else 0)
        assert_close(sharded, whole, rtol=tolerance, atol=tolerance)


class InTurn(Toy):
    """The toy with a head that learns against the encoder, each in a phase of its own."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.head = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))

    def forward(self, batch: Batch) -> Outputs:
        outputs = super().forward(batch)
        return {**outputs, "guess": self.head(outputs["z1"])}

    def phases(self) -> list[Phase]:
        head = [*self.head.parameters(), self.scale]
        return [
            Phase("encoder", tuple(self.encoder.parameters())),
            Phase("head", tuple(head), loss="guess"),
        ]

    def guess(self, outputs: Outputs) -> dict[str, Tensor]:
        return {"guess": (self.scale * outputs["guess"] - outputs["pair"][0]).square().mean()}


class InPlace(Toy):
    """The toy with a block whose output is a view that the next layer changes in place."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.head = nn.Sequential(nn.Linear(6, 6), nn.ReLU(inplace=True), nn.Linear(6, 6))

    def forward(self, batch: Batch) -> Outputs:
        z1, z2 = (
            self.head(self.encoder(view).unsqueeze(1).expand(-1, 2, -1)).mean(dim=1)
            for view in batch.views
        )
        return {"z1": z1, "pair": (z2, batch.index), "sum": Summed(z1.sum(0))}


def toy_run(
    plan: Plan,
    folder: Path | None = None,
    views: Callable[..., list[Tensor]] = same_views,
    dropout: float = 0.0,
    kind: type[Toy] = SharedToy,
) -> dict[str, Tensor]:
    torch.manual_seed(5)
    method = kind(ToyEncoder(dropout)).double()
    fit(method, ToySource(), views, plan, folder)
    return kept(method)


def optimised(shard: bool) -> dict[str, dict[str, Tensor]]:
    return {name: toy_run(Plan(recipe, seed=3, shard=shard)) for name, recipe in OPTIMIZERS.items()}


def vision() -> BYOL:
    """A momentum method on a transformer of two blocks."""
    torch.manual_seed(0)
    encoder = PatchTransformer(modalities.get("image").toy, width=24, depth=2, heads=3)
    return BYOL(
        encoder, modalities.get("image").toy, BYOL.Settings(hidden=24, projection=24)
    ).double()


def held() -> dict[str, Any]:
    """What this process holds of a method and its optimiser in the middle of a run."""
    given = vision()
    whole = sum(parameter.numel() for parameter in given.parameters())
    optimizers: list[torch.optim.Optimizer] = []
    trainers: list[Method] = []
    build = update.Optimizers

    def remember(method: Method, recipe: Recipe, precision: str) -> Optimizers:
        trainers.append(method)
        made = build(method, recipe, precision)
        optimizers.extend(made.each().values())
        return made

    emptied: list[int] = []

    def views(samples: Tensor, generator: torch.Generator) -> list[Tensor]:
        emptied.append(sum(parameter.numel() for parameter in given.parameters()))
        return [samples.double() / 255, samples.double().flip(-1) / 255]

    update.Optimizers = remember
    try:
        fit(given, Data(given), views, Plan(ADAMW, seed=3, shard=True))
    finally:
        update.Optimizers = build
    (trained,) = trainers
    (optimizer,) = optimizers
    moments = [
        value
        for state in optimizer.state.values()
        for name, value in state.items()
        if name != "step"
    ]
    return {
        "whole": whole,
        "learning": sum(
            parameter.numel() for parameter in trained.parameters() if parameter.requires_grad
        ),
        "own": sum(local(parameter).numel() for parameter in trained.parameters()),
        "own moments": sum(local(moment).numel() for moment in moments),
        "in the method given meanwhile": emptied,
        "in the method given": sum(parameter.numel() for parameter in given.parameters()),
    }


def local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def resumed(first: bool, then: bool) -> dict[str, Any]:
    """The state after a run that was stopped and resumed, and the first part's checkpoint; sharded
    in each part or not.
    """
    folder = Path(collectives.broadcast_object(tempfile.mkdtemp()))
    plan = Plan(OPTIMIZERS["adamw"], seed=3, log_every=1)
    toy_run(dataclasses.replace(plan, shard=first), folder, stopping_views(), dropout=0.5)
    path = latest_checkpoint(folder)
    assert path is not None
    checkpoint = load_checkpoint(path)
    collectives.barrier()
    state = toy_run(dataclasses.replace(plan, shard=then), folder, dropout=0.5)
    return {
        "state": state,
        "method": dict(checkpoint["method"]),
        "optimizer": checkpoint["optimizer"]["state"],
        "step": checkpoint["step"],
    }


def profiled() -> list[str]:
    told: list[str] = []
    plan = Plan(
        dataclasses.replace(OPTIMIZERS["adamw"], epochs=5),
        shard=True,
        profile=Profile(torch.device("cpu"), told.append, steps=3),
    )
    toy_run(plan)
    return told


def told() -> dict[str, Any]:
    """All that one process has to tell."""
    plan = Plan(OPTIMIZERS["adamw"], seed=3, shard=True)
    found: dict[str, Any] = {
        "optimised": optimised(True),
        "held": held(),
        "in turn": toy_run(IN_TURN, kind=InTurn),
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".* returned a view tensor")
        found["in place"] = toy_run(IN_TURN, kind=InPlace)
    if collectives.world() == 2:
        found["cached"] = toy_run(dataclasses.replace(plan, gradient_cache=2))
        found["uninterrupted"] = {
            str(shard): toy_run(dataclasses.replace(plan, shard=shard), dropout=0.5)
            for shard in (False, True)
        }
        found["resumed"] = {
            f"{first}, {then}": resumed(first, then)
            for first in (False, True)
            for then in (False, True)
        }
        found["profile"] = profiled()
        collectives.stop()
        threads = Path("/proc/self/task")
        found["threads"] = (
            [name.read_text().strip() for name in threads.glob("*/comm")]
            if threads.exists()
            else []
        )
    return found


@functools.cache
def several() -> dict[int, list[dict[str, Any]]]:
    return on_processes(told)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_takes_the_steps_of_one_process(optimizer: str, count: int) -> None:
    """The norms by which LARS, LARC and clipping scale are those of whole tensors."""
    expected = optimised(False)[optimizer]
    for found in several()[count]:
        assert_close(found["optimised"][optimizer], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3])
def test_phases_take_the_steps_of_one_process(count: int) -> None:
    expected = toy_run(IN_TURN, kind=InTurn)
    for found in several()[count]:
        assert_close(found["in turn"], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3])
def test_a_block_may_be_followed_by_an_operation_in_place(count: int) -> None:
    expected = toy_run(IN_TURN, kind=InPlace)
    for found in several()[count]:
        assert_close(found["in place"], expected, rtol=1e-10, atol=1e-12)


def test_clipping_and_rescaling_matter_in_these_runs() -> None:
    for name in ("sgd", "lars"):
        free = toy_run(Plan(dataclasses.replace(OPTIMIZERS[name], clip=0.0), seed=3))
        moved = (
            (free["encoder.layers.1.weight"] - optimised(False)[name]["encoder.layers.1.weight"])
            .abs()
            .max()
        )
        assert moved > 1e-4, name


def test_the_gradient_cache_takes_the_steps_of_one_process() -> None:
    for found in several()[2]:
        assert_close(found["cached"], optimised(False)["adamw"], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3])
def test_each_process_holds_its_share(count: int) -> None:
    results = [found["held"] for found in several()[count]]
    whole = results[0]["whole"]
    learning = results[0]["learning"]
    assert sum(found["own"] for found in results) == whole
    assert sum(found["own moments"] for found in results) == 2 * learning
    for found in results:
        assert found["own"] < 1.05 * whole / count
        assert found["own moments"] < 1.05 * 2 * learning / count
        assert set(found["in the method given meanwhile"]) == {0}
        assert found["in the method given"] == whole


def test_blocks_are_gathered_by_themselves() -> None:
    method = vision()
    names = {id(module): name for name, module in method.named_modules()}
    found = [names[id(block)] for block in sharding.blocks(method)]
    for network in ("encoder", "target.module.0"):
        assert [name for name in found if name.startswith(network) and "blocks" in name] == [
            f"{network}.transformer.blocks.{number}" for number in range(2)
        ]
    assert not [name for name in found if name in ("encoder", "target.module.0")]


def test_what_two_blocks_share_is_in_neither() -> None:
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    tied[0].weight = tied[2].weight
    assert sharding.blocks(tied) == [tied[1]]


@pytest.mark.parametrize("then", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_a_run_resumes_sharded_or_not(first: bool, then: bool) -> None:
    for found in several()[2]:
        resumed = found["resumed"][f"{first}, {then}"]
        assert resumed["step"] < 6
        exact = {"rtol": 0.0, "atol": 0.0} if first == then else {"rtol": 1e-10, "atol": 1e-12}
        assert_close(resumed["state"], found["uninterrupted"][str(then)], **exact)


def test_a_checkpoint_is_the_same_sharded_or_not() -> None:
    for found in several()[2]:
        whole, sharded = (found["resumed"][f"{first}, True"] for first in (False, True))
        for part in ("method", "optimizer"):
            assert_close(sharded[part], whole[part], rtol=1e-10, atol=1e-12)


def test_a_profile_has_its_bound() -> None:
    for found in several()[2]:
        assert "bound: " in found["profile"][0]
        assert "not measured" not in found["profile"][0]


@pytest.mark.skipif(
    not Path("/proc/self/task").exists(),
    reason="this system does not list the threads of a process",
)
def test_no_thread_is_left_that_could_abort_the_ending_interpreter() -> None:
    for found in several()[2]:
        assert found["threads"]
        assert not [name for name in found["threads"] if "gloo" in name]


def test_one_process_has_nothing_to_divide() -> None:
    for name, value in optimised(False).items():
        assert_close(optimised(True)[name], value, rtol=0, atol=0)
