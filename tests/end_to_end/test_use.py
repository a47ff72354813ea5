"""A trained run put to use from the command line: search by file, row and id; near-duplicates;
labels; every refusal.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nearfar
import nearfar.runs.hub
from nearfar.cli import main
from nearfar.errors import UserError
from nearfar.runs.folder import Run
from nearfar.runs.method_files import open_method

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("use") / "run"
    options = {
        "data": "digits",
        "limit": 200,
        "encoder": "perceptron",
        "epochs": 2,
        "batch_size": 50,
        "evaluate": False,
    }
    return nearfar.pretrain("simclr", **options, quiet=True, output=folder)


def test_a_picture_finds_itself(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = run.source().train.take(number(5))[0, 0]
    name = run.source().train.ids[5]
    Image.fromarray(sample.numpy()).save(tmp_path / "query.png")
    (first, *others) = nearfar.search(run.folder, str(tmp_path / "query.png"), k=4).rows
    assert (first[0], round(first[2], 4)) == (name, 1.0)
    assert len(others) == 3
    assert [row[0] for row in nearfar.search(run.folder, name, k=3).rows] == [
        row[0] for row in others
    ]
    assert [row[0] for row in nearfar.search(run.folder, "#5", k=3).rows] == [
        row[0] for row in others
    ]
    assert main(["search", str(run.folder), "#5", "--k", "3"]) == 0
    assert f"{others[0][2]:.4f}" in capsys.readouterr().out


def number(row: int) -> torch.Tensor:
    return torch.tensor([row])


def test_a_written_index_gives_the_same_answers(run: Run, tmp_path: Path) -> None:
    for name in ("e.parquet", "e.npz"):
        nearfar.embed(run.folder, output=tmp_path / name)
        assert (
            nearfar.search(run.folder, "#5", index=tmp_path / name).rows
            == nearfar.search(run.folder, "#5").rows
        )


def test_duplicates_and_suggestions(run: Run) -> None:
    count = len(run.source().train)
    everything = nearfar.dedupe(run.folder, threshold=0.01)
    assert len(everything.rows) >= count
    assert "groups of near-duplicates" in nearfar.dedupe(run.folder).title
    chosen = [row[0] for row in nearfar.label(run.folder, k=7).rows]
    assert len(set(chosen)) == 7
    doubted = nearfar.label(run.folder, errors=True).rows
    assert doubted, "else the line below shows nothing"
    assert all(row[1] != row[2] for row in doubted)


def test_a_pushed_run_is_loaded_and_described(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nearfar.evaluate(run.folder, protocols="knn")
    assert main(["push", str(run.folder), str(tmp_path / "shelf")]) == 0
    encoder = nearfar.runs.hub.load(str(tmp_path / "shelf"))
    view = torch.randn(2, 1, 8, 8)
    assert torch.equal(encoder(view), run.encoder()(view))
    card = (tmp_path / "shelf" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: nearfar\n")
    assert "| kNN accuracy | " in card
    assert "random encoder" in card
    assert 'method = "simclr"' in card


def test_what_is_pushed_holds_no_path_of_this_machine(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "secret" / "photos").mkdir(parents=True)
    for number in range(24):
        Image.fromarray(rng.integers(0, 255, (12, 12), dtype=np.uint8)).save(
            tmp_path / "secret" / "photos" / f"{number}.png"
        )
    options = {
        "data": str(tmp_path / "secret" / "photos"),
        "encoder": "perceptron",
        "epochs": 1,
        "batch_size": 8,
        "evaluate": False,
    }
    made = nearfar.pretrain("simclr", **options, quiet=True, output=tmp_path / "secret" / "run")
    assert main(["push", str(made.folder), str(tmp_path / "shelf")]) == 0
    for path in (tmp_path / "shelf").iterdir():
        assert b"secret" not in path.read_bytes(), path.name
    assert 'data = "photos"' in (tmp_path / "shelf" / "config.toml").read_text()
    opened = open_method(tmp_path / "shelf")
    assert all(
        torch.equal(a, b)
        for a, b in zip(opened.parameters(), made.method().parameters(), strict=True)
    )


def test_a_hub_that_cannot_be_reached_is_one_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert main(["push", str(run.folder), "someone/something"]) == 2
    assert "Cannot push to someone/something" in capsys.readouterr().err
    with pytest.raises(UserError, match="Cannot load someone/something from the hub"):
        nearfar.runs.hub.load("someone/something")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["search", "RUN", "#999999"], "names no row; expected #0 to #"),
        (["search", "RUN", "seven"], "Cannot search for 'seven': expected an image file"),
        (["search", "RUN", "missing.png"], "Cannot read the image missing.png"),
        (
            ["search", "RUN", "#1", "--index", "none.parquet"],
            "Cannot read none.parquet: No such file or directory; it holds no embeddings",
        ),
        (
            ["search", "RUN", "#1", "--index", "x.npz", "--data", "digits"],
            "data and index were both given",
        ),
        (["dedupe", "RUN", "--threshold", "1.5"], "The threshold is 1.5"),
    ],
)
def test_mistakes_get_one_sentence(
    words: list[str], sentence: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run.folder) if word == "RUN" else word for word in words]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    lines = [
        line for line in told.strip().splitlines() if not line.startswith("data ")
    ]  # what was read before
    assert len(lines) == 1


def test_a_series_file_is_searched_for(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(40, 1, 32)).astype(np.float32)
    np.savez(tmp_path / "set.npz", x=values)
    options = {"data": str(tmp_path / "set.npz"), "epochs": 1, "batch_size": 16, "evaluate": False}
    run = nearfar.pretrain("simclr", **options, quiet=True, output=tmp_path / "r")
    first = run.source().train.take(number(0))[0, 0].numpy()
    (tmp_path / "query.csv").write_text("value\n" + "\n".join(map(str, first)) + "\n")
    assert nearfar.search(run.folder, str(tmp_path / "query.csv"), k=1).rows[0][2] == pytest.approx(
        1.0, abs=1e-4
    )


def test_names_with_a_colon_are_names_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries take "a:b" for an address."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("a:b").mkdir()
    for number in range(24):
        Image.fromarray(rng.integers(0, 255, (12, 12), dtype=np.uint8)).save(
            Path("a:b") / f"{number}.png"
        )
    small = ["--encoder", "perceptron", "--steps", "2", "--batch-size", "8", "--no-evaluate"]
    assert main(["pretrain", "simclr", "--data", "a:b", *small, "--output", "r:c"]) == 0
    assert main(["embed", "r:c", "-o", "r:c.parquet"]) == 0
    assert main(["search", "r:c", "#1", "--index", "r:c.parquet"]) == 0
    assert main(["export", "r:c", "--output", "e:x"]) == 0
