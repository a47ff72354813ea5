"""Segmentation of annotated images and the likeness of annotated texts, from files to scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import spearmanr
from torchmetrics.regression import SpearmanCorrCoef

from nearfar import networks
from nearfar.data import load
from nearfar.errors import UserError
from nearfar.evaluation import Wanted, evaluate
from nearfar.evaluation.kernels.similarity import similarity
from nearfar.views import plain_view


@pytest.mark.filterwarnings("ignore:Metric `SpearmanCorrcoef` will save")  # torchmetrics' own
def test_similarity_equals_scipy_and_torchmetrics() -> None:
    first = torch.randn(60, 5)
    second = torch.randn(60, 5)
    cosine = torch.cosine_similarity(first, second)
    closeness = (2 * cosine + torch.randn(60)).round()  # with ties, as people give scores
    found = similarity(first, second, closeness)
    assert found.value == pytest.approx(spearmanr(cosine, closeness).statistic, abs=1e-6)
    assert found.value == pytest.approx(float(SpearmanCorrCoef()(cosine, closeness)), abs=1e-4)
    assert -1 <= found.low < found.value < found.high <= 1


def test_similarity_intervals_cover_and_constants_are_undefined() -> None:
    # Spearman's of a normal pair with correlation 0.5
    truth = 6 / math.pi * math.asin(0.5 / 2)
    covered = 0
    for _ in range(60):
        z = torch.randn(200)
        angle = (
            0.5 * z + 0.75**0.5 * torch.randn(200)
        ).sigmoid()  # any increasing function of the second variable
        first = torch.tensor([[1.0, 0.0]]).expand(200, 2)
        second = torch.stack([angle.mul(3).cos(), angle.mul(3).sin()], dim=1)
        found = similarity(first, second, -z)
        covered += found.low <= truth <= found.high
    assert covered >= 52
    assert math.isnan(similarity(torch.ones(5, 2), torch.ones(5, 2), torch.arange(5.0)).value)
    with pytest.raises(UserError, match="N at least 4"):
        similarity(torch.ones(3, 2), torch.ones(3, 2), torch.ones(3))


def sentences(path: Path) -> Path:
    random = np.random.default_rng(0)
    words = np.array(
        ["red", "green", "blue", "small", "large", "round", "flat", "old", "new", "warm"]
    )
    first = [random.choice(words, 4) for _ in range(60)]
    second = [
        np.where(random.random(4) < share, random.choice(words, 4), one)
        for one, share in zip(first, random.random(60), strict=True)
    ]
    score = [float(len(set(a) & set(b))) for a, b in zip(first, second, strict=True)]
    texts = {
        "sentence1": [" ".join(a) for a in first],
        "sentence2": [" ".join(b) for b in second],
        "score": score,
    }
    pq.write_table(pa.table({**texts, "split": ["train"] * 30 + ["test"] * 30}), path)
    return path


def test_pairs_of_texts_are_read_and_judged(tmp_path: Path) -> None:
    path = sentences(tmp_path / "pairs.parquet")
    source = load(path)
    assert source.test is not None
    assert source.tokenizer is not None
    partner = source.test.annotations["partner"]
    read = [
        source.tokenizer.decode(ids[mask].tolist())
        for ids, mask in zip(partner.ids, partner.mask, strict=True)
    ]
    assert read == pq.read_table(path)["sentence2"].to_pylist()[30:]
    assert (
        source.test.annotations["closeness"].tolist()
        == pq.read_table(path)["score"].to_pylist()[30:]
    )
    part = source.test.subset(torch.tensor([3, 1]))
    assert torch.equal(
        part.annotations["partner"].ids, source.test.annotations["partner"].ids[[3, 1]]
    )
    encoder = networks.build("text-transformer", source.spec).eval()
    found = evaluate(encoder, source, plain_view(source.spec), wanted=Wanted(seeds=1))
    assert found.protocols.keys() == {"similarity-v1", "geometry-v2"}
    assert found.rows() == ["trained", "raw input", "simple features"]
    assert found.value("similarity, Spearman", "raw input") > 0.6, (
        "closeness is the number of shared words here"
    )


def test_texts_without_a_score_have_no_partners(tmp_path: Path) -> None:
    pq.write_table(
        pa.table(
            {"sentence1": ["a b", "c d"] * 5, "sentence2": ["e f"] * 10, "score": ["high"] * 10}
        ),
        tmp_path / "x.parquet",
    )
    source = load(tmp_path / "x.parquet")
    assert source.train.annotations == {}
    with pytest.raises(UserError, match=r"'similarity' needs pairs of texts with a score"):
        evaluate(lambda x: x, source, plain_view(source.spec), wanted=Wanted(("similarity",)))


def test_real_pairs_of_sentences(shared_data: Callable[[str], Path]) -> None:
    source = load(shared_data("stsb_en.parquet"), limit=500)
    found = evaluate(
        lambda x: torch.ones(len(x), 2),
        source,
        plain_view(source.spec),
        wanted=Wanted(("similarity",), seeds=1),
    )
    assert found.score("similarity, Spearman", "raw input").count == 1379
    assert found.value("similarity, Spearman", "raw input") > 0.4
    assert math.isnan(found.value("similarity, Spearman"))


@pytest.mark.parametrize("name", ["small-convnet", "vit-micro"])
def test_annotated_pixels_are_segmented(name: str) -> None:
    source = load("cluttered-digits", limit=150)
    encoder = networks.build(name, source.spec).eval()
    found = evaluate(encoder, source, plain_view(source.spec), wanted=Wanted(("dense",), seeds=2))
    assert found.rows() == ["trained", "raw input"]
    assert found.metrics() == ["segmentation mIoU", "pixel accuracy"]
    with pytest.raises(UserError, match="is in training mode"):
        evaluate(encoder.train(), source, plain_view(source.spec), wanted=Wanted(("dense",)))
    cells = {"small-convnet": "4 x 4", "vit-micro": "8 x 8"}[name]
    assert found.score("segmentation mIoU").setting == f"3 classes, {cells} cells"
    assert 0.2 < found.value("segmentation mIoU") < found.value("pixel accuracy") < 1


def test_masks_beside_images_are_read(tmp_path: Path) -> None:
    x = np.zeros((20, 8, 8), dtype=np.uint8)
    mask = np.random.randint(0, 3, (20, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "masked.npz", x=x, mask=mask)
    source = load(tmp_path / "masked.npz")
    rows = [int(name) for name in source.train.ids]
    assert torch.equal(source.train.annotations["regions"], torch.from_numpy(mask[rows]))
    assert "regions" in load(tmp_path / "masked.npz", size=16).train.annotations, (
        "the same picture in another size"
    )
    np.savez(
        tmp_path / "wide.npz",
        x=np.zeros((20, 8, 12), dtype=np.uint8),
        mask=np.zeros((20, 8, 12), dtype=np.uint8),
    )
    assert "regions" not in load(tmp_path / "wide.npz", size=8).train.annotations, "cropped"
