"""What comes out of a run for other tools: features of places, maps in the plane, pictures."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import nearfar
from nearfar.errors import UserError
from nearfar.verbs.run import Run

IMAGES = torch.randint(
    0, 256, (30, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def run_of(folder: Path, encoder: str, data: object = IMAGES) -> Run:
    return nearfar.pretrain(
        "simclr",
        data=data,
        encoder=encoder,
        steps=1,
        batch_size=8,
        evaluate=False,
        quiet=True,
        precision="float32",
        output=folder,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_of(tmp_path_factory.mktemp("maps") / "run", "small-convnet")


def test_features_of_cells_average_to_the_features_of_a_convolutional_encoder(run: Run) -> None:
    cells = run.features(IMAGES[:5], "patch")
    assert cells.ndim == 4
    assert cells.shape[0] == 5
    assert np.allclose(cells.mean((1, 2)), run.features(IMAGES[:5]), atol=1e-5)
    assert np.array_equal(run.features(IMAGES[:5], "global"), run.embed(IMAGES[:5]))
    assert run.features().dimension == cells.shape[-1]


def test_features_of_patches_lie_on_the_grid_of_a_transformer(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "vit-micro")
    patches = run.features(IMAGES[:3], "patch")
    encoder = run.encoder()
    spec = encoder.spec if hasattr(encoder, "spec") else None
    assert patches.shape[1:3] == tuple(encoder.grid)  # type: ignore[arg-type]
    view = run.source().spec if spec is None else spec
    normalised = (IMAGES[:3] / 255 - torch.tensor(view.mean).view(3, 1, 1)) / torch.tensor(
        view.std
    ).view(3, 1, 1)
    with torch.no_grad():
        tokens = encoder.tokens(normalised)
    assert np.allclose(patches.reshape(3, -1, patches.shape[-1]), tokens.numpy(), atol=1e-4)


def test_features_of_steps_and_what_has_no_places(tmp_path: Path, run: Run) -> None:
    series = torch.randn(30, 2, 40, generator=torch.Generator().manual_seed(0))
    steps = run_of(tmp_path / "steps", "series-convnet", series).features(series[:4], "patch")
    assert steps.shape[0] == 4
    assert steps.ndim == 3
    flat = run_of(tmp_path / "flat", "perceptron")
    with pytest.raises(UserError, match="perceptron, has no features of places"):
        flat.features(IMAGES[:2], "patch")
    with pytest.raises(UserError, match="kind of features"):
        run.features(IMAGES[:2], "both")  # type: ignore[call-overload]


def test_maps_and_pictures_are_columns_that_other_tools_read(run: Run, tmp_path: Path) -> None:
    path = nearfar.embed(run, output=tmp_path / "e.parquet", map="pca", pictures=True)
    table = pq.read_table(path)
    assert table.column("x").type == "double"
    points = np.stack([table.column("x").to_numpy(), table.column("y").to_numpy()], 1)
    vectors = np.stack(table.column("embedding").to_pylist())
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    values = np.linalg.svd(unit - unit.mean(0), compute_uv=False)
    assert np.allclose((points**2).sum(0), values[:2] ** 2, rtol=1e-3)
    rows = table.column("image").to_pylist()
    source = run.source()
    first = np.asarray(Image.open(io.BytesIO(rows[0]["bytes"])))
    raw = source.train.take(torch.arange(1))[0].permute(1, 2, 0).numpy()
    assert np.array_equal(first, raw)
    assert set(rows[0]) == {"bytes", "path"}
    near = nearfar.embed(run, output=tmp_path / "n.parquet", map="t-sne")
    assert len(set(pq.read_table(near).column("x").to_pylist())) == len(table)


def test_what_cannot_be_written_is_told_before_the_work(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Pictures go into .parquet files, and .*e.npz is none"):
        nearfar.embed(run, output=tmp_path / "e.npz", pictures=True)
    with pytest.raises(UserError, match="needs 4 samples and has 3"):
        nearfar.embed(run, data=IMAGES[:3], output=tmp_path / "e.parquet", map="t-sne")
    assert not list(tmp_path.iterdir())


def test_texts_have_no_pictures(tmp_path: Path) -> None:
    texts = [f"word {number} and {number * 7 % 11} more" for number in range(30)]
    text_run = run_of(tmp_path / "run", "text-transformer", texts)
    with pytest.raises(UserError, match="Samples of text data have no pictures made of pixels"):
        nearfar.embed(text_run, output=tmp_path / "e.parquet", pictures=True)
    assert text_run.features(texts[:2], "patch").ndim == 3


def test_another_kind_of_map_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Unknown kind of map 'umap'"):
        nearfar.embed(run, output=tmp_path / "a.npz", map="umap")  # type: ignore[arg-type]
    assert not (tmp_path / "a.npz").exists()


def test_clips_are_given_as_arrays(tmp_path: Path) -> None:
    clips = torch.randint(
        0, 256, (8, 3, 4, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    np.savez(tmp_path / "clips.npz", x=clips.numpy())
    settings = {"steps": 1, "batch_size": 4, "evaluate": False, "precision": "float32"}
    run = nearfar.pretrain(
        "simclr",
        data=str(tmp_path / "clips.npz"),
        modality="video",
        output=tmp_path / "run",
        quiet=True,
        **settings,
    )
    source = run.source()
    features = run.embed(source.train.take(torch.arange(3)))
    assert np.allclose(features, run.embed(source.train.subset(torch.arange(3))), atol=1e-6)
    assert np.allclose(features, run.embed(source.train.take(torch.arange(3)) / 255), atol=1e-5)
    with pytest.raises(UserError, match="has no features of places"):
        run.features(source.train.take(torch.arange(3)), "patch")
    with pytest.raises(UserError, match="expected video samples"):
        run.embed(clips[:, :2])


def test_graphs_are_taken_and_nothing_else_is(tmp_path: Path) -> None:
    atom = "ATOM  {0:5d}  CA  ALA A{0:4d}    {1:8.3f}{2:8.3f}   0.000  1.00  0.00           C\n"
    (tmp_path / "chains").mkdir()
    for number in range(12):
        lines = [atom.format(place, 3.8 * place, number) for place in range(1, 31)]
        (tmp_path / "chains" / f"{number}.pdb").write_text("".join([*lines, "END\n"]))
    run = run_of(tmp_path / "run", "residue-gcn", str(tmp_path / "chains"))
    source = run.source()
    rows = torch.arange(2)
    found = run.embed(source.train.take(rows))
    assert np.array_equal(found, run.embed(source.train.subset(rows)))
    with pytest.raises(UserError, match="expected graph samples"):
        run.embed({"residues": 3})
    with pytest.raises(UserError, match="has no features of places"):
        run.features(source.train.take(rows), "patch")
