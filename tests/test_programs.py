"""Encoders of every modality as programs: the same features without nearfar, for any number of
samples and any length that the encoder takes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nearfar import modalities, networks, own
from nearfar.errors import UserError
from nearfar.networks.encoder import Encoder
from nearfar.rows import Parts, Tokens, from_named_tensors, named_tensors
from nearfar.runs.encoder_files import export_encoder
from nearfar.runs.portable import Portable, random_samples
from nearfar.runs.program_files import read_onnx, read_program

KINDS = {"onnx": read_onnx, "torch": read_program}


def encoder_of(modality: str) -> Encoder:
    torch.manual_seed(0)
    return networks.build(None, modalities.get(modality).toy).eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("modality", modalities.names())
def test_a_program_gives_the_features_of_its_encoder(
    modality: str, kind: str, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript")
    encoder = encoder_of(modality)
    lines: list[str] = []
    path = export_encoder(encoder, tmp_path / "program", kind, tell=lines.append)
    program = KINDS[kind](path)
    model = Portable(encoder, modalities.get(modality).toy)
    for count in (1, 3, 7):
        samples = random_samples(model.spec, count)
        found, expected = program(samples), model.of_samples(samples)
        assert found.shape == (len(samples), encoder.dimension)
        assert torch.allclose(found, expected, atol=1e-4), (count, modality)
    assert "Features of random samples differ" in lines[0]
    told = " ".join(lines)
    wanted = {"graph": ["residue", "edges", "sizes"], "text": ["ids", "mask"], "nodes": ["seeds"]}
    assert all(f"{name}: " in lines[-1] for name in wanted.get(modality, ["x"]))
    assert ("site" in told, "place" in told) == (False, False)  # the encoder does not see them


@pytest.mark.parametrize("modality", ["audio", "points", "series", "text"])
def test_lengths_are_free_where_the_encoder_takes_any(modality: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    encoder = encoder_of(modality)
    model = Portable(encoder, modalities.get(modality).toy)
    program = read_onnx(export_encoder(encoder, tmp_path / "program", "onnx"))
    samples = random_samples(model.spec, 4)
    longest = model.spec.shape[-1]
    for length in (longest, longest - 1, longest // 2 + 1):
        if isinstance(samples, Tokens):
            cut = Tokens(samples.ids[:, :length].clone(), samples.mask[:, :length].clone())
        else:
            cut = samples[:, :, :length].clone()
        assert torch.allclose(program(cut), model.of_samples(cut), atol=1e-4), length


def test_a_graph_with_loops_weighs_the_same_in_a_program(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    encoder = encoder_of("nodes")
    model = Portable(encoder, modalities.get("nodes").toy)
    program = read_onnx(export_encoder(encoder, tmp_path / "program", "onnx"))
    named = named_tensors(random_samples(model.spec, 5))
    named["edges"] = torch.cat([named["edges"], torch.tensor([[0, 1], [0, 1]])], dim=1)
    looped = from_named_tensors(model.example, named)
    plain = random_samples(model.spec, 5)
    assert np.allclose(program(looped), model.of_samples(plain), atol=1e-5)
    assert torch.allclose(encoder(looped), encoder(plain), atol=1e-6)


class Branching(nn.Module):
    """Features that depend on values in a way that no program holds."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) if bool(x.mean() > 0) else -x.flatten(1)


def test_what_no_program_can_hold_is_told(tmp_path: Path) -> None:
    spec = modalities.get("image").toy
    with own.handing(encoder=Branching) as names:
        encoder = networks.build(names["encoder"], spec).eval()
    with pytest.raises(UserError, match="cannot be written as a program, as the exporter says"):
        export_encoder(encoder, tmp_path / "program.pt2", "torch")
    assert not list(tmp_path.iterdir())


def test_samples_without_named_tensors_are_no_input_of_programs() -> None:
    with pytest.raises(TypeError, match="kind Parts have no tensors by name"):
        named_tensors(Parts({"a": torch.zeros(2, 1)}))
