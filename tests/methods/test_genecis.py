"""GeneCIS: what learns, what is ranked, and a whole run from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch.nn.functional import normalize
from torch.testing import assert_close

from nearfar.batch import Batch
from nearfar.cli import main
from nearfar.errors import UserError
from nearfar.methods.method import Method
from nearfar.methods.paired.genecis import GeneCIS
from nearfar.rows import Parts, Picked
from nearfar.runs.encoder_files import tokenizer_of
from nearfar.runs.folder import RunFolder
from nearfar.stored import read_json
from nearfar.testing.toys import toy


def with_galleries(batch: Batch) -> Parts:
    """The toy's samples, the galleries of which are of three, two and three images in turn."""
    (sample,) = batch.views
    count = len(sample)
    index = torch.arange(3 * count).view(count, 3) % count
    index[1::3, 2] = -1
    return sample.with_parts(target=Picked(sample.target, index, torch.arange(count) + 50))


def made(**settings: Any) -> tuple[GeneCIS, Batch]:
    method, batch = toy("genecis", settings=settings)
    assert isinstance(method, GeneCIS)
    return method.eval(), batch


def test_a_ranking_is_the_cosine_of_the_query_with_each_image_of_the_gallery() -> None:
    method, batch = made()
    x = with_galleries(batch)
    found = method.predict(x)
    query = method.query(x)
    for row in range(len(x)):
        for place in range(3):
            image = int(x.target.index[row, place])
            score = found.scores[row, place]
            if image < 0:
                assert score == -torch.inf
                continue
            embedded = normalize(method.image(x.target.values[image : image + 1]), dim=1)
            assert_close(score, (query[row] * embedded[0]).sum())
            assert found.candidates[row, place] == image + 50


@pytest.mark.parametrize("tune", [False, True])
def test_plain_sums_are_those_of_the_model_that_it_started_from(tune: bool) -> None:
    method, batch = made(tune=tune)
    x = with_galleries(batch)
    weights = {"reference": 0.5, "condition": 0.5}
    before = method.weighed(x, weights)
    clip: Method = method.clip
    plain = (clip.project_part("image", x.reference) + clip.project_part("text", x.condition)) / 2
    images = clip.embed_part("image", x.target.values)
    expected = (normalize(plain, dim=1) @ images.T).gather(1, x.target.index.clamp(min=0))
    assert_close(before.scores, expected.masked_fill(x.target.index < 0, -torch.inf))
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    assert torch.equal(method.weighed(x, weights).scores, before.scores)
    assert not torch.equal(method.predict(x).scores, before.scores)


def test_the_image_text_model_learns_only_where_it_is_tuned() -> None:
    held, tuned = (made(tune=tune)[0] for tune in (False, True))
    assert not any(p.requires_grad for p in held.clip.parameters())
    assert all(p.requires_grad for p in tuned.encoder.parameters())
    assert not tuned.clip.log_scale.requires_grad
    assert tuned.train().encoder.training
    assert not held.train().encoder.training
    assert tuned.before is not None
    assert not tuned.before.training


def test_a_ranking_needs_galleries() -> None:
    method, batch = made()
    with pytest.raises(UserError, match="ranks the images of a gallery"):
        method.predict(batch.views[0])


DATA = ["--data", "digit-cis", "--limit", "120", "--batch-size", "32", "--steps", "3"]
PREPARED = ["--with", "triplets:task=focus,count=100,queries=10,gallery=4"]


@pytest.mark.slow
def test_from_data_to_a_ranked_gallery(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CLIP is trained first, without the triplets; a second run starts from it on other data."""
    run = tmp_path / "run"
    assert main(["pretrain", "genecis", *DATA, *PREPARED, "--output", str(run)]) == 0
    clip = run / "pretrained" / "clip"
    assert RunFolder(clip).config.options.prepare == ()
    scores = read_json(run / "evaluation.json", "")["scores"]
    rows = {one["row"] for one in scores if one["metric"] == "R@1"}
    expected = {"trained", "random encoder", "image alone", "text alone", "average", "chance"}
    assert expected <= rows
    assert (run / "report.html").exists()
    capsys.readouterr()
    assert main(["predict", str(run), "--output", str(tmp_path / "out")]) == 0
    table = pq.read_table(tmp_path / "out" / "predictions.parquet").to_pylist()
    assert len(table) == 20
    assert all(len(row["best"]) == 4 and set(row["id"]) for row in table)
    start = ["--start-from", f"clip={clip}", "--with", "triplets:task=change,count=90"]
    again = tmp_path / "again"
    more = ["--limit", "100", "--output", str(again), "--no-evaluate", "--settings.tune"]
    assert main(["pretrain", "genecis", *DATA, *start, *more]) == 0
    assert not (again / "pretrained").exists()
    first, second = (tokenizer_of(RunFolder(one).encoder()) for one in (clip, again))
    assert first is not None
    assert second is not None
    assert first.merges == second.merges
    assert main(["predict", str(again)]) == 0
    assert main(["pretrain", "genecis", "--data", "digits", "--output", str(tmp_path / "no")]) == 2
    assert not (tmp_path / "no").exists()
    assert "takes images with texts" in capsys.readouterr().err
