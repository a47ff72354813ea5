"""Every registered method and every loss passes the public battery, and the battery finds what it promises to find."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar import losses
from nearfar.losses.feature_transformation import Mixing
from nearfar.losses.hard_negatives import draw
from nearfar.methods import registry
from nearfar.testing import LOSS_CHECKS, METHOD_CHECKS, Case, LossCase, on_processes
from nearfar.testing.methods import assert_processes_equal
from nearfar.testing.steps import Trained, train_by_name

STOPPED = {"gradient_matches_differences"}
"""For methods whose loss stops a gradient on purpose."""
SKIPPED_METHOD_CHECKS = {
    "cacr-moco-v3": STOPPED,
    "cacr-queue": STOPPED,
    "core-tuning": STOPPED,
    "groco": STOPPED,
    "isogclr": STOPPED,
    "isogclr-pairs": STOPPED,
    "mochi": STOPPED,
    "supremix": STOPPED,
    "swav": STOPPED,
}


def pairs() -> list[tuple[str, str]]:
    """Every method with every modality it learns from; methods for any data are tried on images and on series."""
    return [
        (name, modality)
        for name in registry.names()
        for modality in registry.get(name).modalities or ("image", "series")
    ]


@pytest.mark.parametrize(("name", "modality"), pairs())
@pytest.mark.parametrize("check", sorted(METHOD_CHECKS.keys() - {"processes_equal_one"}))
def test_method(name: str, modality: str, check: str) -> None:
    if check in SKIPPED_METHOD_CHECKS.get(name, ()):
        pytest.skip("the loss stops a gradient on purpose")
    METHOD_CHECKS[check](Case(registry.get(name), modality))


@functools.cache
def several() -> tuple[dict[int, list[list[Trained]]], list[Trained]]:
    """All methods on groups of processes, started once for all, and on this process."""
    tasks = [(name, None, {}) for name in registry.names()]
    return on_processes(train_by_name, tasks), train_by_name(tasks)


@pytest.mark.parametrize("name", registry.names())
@pytest.mark.parametrize("count", [2, 3])
def test_several_processes_equal_one(name: str, count: int) -> None:
    found, expected = several()
    place = registry.names().index(name)
    assert_processes_equal([process[place] for process in found[count]], expected[place])


Maker = Callable[[int, torch.Generator], Any]


def online(*shape: int) -> Maker:
    """Random numbers that receive gradient; -1 stands for the number of samples."""
    return lambda rows, generator: fixed(*shape)(rows, generator).requires_grad_()


def fixed(*shape: int) -> Maker:
    """Random numbers without gradient."""

    def make(rows: int, generator: torch.Generator) -> Tensor:
        return torch.randn([rows if side == -1 else side for side in shape], generator=generator, dtype=torch.float64)

    return make


INPUTS: dict[str, Maker] = {
    **dict.fromkeys(("z1", "z2", "p1", "p2", "q1", "q2", "query", "first", "second"), online(-1, 5)),
    **dict.fromkeys(("target1", "target2", "k1", "k2", "nn1", "nn2", "key"), fixed(-1, 5)),
    "queue": fixed(9, 5),
    "similarity": online(-1, -1),
    "views": online(3, -1, 5),
}
"""What a parameter of a loss means by its name."""

OTHER_INPUTS: dict[str, dict[str, Maker]] = {
    "cacr.moco_v3_cacr": {"prediction": online(2, -1, 5), "key": fixed(2, -1, 5)},
    "cacr.moco_v3_key": {"query": online(2, -1, 5)},
    "clustering.swav": {
        "scores": online(4, -1, 5),
        "codes": lambda rows, generator: fixed(2, -1, 5)(rows, generator).softmax(2),
    },
    "contrastive.clip": {"logit_scale": lambda rows, generator: 5.0},
    "contrastive.info_nce": {"key": online(-1, 5)},
    "contrastive.supcon": {"features": online(-1, 2, 5), "label": lambda rows, generator: torch.arange(rows) % 3},
    "distillation.dino": {"student": online(4, -1, 5), "teacher": fixed(2, -1, 5), "centre": fixed(5)},
    "distillation.simsiam": {"z1": fixed(-1, 5), "z2": fixed(-1, 5)},
    "feature_transformation.feature_transformation": {
        "mixing": lambda rows, generator: Mixing(1.3, 0.6, torch.arange(9).flip(0))
    },
    "hard_negatives.mochi": {
        "draws": lambda rows, generator: draw(
            fixed(-1, 5)(rows, generator),
            fixed(9, 5)(rows, generator),
            generator=generator,
            hardest=4,
            pairs=3,
            with_query=2,
        ),
    },
    "individual_temperature.robust_contrastive": {
        "margins": online(-1, 6),
        "temperature": lambda rows, generator: torch.linspace(0.2, 1.0, rows, dtype=torch.float64).requires_grad_(),
    },
    "masked.masked_reconstruction": {
        "prediction": online(-1, 3, 4),
        "target": fixed(-1, 3, 4),
        "mask": lambda rows, generator: torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64).repeat(rows, 1),
    },
}
"""Where a name means something else, or is not known above."""

SPINE = {"clustering", "contrastive", "distillation", "masked", "redundancy"}
NO_LOSSES = {"similarity.reduce", "clustering.swapped_cross_entropy"}
"""Public parts of losses."""

_MATRIX = {"memory_is_linear": "the input is itself a matrix of all pairs"}
CONSTANT = {"gradient_matches_differences": "weights or others are constants on purpose"}
SKIPPED_LOSS_CHECKS: dict[str, dict[str, str]] = {
    **dict.fromkeys(
        (f"behaviour.{name}" for name in ("contrastive", "hard_contrastive", "simple", "hard_simple")), _MATRIX
    ),
    "cacr.moco_v3_key": CONSTANT,
    "decoupled.dclw": CONSTANT,
    "groco.groco": CONSTANT,
    "individual_temperature.robust_contrastive": {"finite_at_any_temperature": "each sample has its own"},
    "hard_negatives.mochi": {
        "order_does_not_matter": "draws belong to samples",
        "half_types_compute_in_float32": "draws have their own type",
        "finite_at_any_temperature": "draws have their own type",
    },
}


def all_losses() -> list[str]:
    """Every public function of the basic families, and of the others every one that can be reduced to a scalar."""
    found = []
    for module in pkgutil.iter_modules(losses.__path__):
        for name in getattr(importlib.import_module(f"nearfar.losses.{module.name}"), "__all__", []):
            key = f"{module.name}.{name}"
            if key in NO_LOSSES or not inspect.isfunction(function(key)):
                continue
            if module.name in SPINE or "reduction" in signature(key):
                found.append(key)
    return found


def function(key: str) -> Any:
    module, _, name = key.partition(".")
    return getattr(importlib.import_module(f"nearfar.losses.{module}"), name)


def signature(key: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function(key)).parameters


def case_of(key: str) -> LossCase:
    other = OTHER_INPUTS.get(key, {})
    makers = {}
    for name, parameter in signature(key).items():
        if parameter.default is parameter.empty or name in other:
            assert name in other or name in INPUTS, (
                f"tell OTHER_INPUTS in this file how to make {name} for losses.{key}"
            )
            makers[name] = other.get(name) or INPUTS[name]
    return LossCase(
        function(key), lambda rows, generator: {name: make(rows, generator) for name, make in makers.items()}
    )


@pytest.mark.parametrize("check", sorted(LOSS_CHECKS))
@pytest.mark.parametrize("key", all_losses())
def test_loss(key: str, check: str) -> None:
    if check in SKIPPED_LOSS_CHECKS.get(key, {}):
        pytest.skip(SKIPPED_LOSS_CHECKS[key][check])
    LOSS_CHECKS[check](case_of(key))
