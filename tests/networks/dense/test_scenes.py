"""Points, Gaussians, voxels, adapters and masks: reference values, limits, wrong inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nearfar.errors import UserError
from nearfar.networks.dense.adapters import Adapter, MultimodalAdapter, trainable_share
from nearfar.networks.dense.entropy_masking import (
    entropy_mask,
    normalised_entropy,
    patch_entropy,
)
from nearfar.networks.dense.points import (
    farthest_points,
    grouped,
    image_mask,
    patches_hit,
    project_upright,
)
from nearfar.networks.dense.regnet import regnet_stages
from nearfar.networks.dense.scenes import (
    RootMeanSquareNorm,
    hilbert_codes,
    level_features,
    morton_codes,
    voxel_hash,
    window_attention,
)
from nearfar.networks.dense.splatting import covariances, project_gaussians, render
from tests.losses.cases import close, leaves, named


@pytest.mark.parametrize("name", named("f-g2s-group-*"))
def test_groups_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    points = case["in_points"]
    found = grouped(points[None], int(case["hp_groups"]), int(case["hp_k"]))
    assert torch.equal(found[0][0], case["out_center_index"])
    assert torch.equal(found[1][0], case["out_neighbor_index"])
    close(found[2][0], case["out_neighborhood"])


@pytest.mark.parametrize("name", named("f-g2s-align-*"))
def test_points_fall_on_the_patches_of_the_reference(golden: Any, name: str) -> None:
    """The authors round pixels to whole ones counted from 0 and divide them by 730 x 530.

    Points were made larger by ``in_scale`` with their scene, which moves no pixel.
    """
    case = golden(name)
    pixels = project_upright(case["in_points"], case["in_Rtilt"], case["in_K"])
    places = (pixels - 1).round() / torch.tensor([730.0, 530.0], dtype=torch.float64)
    close(places[..., 0], case["out_u"])
    close(places[..., 1], case["out_v"])
    assert torch.equal(patches_hit(places, 256, 352), case["out_patch_mask"])


@pytest.mark.parametrize("name", named("f-g2s-masking-*"))
def test_masks_follow_points_as_in_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    masking = name.rpartition("-")[2]
    found = image_mask(
        case["in_pc_mask"], case["in_noise"], ratio=float(case["hp_mask_ratio"]), masking=masking
    )
    assert torch.equal(found.mask, case["out_mask"])
    assert torch.equal(found.restore, case["out_ids_restore"])
    index = found.kept[:, :, None].expand(-1, -1, case["in_tokens"].shape[2])
    assert torch.equal(case["in_tokens"].gather(1, index), case["out_visible"])


@pytest.mark.parametrize("name", named("f-g2s-render-*"))
def test_rendering_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    means, turns, scales, opacities, colours = leaves(
        case, "means", "quats", "scales", "opacities", "colors"
    )
    height, width = int(case["hp_height"]), int(case["hp_width"])
    covariance = covariances(turns, scales)
    close(covariance, case["out_covars"])
    found = project_gaussians(
        means,
        covariance,
        case["in_viewmat"],
        case["in_K"],
        height,
        width,
        dilation=float(case["hp_eps2d"]),
    )
    drawn = (case["out_radii"] > 0).all(1)
    assert torch.equal(found.radii, case["out_radii"])
    close(found.depths[drawn], case["out_depths"][drawn])
    close(found.means[drawn], case["out_means2d"][drawn])
    close(found.conics[drawn], case["out_conics"][drawn])
    image = render(found, opacities, colours, height, width, case["in_background"])
    close(image.image, case["out_image"])
    close(image.alpha, case["out_alpha"])
    close(image.depth, case["out_depth_map"])
    image.image.square().sum().backward()
    close(means.grad, case["out_grad_means"])
    close(turns.grad, case["out_grad_quats"])
    close(scales.grad, case["out_grad_scales"])
    close(opacities.grad, case["out_grad_opacities"])
    close(colours.grad, case["out_grad_colors"])


def test_nothing_behind_the_camera_is_drawn_and_the_background_shows() -> None:
    means = torch.tensor([[0.0, 0.0, -2.0]])
    camera = torch.tensor([[4.0, 0.0, 2.0], [0.0, 4.0, 2.0], [0.0, 0.0, 1.0]])
    found = project_gaussians(means, torch.eye(3)[None], torch.eye(4), camera, 4, 4)
    image = render(found, torch.ones(1), torch.ones(1, 3), 4, 4, torch.tensor([0.1, 0.2, 0.3]))
    assert torch.equal(image.image[0, 0], torch.tensor([0.1, 0.2, 0.3]))
    assert not image.alpha.any()


@pytest.mark.parametrize("name", named("f-msm-fnv-*"))
def test_hashes_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    assert torch.equal(voxel_hash(case["in_grid"]), case["out_hash"])


@pytest.mark.parametrize("name", named("f-msm-sfc-*"))
def test_curves_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    voxels, scenes = case["in_grid"], case["in_batch"]
    swapped = voxels[:, [1, 0, 2]]
    assert torch.equal(morton_codes(voxels, scenes), case["out_xyz_zorder"])
    assert torch.equal(morton_codes(swapped, scenes), case["out_yxz_zorder"])
    assert torch.equal(hilbert_codes(voxels, scenes), case["out_xyz_hilbert"])
    assert torch.equal(hilbert_codes(swapped, scenes), case["out_yxz_hilbert"])


def test_neighbours_on_the_curve_touch() -> None:
    cells = torch.cartesian_prod(*[torch.arange(8)] * 3)
    codes = hilbert_codes(cells, depth=3)
    assert codes.sort().values.tolist() == list(range(512))
    along = cells[codes.argsort()]
    assert (along[1:] - along[:-1]).abs().sum(1).eq(1).all()


@pytest.mark.parametrize("name", named("f-msm-rmsnorm-*"))
def test_the_norm_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    (x,) = leaves(case, "x")
    norm = RootMeanSquareNorm(x.shape[1], float(case["hp_eps"])).double()
    norm.load_state_dict({"scale": case["in_scale"]})
    made = norm(x)
    made.square().sum().backward()
    close(made, case["out"])
    close(x.grad, case["out_grad_x"])


@pytest.mark.parametrize("name", named("f-msm-winattn-*"))
def test_window_attention_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    found = window_attention(case["in_qkv"], case["in_offsets"].tolist(), int(case["hp_window"]))
    close(found, case["out"])


def levels_of(case: Any) -> tuple[list[Tensor], list[Tensor]]:
    used = used_levels(case)
    return [case[f"in_l{k}_index"] for k in used], [case[f"in_l{k}_feat"] for k in used]


def used_levels(case: Any) -> list[int]:
    return [level for level, kept in enumerate(case["hp_used"].tolist()) if kept]


@pytest.mark.parametrize(
    ("name", "mode"), [("f-msm-interp-0", "trilinear"), ("f-msm-interp-1", "nearest")]
)
def test_features_of_levels_equal_the_reference(golden: Any, name: str, mode: str) -> None:
    case = golden(name)
    found = level_features(
        case["in_grid_coord"],
        case["in_offset"].tolist(),
        *levels_of(case),
        levels=used_levels(case),
        mode=mode,
    )
    close(found, case["out_feat"])


def test_a_level_that_is_left_out_keeps_the_numbers_of_the_others(golden: Any) -> None:
    case = golden("f-msm-interp-0")
    indices, features = levels_of(case)
    points, ends = case["in_grid_coord"], case["in_offset"].tolist()
    outer = level_features(points, ends, indices[::2], features[::2], levels=[0, 2])
    widths = [feature.shape[1] for feature in features]
    first, _, last = case["out_feat"].split(widths, dim=1)
    close(outer, torch.cat([first, last], 1))


def test_exact_sampling_hits_the_centres_of_cells() -> None:
    voxels = torch.cartesian_prod(*[torch.arange(3)] * 3)
    cells = torch.cat([torch.zeros(27, 1).long(), voxels], 1)
    features = torch.rand(27, 2, dtype=torch.float64)
    found = level_features(voxels, [27], [cells], [features], exact=True)
    torch.testing.assert_close(found, features)


@pytest.mark.parametrize("name", named("f-glare-uniadapter-*"))
def test_adapters_equal_the_reference(golden: Any, name: str) -> None:
    """``out_text`` holds the residual; the gradient is that of the sum of the three results."""
    case = golden(name)
    bottleneck, width = case["in_down_proj_weight"].shape
    adapter = MultimodalAdapter(width, bottleneck, scale=float(case["hp_scale"])).double()
    names = {
        "norm": "adapter_layer_norm_before",
        "norm_both": "adapter_layer_norm_cross_modal",
        "down": "down_proj",
        "up_text": "up_proj",
        "up_visual": "visual_up_proj",
        "up_both": "multi_up_proj",
    }
    state = {
        f"{own}.{kind}": case[f"in_{given}_{kind}"]
        for own, given in names.items()
        for kind in ("weight", "bias")
    }
    adapter.load_state_dict(state)
    x = case["in_x"]
    close(adapter.visual(x), case["out_visual"])
    close(adapter.multimodal(x), case["out_multimodal"])
    close(x + adapter.text(x), case["out_text"])


def test_adapters_begin_as_nothing_and_learn_alone() -> None:
    adapter = Adapter(8, 2)
    x = torch.rand(2, 3, 8)
    assert not adapter(x).any()
    block = nn.Linear(8, 8).requires_grad_(False)
    both = nn.ModuleList([block, adapter])
    assert 0 < trainable_share(both) < 1
    assert not MultimodalAdapter(8, 2).multimodal(x).any()
    assert MultimodalAdapter(8, 2, strict=True).visual(x).any()


@pytest.mark.parametrize("name", named("f-seer-regnet-*"))
def test_stages_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    found = regnet_stages(
        int(case["hp_depth"]),
        int(case["hp_w0"]),
        float(case["hp_wa"]),
        float(case["hp_wm"]),
        int(case["hp_group_width"]),
    )
    assert list(found.widths) == case["out_widths"].tolist()
    assert list(found.depths) == case["out_depths"].tolist()
    assert list(found.groups) == case["out_group_widths"].tolist()


def test_seers_largest_networks_have_the_widths_of_the_paper() -> None:
    assert regnet_stages(27, 1744, 620.83, 2.52, 1010).widths == (2020, 4040, 11110, 28280)
    assert regnet_stages(27, 640, 230.83, 2.53, 373).widths == (746, 1492, 4103, 10444)


@pytest.mark.parametrize("name", named("f-uni4eye-entropy-*"))
def test_entropy_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    close(patch_entropy(case["in_patch"][None])[0], case["out_entropy"])


@pytest.mark.parametrize("name", named("f-uni4eye-entropymask-*"))
def test_masks_by_entropy_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    found = entropy_mask(case["in_entropy"], case["in_noise"], ratio=float(case["hp_mask_ratio"]))
    assert torch.equal(found, case["out_mask"])


def test_busy_patches_are_hidden_more_often() -> None:
    entropy = normalised_entropy(torch.rand(1, 20)).expand(2000, -1)
    hidden = entropy_mask(entropy, torch.rand(2000, 20)).mean(0)
    assert hidden[entropy[0].argmax()] > 0.7
    assert hidden[entropy[0].argmin()] == 0


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    points = torch.rand(1, 4, 3)
    with pytest.raises(UserError, match="count is 5; expected from 1 to 4"):
        farthest_points(points, 5)
    with pytest.raises(UserError, match="neighbours is 9"):
        grouped(points, 2, 9)
    with pytest.raises(UserError, match="masking is 'all'"):
        image_mask(points[0], points[0], masking="all")
    with pytest.raises(UserError, match="do not divide 30 x 32"):
        patches_hit(points[..., :2], 30, 32)
    with pytest.raises(UserError, match="of int64"):
        voxel_hash(points[0])
    with pytest.raises(UserError, match="Voxels must lie from 0 to 3"):
        morton_codes(torch.full((1, 3), 4), depth=2)
    with pytest.raises(UserError, match="expected to ascend from 0 to 4"):
        window_attention(torch.rand(4, 3, 1, 2), (0, 3), 2)
    with pytest.raises(UserError, match="mode is 'cubic'"):
        level_features(torch.zeros(1, 3).long(), [1], [], [], mode="cubic")
    with pytest.raises(UserError, match="ratio is 2"):
        entropy_mask(points[0], points[0], ratio=2)
    with pytest.raises(UserError, match="bottleneck is 0"):
        Adapter(4, 0)
