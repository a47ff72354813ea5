"""GenView: which view shows the variation, what its weights do to either host's loss, and what is
fitted before training.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.data import load
from nearfar.errors import UserError
from nearfar.losses.distillation.distillation import simsiam
from nearfar.losses.instance.contrastive import moco_v3
from nearfar.losses.instance.view_quality import noise_level
from nearfar.methods import registry
from nearfar.methods.hosted._per_sample import PER_SAMPLE
from nearfar.methods.hosted.genview import GenView
from nearfar.rows.levels import to_unit
from nearfar.testing import METHOD_CHECKS, Case
from nearfar.training.training_set import LoadedTrainingSet
from nearfar.views.samples import denormalise, normalise

from .toys import batch_for, build, spec_of

SMALL = {"host_recipe": "small", "generator_steps": 2, "latent": 4}


class _Inverted:
    """Notes what it is asked for."""

    def generate(self, images: Tensor, level: Tensor, generator: Any = None) -> Tensor:
        self.level = level
        return 255 - images


def test_one_view_of_each_sample_shows_the_variation() -> None:
    method = build(GenView, SMALL)
    method.generator = _Inverted()
    images = torch.randint(0, 100, (400, 3, 16, 16), dtype=torch.uint8)
    first, second = method.view_sources(images, torch.arange(400), torch.Generator())
    varied = [(source == 255 - images).flatten(1).all(1) for source in (first, second)]
    plain = [(source == images).flatten(1).all(1) for source in (first, second)]
    assert torch.equal(varied[0], ~varied[1])
    assert torch.equal(plain[0], varied[1])
    assert varied[0].float().mean().item() == pytest.approx(0.5, abs=0.1)
    rare = build(GenView, SMALL | {"share": 0.25})
    rare.generator = method.generator
    sources = rare.view_sources(images, torch.arange(400), torch.Generator())
    share = sum((source == 255 - images).flatten(1).all(1).float().mean() for source in sources)
    assert share.item() == pytest.approx(0.25, abs=0.08)


def test_more_foreground_gets_more_noise() -> None:
    method = build(GenView, SMALL)
    method.generator = _Inverted()
    images = torch.randint(0, 256, (50, 3, 16, 16), dtype=torch.uint8)
    method.foreground.axis.normal_()
    tokens = method._tokens(to_unit(images))
    method.foreground.threshold.fill_((tokens @ method.foreground.axis).median())
    method.view_sources(images, torch.arange(50), torch.Generator())
    assert torch.equal(method.generator.level, noise_level(method.foreground.share(tokens)))


@pytest.mark.parametrize("host", PER_SAMPLE)
def test_every_host_trains_and_keeps_its_loss_where_pairs_are_equal(host: str) -> None:
    method = build(GenView, SMALL | {"host": host, "sharpness": 0.0}).train()
    outputs = method(batch_for(method))
    pairs = {name: value for name, value in outputs.items() if name != "quality"}
    (loss,) = method.loss(outputs).values()
    expected = next(term for term in method.host.loss(pairs).values() if term.requires_grad)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    method.after_backward("all")
    method.after_step(outputs)
    assert all(p.grad is not None for p in method.host.encoder.parameters())


@pytest.mark.parametrize(("host", "plain"), [("simsiam", simsiam), ("moco-v3", moco_v3)])
def test_without_sharpness_the_loss_is_the_hosts(host: str, plain: Any) -> None:
    method = build(GenView, SMALL | {"host": host, "sharpness": 0.0}).train()
    outputs = method(batch_for(method))
    pairs = {name: value for name, value in outputs.items() if name != "quality"}
    extra = {"temperature": method.host.settings.temperature} if host == "moco-v3" else {}
    (loss,) = method.loss(outputs).values()
    torch.testing.assert_close(loss, plain(**pairs, **extra))
    outputs["quality"] = torch.tensor([40.0, *[0.0] * 7])
    sharp = build(GenView, SMALL | {"host": host, "sharpness": 1.0})
    (weighted,) = sharp.loss(outputs).values()
    alone = {name: value[:1] for name, value in pairs.items()}
    if host == "simsiam":
        torch.testing.assert_close(weighted, plain(**alone))
    assert method.wanted_views == registry.get(host).wanted_views


def test_the_host_moves_with_the_run() -> None:
    method = build(GenView, SMALL | {"host": "moco-v3"}).train()
    with torch.no_grad():
        method.encoder.layers[0].weight.add_(1.0)
    before = method.host.target.module[0].layers[0].weight.clone()
    method.progress = 0.25
    method.after_step({})
    assert method.host.progress == 0.25
    assert not torch.equal(method.host.target.module[0].layers[0].weight, before)


def test_generator_and_axis_are_fitted_once_before_training() -> None:
    source = load("digits", limit=200)
    method = GenView(
        load_encoder(source), source.spec, GenView.Settings(host_recipe="small", generator_steps=60)
    )
    untrained = {name: value.clone() for name, value in method.autoencoder.state_dict().items()}
    training_set = LoadedTrainingSet(source.train, method, seed=0)
    method.before_epoch(0, training_set)
    assert all(
        not torch.equal(value, untrained[name])
        for name, value in method.autoencoder.state_dict().items()
    )
    assert method.foreground.axis.norm().item() == pytest.approx(1.0, abs=1e-4)
    share = method.foreground.share(method._tokens(to_unit(source.train.take(torch.arange(200)))))
    assert 0.2 < share.mean().item() < 0.5
    kept = {name: value.clone() for name, value in method.state_dict().items()}
    method.before_epoch(1, training_set)
    assert all(torch.equal(value, kept[name]) for name, value in method.state_dict().items())


def load_encoder(source: Any) -> Any:
    from nearfar import networks

    return networks.build("small-convnet", source.spec)


def test_denormalised_is_as_before() -> None:
    spec = spec_of(GenView)
    values = torch.rand(3, 3, 4, 4)
    torch.testing.assert_close(denormalise(normalise(values.clone(), spec), spec), values)


@pytest.mark.parametrize(
    "check", ["runs", "gradient_reaches_parameters", "resumes", "gradient_cache_equals_plain"]
)
def test_moco_v3_as_host_passes_the_battery(check: str) -> None:
    METHOD_CHECKS[check](Case(GenView, settings={"host": "moco-v3"}))


@pytest.mark.parametrize("host", PER_SAMPLE)
def test_the_shares_of_every_hosts_loss_add_up(host: str) -> None:
    METHOD_CHECKS["shares_add_up"](Case(GenView, settings={"host": host}))


def test_unknown_hosts_are_refused() -> None:
    with pytest.raises(UserError, match="Unknown setting host 'moco-v4': did you mean moco-v"):
        build(GenView, {"host": "moco-v4"})
