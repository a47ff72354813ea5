"""Settings that change what a method computes: two and three processes take the steps of one, all
in one start of the processes.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest

from nearfar.testing import on_processes
from nearfar.testing.steps import Trained, assert_processes_equal, train_by_name

pytestmark = pytest.mark.slow

VARIANTS: list[tuple[str, str | None, dict[str, Any]]] = [
    ("byol", None, {"last_norm": True, "predictor_rate": 10.0, "predictor_decays": False}),
    ("dino", None, {"sinkhorn": True, "head_norm": True}),
    ("fixed-head", None, {"loss": "supcon"}),
    ("fixed-head", None, {"loss": "cross-entropy"}),
    ("fixed-head", None, {"head": "mlp"}),
    ("genview", None, {"host": "swav", "host_recipe": "small", "generator_steps": 2}),
    ("genview", None, {"host": "moco-v2", "host_recipe": "small", "generator_steps": 2}),
    ("hallucinator", None, {"host": "moco-v2"}),
    ("hallucinator", None, {"host": "simsiam", "form": "norm"}),
    ("hallucinator", None, {"host": "simclr", "form": "identity"}),
    ("mcl", None, {"batches": "mixed"}),
    ("moco-v2", None, {"decoupled": True}),
    ("nnclr", None, {"decoupled": True}),
    ("supremix", None, {"pool": 2}),
    ("supremix", None, {"views": 1, "official": True}),
    ("mcl-clip", "image+text", {"batches": "mixed"}),
    ("mcl-clip", "image+text", {"restart": "same", "lock_texts": True, "image_layers": 1}),
    ("sepclr", None, {"attributes": "discrete"}),
    ("sepclr", None, {"attributes": "continuous"}),
]


@functools.cache
def several() -> tuple[dict[int, list[list[Trained]]], list[Trained]]:
    found = on_processes(train_by_name, VARIANTS, [False, True], counts=[2]) | on_processes(
        train_by_name, VARIANTS, counts=[3]
    )
    return found, train_by_name(VARIANTS)


@pytest.mark.parametrize(("count", "sharded"), [(2, False), (3, False), (2, True)])
@pytest.mark.parametrize(
    "place", range(len(VARIANTS)), ids=[f"{name}-{settings}" for name, _, settings in VARIANTS]
)
def test_several_processes_equal_one(place: int, count: int, sharded: bool) -> None:
    found, expected = several()
    own = [process[place + sharded * len(expected)] for process in found[count]]
    assert_processes_equal(own, expected[place], ", sharded," if sharded else "")
