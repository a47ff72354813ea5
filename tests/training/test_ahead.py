"""Batches made ahead: the same run to the bit, nothing across epochs, errors where they belong."""

from __future__ import annotations

import dataclasses
import threading
from contextlib import suppress

import pytest
import torch

from nearfar import data, networks
from nearfar.batch import Batch
from nearfar.methods import registry
from nearfar.options import resolved_settings
from nearfar.training import loop, running
from nearfar.training.care.ahead import Batches, cores_allow
from nearfar.training.plan import Plan

CPU = torch.device("cpu")
QUICKER = {"genview": {"generator_steps": 5}}


class Maker:
    """Batches that carry their step's number; remembers which thread made which."""

    def __init__(self, broken: int = -1) -> None:
        self.broken = broken  # type: ignore[var-annotated]
        self.made = {}

    def __call__(self, step: int) -> Batch:
        if step == self.broken:
            raise ValueError(f"step {step}")
        self.made[step] = threading.current_thread() is threading.main_thread()
        return Batch([], torch.tensor([step]), None, {})


@pytest.mark.parametrize("ahead", [False, True])
def test_batches_come_in_order_and_the_first_of_an_epoch_is_never_made_ahead(ahead: bool) -> None:
    maker = Maker()
    with Batches(maker, 3, 8, ahead=ahead) as batches:
        for step in range(8):
            assert batches(step).index.item() == step
            if step % 3 == 2:
                assert step + 1 not in maker.made
                assert step + 1 not in batches.begun
    assert maker.made == {step: not ahead or step % 3 == 0 for step in range(8)}


def test_a_resumed_run_may_begin_within_an_epoch() -> None:
    with Batches(Maker(), 3, 8, ahead=True) as batches:
        assert [batches(step).index.item() for step in (4, 5, 6)] == [4, 5, 6]


def test_an_error_ahead_is_raised_at_its_own_step() -> None:
    with Batches(Maker(broken=1), 3, 3, ahead=True) as batches:
        batches(0)
        with pytest.raises(ValueError, match="step 1"):
            batches(1)


def test_no_thread_is_left_when_a_run_breaks_off() -> None:
    before = threading.active_count()
    batches = Batches(Maker(), 9, 9, ahead=True)
    with suppress(KeyboardInterrupt), batches:
        batches(0)
        assert threading.active_count() == before + 1
        raise KeyboardInterrupt
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("cores", "threads", "processes", "expected"),
    [(2, 1, 1, True), (2, 2, 1, False), (8, 2, 2, True), (8, 4, 2, False)],
)
def test_cores_are_shared_out(
    cores: int, threads: int, processes: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert cores_allow(CPU) is expected


@pytest.mark.parametrize(
    "name", ["simclr", "mixed-barlow-twins", "hallucinator", "scatsimclr", "genview"]
)
def test_a_run_whose_batches_are_made_ahead_is_the_same_to_the_bit(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = data.load("digits", limit=48)
    kind = registry.get(name)
    weights = []
    for ahead in (False, True):
        monkeypatch.setattr(running, "cores_allow", lambda _, ahead=ahead: ahead)
        torch.manual_seed(0)
        encoder = networks.build(kind.default_encoder, source.spec, kind=kind.encoder_kind)
        asked = {**kind.recipes["small"].settings, **QUICKER.get(name, {})}
        method = kind(encoder, source.spec, resolved_settings(kind.Settings, asked))
        recipe = dataclasses.replace(kind.recipes["small"], batch_size=16, epochs=2)
        loop.fit(method, source, method.views(), Plan(recipe, seed=1))
        weights.append(method.state_dict())
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
