"""The user's own encoder, data and views: what they may be, that runs remember and never run them,
and one sentence for what they may not be.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.transforms import v2

import nearfar
from nearfar import data, networks, own
from nearfar.batch import Place
from nearfar.cli import main
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.networks.own_encoder import OwnEncoder
from nearfar.views import EachSample, ImageViewSettings, OwnViews, WantedViews
from nearfar.views.draws import PartGenerator

SPEC = Spec("toy", "image", (3, 16, 16), 40, mean=(0.5,) * 3, std=(0.25,) * 3)
IMAGES = torch.randint(
    0, 256, (40, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
LABELS = torch.arange(40) % 4
FILE = """
import torch
from torch import nn


def make_encoder():
    return nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6))


def make_data():
    return torch.arange(40 * 768).reshape(40, 3, 16, 16).remainder(251).to(torch.uint8)


def views(images):
    return [images.flip(3), images / 255 * torch.rand(1)]
"""


class Net(nn.Module):
    """A small encoder with a part that no feature depends on."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.BatchNorm2d(width), nn.ReLU())
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.body(x)
        return found


class Gives(nn.Module):
    """An encoder that gives whatever a function makes of the pixels."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def short(folder: Path, **options: Any) -> nearfar.Run:
    chosen = {"data": IMAGES, "encoder": Net, "steps": 3, "evaluate": False, "quiet": True}
    return nearfar.pretrain("byol", output=folder, **{**chosen, **options})


def weights(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = load_file(folder / "encoder.safetensors")
    return found


def test_a_module_is_tried_without_a_trace_and_what_is_not_reached_is_frozen() -> None:
    net = Net()
    net.body[0].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    encoder = OwnEncoder(net, SPEC, "own:Net")
    assert encoder.dimension == 6
    assert torch.equal(state, torch.get_rng_state())
    assert [one.training for one in net.body] == [False, True, True]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net.unused.weight.requires_grad
    assert net.body[0].weight.requires_grad
    assert encoder.feature_map(torch.zeros(2, 3, 16, 16)).shape == (2, 6, 7, 7)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x.flatten(2), lambda x: x.flatten(2).mean(1)),
        (lambda x: {"last_hidden_state": x.flatten(2)}, lambda x: x.flatten(2).mean(1)),
        (lambda x: {"pooler_output": x.mean((2, 3))}, lambda x: x.mean((2, 3))),
        (lambda x: x, lambda x: x.mean((2, 3))),
    ],
    ids=["tokens", "hidden", "pooler", "map"],
)
def test_outputs_are_brought_to_features(function: Any, expected: Any) -> None:
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(OwnEncoder(Gives(function), SPEC, "own:G")(x), expected(x))


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda x: (x, x), "a tuple of Tensor, Tensor; expected features"),
        (lambda x: x.mean((2, 3))[:1], "1 rows of features for 2 samples"),
        (lambda x: x.flatten(1)[:, : len(x)], "gives 2 features for some samples and 3 for 3"),
        (lambda x: x.mean((1, 2, 3)), r"a tensor of float32 \(2,\)"),
        (lambda x: x.nothing, "fails on 2 samples of 3 x 16 x 16"),
    ],
)
def test_what_is_no_encoder_is_told_in_one_sentence(function: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        OwnEncoder(Gives(function), SPEC, "own:G")


def test_three_axes_of_a_series_encoder_are_a_question() -> None:
    series = Spec("toy", "series", (2, 32), 10, mean=(0.0,) * 2, std=(1.0,) * 2)
    with pytest.raises(UserError, match=r"tokens \(T, D\) or a map \(C, T\)"):
        OwnEncoder(nn.Conv1d(2, 4, 3), series, "own:Conv1d")


def test_the_random_encoder_has_other_weights_than_those_that_were_handed_over() -> None:
    net = Net()
    net.position = nn.Parameter(torch.arange(6.0))  # nothing draws it
    with own.handing(encoder=net):
        given = networks.build("own:Net", SPEC)
        fresh = networks.build("own:Net@fresh", SPEC)
    assert torch.equal(given.module.body[0].weight, net.body[0].weight)
    assert not torch.equal(fresh.module.body[0].weight, net.body[0].weight)
    assert fresh.module.position.sort()[0].tolist() == net.position.tolist()
    assert not torch.equal(fresh.module.position, net.position)


def test_a_run_is_saved_opened_and_judged_with_what_was_handed_over(tmp_path: Path) -> None:
    net = Net()
    before = net.body[0].weight.detach().clone()
    run = short(tmp_path / "run", encoder=net, data=(IMAGES, LABELS))
    assert torch.equal(net.body[0].weight, before)
    features = run.embed(IMAGES[:3])
    judged = {score.row for score in nearfar.evaluate(run, protocols="knn").scores}
    assert {"trained", "random encoder"} <= judged
    opened = nearfar.open_run(tmp_path / "run", encoder=Net, data=(IMAGES, LABELS))
    assert np.array_equal(opened.embed(IMAGES[:3]), features)
    assert opened.source().train.ids == run.source().train.ids
    with pytest.raises(UserError, match=r"Net, is the user's own.*open_run\(RUN, encoder=...\)"):
        nearfar.open_run(tmp_path / "run").encoder()
    with pytest.raises(UserError, match="data of this run, Tensor, are the user's own"):
        nearfar.open_run(tmp_path / "run", encoder=Net).source()
    with pytest.raises(UserError, match=r"body.0.bias is of shape \(6,\) in the file"):
        nearfar.open_run(tmp_path / "run", encoder=lambda: Net(7)).encoder()


def test_a_resumed_run_with_views_of_ones_own_is_the_uninterrupted_one(tmp_path: Path) -> None:
    calls = []

    def views(images: Tensor) -> list[Tensor]:
        calls.append(1)
        if len(calls) == 4:  # one was made to see that they fit
            os.kill(os.getpid(), signal.SIGINT)
        noise = torch.rand(1) + np.random.rand()
        return [images.flip(3), (images / 255 * noise / 2).clamp(0, 1)]

    stopped = short(tmp_path / "stopped", views=views, steps=6)
    assert stopped.interrupted
    with pytest.raises(UserError, match="views of this run, views, are the user's own"):
        nearfar.pretrain(resume=tmp_path / "stopped", encoder=Net, data=IMAGES, quiet=True)
    own_parts = {"encoder": Net, "data": IMAGES, "views": views}
    assert not nearfar.pretrain(resume=tmp_path / "stopped", quiet=True, **own_parts).interrupted
    short(tmp_path / "whole", views=views, steps=6)
    one, other = weights(tmp_path / "stopped"), weights(tmp_path / "whole")
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_file_runs_for_the_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("parts.py").write_text(FILE)
    words = ["pretrain", "simclr", "--data", "parts.py:make_data", "--views", "parts.py:views"]
    words += ["--encoder", "parts.py:make_encoder", "--steps", "2", "--no-evaluate"]
    assert main([*words, "--output", "run"]) == 0
    Path("parts.py").write_text("raise RuntimeError('it was run')")
    monkeypatch.setattr(own, "_MODULES", "nearfar_again_")
    assert main(["embed", "run"]) == 2
    assert "--encoder parts.py:make_encoder" in capsys.readouterr().err
    assert main(["pretrain", "--config", "run/config.toml", "--output", "other"]) == 2
    assert main(["pretrain", "--resume", "run"]) == 2
    assert "it was run" not in capsys.readouterr().err
    assert main(["embed", "run", "--encoder", "parts.py:make_encoder"]) == 2
    assert "parts.py cannot be run (line 1: RuntimeError: it was run)" in capsys.readouterr().err
    Path("parts.py").write_text(FILE)
    named = ["--encoder", "parts.py:make_encoder", "--data", "parts.py:make_data"]
    assert main(["embed", "run", *named]) == 0
    assert not Path("other").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"encoder": "parts.py:make_enkoder"}, "did you mean make_encoder"),
        ({"encoder": "nothing.py:make"}, "There is no file nothing.py"),
        ({"encoder": lambda: 5}, "makes a int; expected it to give a torch.nn.Module"),
        ({"views": lambda x: x}, "gives one uint8 array of shape"),
        ({"views": lambda x: [x]}, "gives 1 views; expected a list of 2 views"),
        ({"views": lambda x: [x, x[:1]]}, r"\(1, 3, 16, 16\) for 32 samples"),
        ({"views": lambda x: [x, x / 20]}, "values from .* leave the normalisation out"),
        ({"views": {"scale": (0, 1)}}, "scale is .* expected least and most"),
        ({"views": {"scal": 1}}, "Unknown strength of image views 'scal'"),
        ({"data": [[1.0]]}, "expected"),
        ({"data": (IMAGES, LABELS[:3])}, "3 labels for 40 samples"),
        ({"data": torch.rand(9, 6, 8, 8)}, "may be images or series"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_told_and_nothing_is_written(
    options: dict[str, Any], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("parts.py").write_text(FILE)
    with pytest.raises(UserError, match=told):
        short(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_view_of_another_size_is_tried_before_anything_is_written(tmp_path: Path) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(768, 4))
    crops = EachSample(lambda image: image[:, :8])
    with pytest.raises(UserError, match="fails on 2 samples of 3 x 8 x 16"):
        short(tmp_path / "run", encoder=flat, views=crops)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "transform",
    [
        v2.Compose([v2.RandomResizedCrop(16), v2.RandomHorizontalFlip()]),
        EachSample(lambda image: image * float(np.random.rand()) / 255),
    ],
    ids=["torchvision", "numpy"],
)
def test_each_sample_has_its_draws_on_any_number_of_processes(transform: Any) -> None:
    make = OwnViews(transform, "own:T").made_for(SPEC, WantedViews())
    state = torch.get_rng_state()
    whole = make(IMAGES[:6], PartGenerator(5))
    again = make(IMAGES[:6], PartGenerator(5))
    rows = torch.tensor([1, 3, 4])
    part = make(IMAGES[rows], PartGenerator(5, Place(rows, 6)))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(whole[0], whole[1])
    for view, same, own_rows in zip(whole, again, part, strict=True):
        assert torch.equal(view, same)
        assert torch.equal(view[rows], own_rows)


def test_strengths_change_what_they_name_in_every_view_but_the_plain_ones() -> None:
    from nearfar.views import Strengths

    wanted = WantedViews(whole=2, local=1, style="asymmetric", further=("plain",))
    before = wanted.maker(SPEC).kinds
    after = wanted.maker(SPEC, Strengths({"scale": (0.3, 1.0), "rotation": 15.0})).kinds
    assert [one.rotation for one, _ in after] == [15, 15, 15, 0]
    assert [one.scale for one, _ in after[:2]] == [(0.3, 1.0)] * 2
    assert [one.scale for one, _ in after[2:]] == [one.scale for one, _ in before[2:]]
    assert [one.hue for one, _ in after] == [one.hue for one, _ in before]


def test_strengths_are_words_settings_and_a_table_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    class Done:
        interrupted = False

    monkeypatch.setattr("nearfar.verbs.pretrain.pretrain", lambda *_, **o: given.update(o) or Done)
    assert main(["pretrain", "simclr", "--views.scale", "0.3,1", "--views.jitter=0.4"]) == 0
    assert given["views"] == {"scale": (0.3, 1.0), "jitter": 0.4}
    monkeypatch.undo()
    run = short(tmp_path / "run", views=given["views"])
    assert run.config.views == {"scale": [0.3, 1.0], "jitter": 0.4}
    again = nearfar.pretrain(
        config=tmp_path / "run/config.toml", output=tmp_path / "again", encoder=Net, data=IMAGES
    )
    one, other = weights(run.folder), weights(again.folder)
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    whole = short(tmp_path / "whole", views=ImageViewSettings(scale=(0.5, 1.0)))
    assert whole.config.views["flip"] == 0


def _dataset(function: Callable[[int], Any], length: int = 40) -> Any:
    class Given(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return length

        def __getitem__(self, row: int) -> Any:
            return function(row)

    return Given()


def _hugging_face() -> Any:
    library = pytest.importorskip("datasets")
    values = {"text": [f"word {row % 7} of text" for row in range(40)], "label": LABELS.tolist()}
    return library.Dataset.from_dict(values)


def _polars() -> Any:
    library = pytest.importorskip("polars")
    return library.DataFrame({"text": ["some words", "other words"] * 20, "label": [0, 1] * 20})


def _graphs() -> Any:
    library = pytest.importorskip("torch_geometric.data")
    edges = torch.tensor([[0, 1], [1, 2]])
    return [
        library.Data(x=torch.rand(3 + row % 2, 4), edge_index=edges, y=LABELS[row])
        for row in range(40)
    ]


@pytest.mark.parametrize(
    ("make", "modality", "classes"),
    [
        (lambda: IMAGES, "image", 0),
        (lambda: (IMAGES.numpy(), LABELS), "image", 4),
        (lambda: {"images": IMAGES / 255, "label": LABELS}, "image", 4),
        (lambda: np.random.rand(40, 2, 50), "series", 0),
        (lambda: ["some words here", "and others"] * 20, "text", 0),
        (lambda: _dataset(lambda row: (IMAGES[row] / 255, int(LABELS[row]))), "image", 4),
        (lambda: _dataset(lambda row: np.arange(30.0) + row), "series", 0),
        (lambda: torch.utils.data.TensorDataset(IMAGES, LABELS), "image", 4),
        (lambda: pd.DataFrame({"text": ["a b c", "d e f"] * 20, "y": [1, 2] * 20}), "text", 2),
        (_polars, "text", 2),
        (_hugging_face, "text", 4),
        (_graphs, "graph", 4),
    ],
)
def test_objects_are_data(make: Any, modality: str, classes: int) -> None:
    source = data.load(make())
    assert (source.spec.modality, len(source.spec.classes)) == (modality, classes)
    assert len(source.read) == 40
    assert len(source.train.take(torch.arange(3))) == 3


def test_a_data_set_is_kept_in_a_file_sample_for_sample() -> None:
    given = _dataset(lambda row: (IMAGES[row].permute(1, 2, 0).numpy(), "ab"[row % 2]))
    source = data.load(given, split=False)
    assert torch.equal(source.train.take(torch.arange(40)), IMAGES)
    assert source.spec.classes == ("a", "b")


def test_paths_are_data_in_their_order(tmp_path: Path) -> None:
    paths = [tmp_path / f"{row}.png" for row in range(9, -1, -1)]
    for path, image in zip(paths, IMAGES, strict=False):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    source = data.load((paths, ["u", "v"] * 5), split=False)
    assert torch.equal(source.train.take(torch.arange(10)), IMAGES[:10])
    assert source.train.label is not None
    assert source.train.label.tolist() == [0, 1] * 5
    with pytest.raises(UserError, match="There is no file"):
        data.load([tmp_path / "none.png", *paths])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (_dataset(lambda row: IMAGES[row, :, : 8 + row % 2]), "Sample 1 .* shape .* or set a size"),
        (
            _dataset(lambda row: 1 / (5 - row) * IMAGES[row] / 260),
            "Sample 5 of Given cannot be had",
        ),
        (_dataset(lambda row: IMAGES[row] / 100.0), "leave the normalisation out"),
        (_dataset(lambda row: (IMAGES[row], 1, 2)), "a tuple of 3; expected a sample"),
        (_dataset(lambda row: object()), "expected a picture"),
        (_dataset(lambda row: IMAGES[row], 0), "is empty"),
        (type("Endless", (), {"__getitem__": lambda self, row: IMAGES[0]})(), "no __len__"),
        (5, "The data are a int; expected an array"),
    ],
)
def test_what_is_no_data_is_told(given: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        data.load(given)
