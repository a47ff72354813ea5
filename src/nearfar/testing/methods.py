"""Checks of methods, each of one promise; an ``AssertionError`` says what was found instead."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.testing import assert_close

from nearfar.batch import Batch
from nearfar.data.batches.wanted import Streams
from nearfar.errors import UserError
from nearfar.methods.method import Method, Phase, Recipe, Summed
from nearfar.methods.names import name_of as method_name
from nearfar.rows import concatenate, map_tensors, tensors_of
from nearfar.testing.devices import wait_in
from nearfar.testing.processes import on_processes
from nearfar.testing.results import check_predictions
from nearfar.testing.steps import Trained, assert_processes_equal, train, train_by_name
from nearfar.testing.toys import ROWS, toy
from nearfar.training.care.checkpoints import load_checkpoint, save_checkpoint
from nearfar.training.gradients import gradients
from nearfar.training.objective import takes_rows
from nearfar.training.outputs import detached
from nearfar.training.phases import Optimizers, moving
from nearfar.training.plan import Plan

REFUSABLE = ("shard", "cache", "accumulate", "ahead")
"""What a method may ask the engine to refuse."""


@dataclass(frozen=True)
class Case:
    """What a check looks at: one method on toy data of one modality.

    Attributes:
        method: the class.
        modality: of the toy data; None for the method's first.
        settings: that differ from the toy's.
        without_gradient: learning parameters that may stay without gradient, by name.
    """

    method: type[Method]
    modality: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    without_gradient: tuple[str, ...] = ()

    def make(self, seed: int = 0) -> tuple[Method, Batch]:
        """A fresh method and its batch."""
        return toy(self.method, self.modality, settings=self.settings, seed=seed)


def runs(case: Case) -> None:
    """Outputs have a row for each sample or are ``Summed``, loss terms are finite scalars, views
    stay as they are.
    """
    method, batch = case.make()
    before = [map_tensors(view, Tensor.clone) for view in batch.views]
    for phase in method.phases():
        _check_outputs(method, phase, batch)
    for view, old in zip(batch.views, before, strict=True):
        same = zip(tensors_of(view), tensors_of(old), strict=True)
        assert all(torch.equal(a, b) for a, b in same), "forward changes a view in place"
    features = method.eval().encode(batch.views[0])
    assert features.ndim == 2, f"encode gives the shape {tuple(features.shape)}; expected (N, D)"
    assert len(features) == len(batch), (
        f"encode gives {len(features)} rows for {len(batch)} samples"
    )
    assert bool(features.isfinite().all()), "encode gives values that are not finite"


def _check_outputs(method: Method, phase: Phase, batch: Batch) -> None:
    outputs = getattr(method, phase.forward)(batch)
    assert isinstance(outputs, dict), (
        f"{phase.forward} gives a {type(outputs).__name__}; expected a dict of named outputs"
    )
    for leaf in _leaves(outputs):
        found = "a scalar" if isinstance(leaf, Tensor) and not leaf.ndim else ""
        assert isinstance(leaf, Summed) or len(leaf) in _rows_of(method, batch), (
            f"an output is {found or tuple(leaf.shape)}; expected {len(batch)} rows or Summed"
        )
    terms = getattr(method, phase.loss)(outputs)
    assert isinstance(terms, Mapping), (
        f"{phase.loss} gives a {type(terms).__name__}; expected a dict of named terms"
    )
    for name, term in terms.items():
        assert isinstance(term, Tensor), (
            f"the loss term {name} is a {type(term).__name__}; expected a scalar tensor"
        )
    assert any(term.requires_grad for term in terms.values()), (
        f"none of the loss terms {sorted(terms)} has a gradient"
    )
    for name, term in terms.items():
        assert term.ndim == 0, (
            f"the loss term {name} has the shape {tuple(term.shape)}; expected a scalar"
        )
        assert bool(term.isfinite()), f"the loss term {name} is {term.item()}"


def _rows_of(method: Method, batch: Batch) -> set[int]:
    """How many rows an output may have: as many as the batch, or as one of its streams."""
    found = {len(batch)}
    if isinstance(method.wanted_batches, Streams):
        found |= set(torch.bincount(batch.extra["stream"]).tolist())
    return found


def phases_move_their_own(case: Case) -> None:
    """In each phase its own parameters move and no others; every parameter that learns is in a
    phase.
    """
    method, batch = case.make()
    phases = method.phases()
    optimizers = Optimizers(method, Recipe(batch_size=ROWS))
    plan = Plan(Recipe(batch_size=len(batch)))
    for phase in phases:
        own = {id(parameter) for parameter in phase.parameters}
        before = {name: parameter.detach().clone() for name, parameter in method.named_parameters()}
        learning = {name: parameter.requires_grad for name, parameter in method.named_parameters()}
        optimizers.of(phase).zero_grad(set_to_none=True)
        method.progress = phase.since
        with moving(method, phase.parameters):
            gradients(method, method, phase, batch, plan)
        optimizers.of(phase).step()
        moved = {
            name
            for name, parameter in method.named_parameters()
            if not torch.equal(parameter, before[name])
        }
        foreign = sorted(
            name
            for name, parameter in method.named_parameters()
            if name in moved and id(parameter) not in own
        )
        assert not foreign, f"the phase {phase.name} moves {foreign}, which are not its own"
        assert moved, f"the phase {phase.name} moves nothing"
        after = {name: parameter.requires_grad for name, parameter in method.named_parameters()}
        assert after == learning, f"the phase {phase.name} leaves parameters held still"


def gradient_reaches_parameters(case: Case) -> None:
    """Every learning parameter gets a finite gradient, no other gets one, and the optimiser has
    each exactly once.
    """
    method, batch = case.make()
    Optimizers(method, Recipe(batch_size=ROWS))
    (gradients,) = train(method, batch, [0.5])["gradients"]
    reached = {name.partition(": ")[2] for name in gradients}
    learning = {name for name, parameter in method.named_parameters() if parameter.requires_grad}
    missing = learning - reached - set(case.without_gradient)
    assert not missing, f"no gradient reaches {sorted(missing)}"
    assert reached <= learning, (
        f"a gradient reaches {sorted(reached - learning)}, which should not learn"
    )
    _assert_finite(gradients, "the gradient of")


def gradient_matches_differences(case: Case) -> None:
    """The loss's gradient by the outputs is its slope. Skip it where the loss stops a gradient on
    purpose.

    Terms without a gradient are diagnostics and left out.
    """
    method, batch = case.make()
    method.progress = 0.5
    for phase in method.phases():
        raw = getattr(method, phase.forward)(batch)
        _check_slope(getattr(method, phase.loss), raw)


def _check_slope(compute: Callable[[Any], dict[str, Tensor]], raw: Any) -> None:
    outputs = detached(raw)
    moving = [
        v for v, old in zip(_tensors(outputs), _tensors(raw), strict=True) if old.requires_grad
    ]
    generator = torch.Generator().manual_seed(2)
    steps = [1e-6 * torch.randn(v.shape, generator=generator, dtype=v.dtype) for v in moving]
    for value in moving:
        value.requires_grad_()
    counted = [name for name, term in compute(outputs).items() if term.requires_grad]

    def loss() -> Tensor:
        terms = compute(outputs)
        return torch.stack([terms[name] for name in counted]).sum()

    found_gradients = torch.autograd.grad(loss(), moving, materialize_grads=True)
    expected = sum(float((g * s).sum()) for g, s in zip(found_gradients, steps, strict=True))
    with torch.no_grad():
        torch._foreach_add_(moving, steps)
        above = float(loss())
        torch._foreach_sub_(moving, steps, alpha=2)
        found = (above - float(loss())) / 2
    same = math.isclose(expected, found, rel_tol=1e-4, abs_tol=1e-12)
    assert same, (
        f"by its gradient the loss changes by {expected:.6g} where it changes by {found:.6g}"
    )


def shares_add_up(case: Case) -> None:
    """A loss that takes ``rows``: the terms of unequal ranges add up to the whole's; those without
    gradient are means. Others pass.
    """
    method, batch = case.make()
    method.progress = 0.5
    for phase in method.phases():
        if not takes_rows(method, phase):
            continue
        outputs = detached(getattr(method, phase.forward)(batch))
        for value in _tensors(outputs):
            value.requires_grad_(value.is_floating_point())
        loss = getattr(method, phase.loss)
        expected = loss(outputs)
        ends = (0, 1, len(batch) // 2, len(batch))
        parts = [(loss(outputs, rows=slice(a, b)), (b - a) / len(batch)) for a, b in pairwise(ends)]
        for name, term in expected.items():
            found = torch.stack(
                [terms[name] if term.requires_grad else part * terms[name] for terms, part in parts]
            ).sum()
            assert_close(
                found,
                term,
                rtol=1e-10,
                atol=1e-10,
                msg=f"the shares of {name} do not add up: ".__add__,
            )


def repeats(case: Case) -> None:
    """The same seed gives the same steps to the bit; other weights do not."""
    first, second, other = (train(*case.make(seed)) for seed in (0, 0, 1))
    assert_close(
        second, first, rtol=0, atol=0, msg=lambda text: f"the same seed gives other steps: {text}"
    )
    different = [
        not torch.equal(a, other["terms"][0][name]) for name, a in first["terms"][0].items()
    ]
    assert any(different), "the loss is the same for other weights"


def resumes(case: Case) -> None:
    """A step after saving and loading into a fresh method is the step without it, to the bit."""
    method, batch = case.make()
    train(method, batch, [0.25])
    fresh, _ = case.make(seed=1)
    with tempfile.TemporaryDirectory() as folder:
        path = save_checkpoint(Path(folder), {"step": 1, "method": method.state_dict()})
        fresh.load_state_dict(load_checkpoint(path)["method"])
    found = train(fresh, batch, [0.75])
    expected = train(method, batch, [0.75])
    assert_close(
        found,
        expected,
        rtol=0,
        atol=0,
        msg=lambda text: f"the step after resuming is another: {text}",
    )


def gradient_cache_equals_plain(case: Case) -> None:
    """Embedding in chunks takes the step of the whole batch; batch norms rest, as each chunk has
    its own statistics. A method that refuses the cache passes.
    """
    if "cache" in case.method.cannot:
        return
    plain, cached = (_train_at_rest(case, chunk) for chunk in (0, 4))
    assert_close(
        cached,
        plain,
        rtol=1e-9,
        atol=1e-10,
        msg=lambda text: f"the gradient cache takes another step: {text}",
    )


def _train_at_rest(case: Case, gradient_cache: int) -> Trained:
    method, batch = case.make()
    for module in method.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    return train(method, batch, [0.5], gradient_cache=gradient_cache)


def runs_in_bfloat16(case: Case) -> None:
    """Steps under bfloat16 autocast have finite losses, which are computed in float32."""
    method, batch = case.make()
    narrow = replace(
        batch,
        views=[map_tensors(view, _single) for view in batch.views],
        extra={name: map_tensors(value, _single) for name, value in batch.extra.items()},
    )
    for terms in train(method.float(), narrow, precision="bfloat16")["terms"]:
        _assert_finite(terms, "the bfloat16 loss term")
        for name, term in terms.items():
            assert term.dtype == torch.float32, (
                f"under bfloat16 the loss term {name} is computed in {term.dtype}"
            )


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def few_samples_are_right_or_refused(case: Case) -> None:
    """A batch of one sample, and one of equal samples, give finite steps or a clear error."""
    _, batch = case.make()
    equal = replace(batch, views=[concatenate([view[:1]] * len(batch)) for view in batch.views])
    for what, given in (("one sample", batch[:1]), ("equal samples", equal)):
        try:
            trained = train(case.make()[0], given, [0.5])
        except (
            UserError,
            ValueError,
        ):  # a ValueError is how PyTorch's batch norm refuses a single value a channel
            continue
        _assert_finite(trained["terms"][0], f"with {what} the loss term")
        _assert_finite(trained["gradients"][0], f"with {what} the gradient of")


def processes_equal_one(case: Case) -> None:
    """Two and three processes with unequal parts take the steps of one process on the joined batch.

    Losses, gradients and what ``after_step`` leaves (queues, centres, momentum encoders, batch
    norms) agree to 1e-10, also with the parameters divided over the processes, unless the method
    refuses that.
    """
    if case.method.__module__ == "__main__":
        raise UserError(
            f"Other processes cannot import {case.method.__name__} from the main script; move it "
            "into a file of its own,"
            " or skip processes_equal_one."
        )
    task = (method_name(case.method), case.modality, dict(case.settings))
    (expected,) = train_by_name([task])
    shards = [False] if "shard" in case.method.cannot else [False, True]
    for results in on_processes(train_by_name, [task], shards).values():
        each = zip(*results, strict=True)
        for how, found in zip(("", ", sharded,")[: len(shards)], each, strict=True):
            assert_processes_equal(found, expected, how)


def waits_only_as_declared(case: Case) -> None:
    """On a pretended CUDA device all tensors are on one device, and nothing asks the device for a
    value, unless the method says why (``waits``).
    """
    method, batch = case.make()
    declared = type(method).waits
    found = wait_in(method, batch)
    if declared:
        assert found, f"nothing waits for the device any more; remove waits = {declared!r}"
    else:
        assert not found, f"forward or loss waits for the device ({found}); mend it, or say why"


def predictions_are_results(case: Case) -> None:
    """What a method predicts is a result with a row for each sample, whatever lies beside it."""
    if case.method.predicts is None:
        return
    method, batch = case.make()
    with torch.no_grad():
        check_predictions(method.eval(), case.method.predicts.asked(batch.views[0]))


def refuses_with_a_reason(case: Case) -> None:
    """Only what may be refused is refused, and each refusal says why."""
    for what, reason in case.method.cannot.items():
        assert what in REFUSABLE, f"{what} may not be refused; only {', '.join(REFUSABLE)}"
        assert len(reason.split()) > 2, f"why {what} is refused is not told: {reason!r}"


def refusals(methods: Iterable[type[Method]]) -> dict[str, list[str]]:
    """For each thing that may be refused the names of the methods that refuse it.

    Args:
        methods: Such as those of ``nearfar.methods.registry``.
    """
    each = list(methods)
    return {
        what: sorted(method_name(one) for one in each if what in one.cannot) for what in REFUSABLE
    }


METHOD_CHECKS: Mapping[str, Callable[[Case], None]] = {
    check.__name__: check
    for check in [
        runs,
        phases_move_their_own,
        gradient_reaches_parameters,
        gradient_matches_differences,
        shares_add_up,
        repeats,
        resumes,
        gradient_cache_equals_plain,
        runs_in_bfloat16,
        few_samples_are_right_or_refused,
        waits_only_as_declared,
        predictions_are_results,
        refuses_with_a_reason,
        processes_equal_one,
    ]
}
"""Every check of a method, by name."""


def _assert_finite(values: Mapping[str, Tensor], what: str) -> None:
    for name, value in values.items():
        assert bool(value.isfinite().all()), f"{what} {name} is not finite"


def _leaves(outputs: Any) -> Iterator[Any]:
    """Tensors and ``Summed`` of nested outputs, in order."""
    if isinstance(outputs, dict | list | tuple):
        for item in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from _leaves(item)
    else:
        yield outputs


def _tensors(outputs: Any) -> list[Tensor]:
    return [leaf.value if isinstance(leaf, Summed) else leaf for leaf in _leaves(outputs)]
