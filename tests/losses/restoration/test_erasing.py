"""STE: losses, rewards and the policy against reference values, and what they must do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import avg_pool2d

from nearfar.errors import UserError
from nearfar.losses.restoration import adversarial
from nearfar.losses.restoration.erasing import (
    composed,
    erasure,
    erasure_triplet,
    multi_scale_l1,
)
from nearfar.losses.restoration.rewards import (
    RunningMeans,
    difficulty_reward,
    mask_dice,
    policy_loss,
    realism_reward,
)
from nearfar.networks.restorers.policy import STE_CHILDREN, STE_SIZES, StylePolicy
from tests.losses.cases import close, leaves, named


def maps(x: torch.Tensor) -> list[torch.Tensor]:
    return [x, avg_pool2d(x, 2), avg_pool2d(x, 4)]


@pytest.mark.parametrize("name", named("g-ste-loss-*"))
def test_the_erasers_loss_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    output, draft, logits = leaves(case, "output", "o3", "mask_logits")
    image, truth, mask = case["in_input"], case["in_gt"], case["in_mask"]
    paste = bool(case["hp_paste"])
    within = composed(output, image, mask)
    judged = within if paste else output
    terms = erasure(
        output,
        [draft, case["in_o2"], case["in_o1"]],
        logits,
        image,
        truth,
        mask,
        case["in_raw_mask"],
        (maps(judged), maps(within), maps(truth)),
        paste=paste,
    )

    def judge(x: torch.Tensor) -> torch.Tensor:
        whole, local = x.mean((2, 3)) @ case["in_w"], (x * (1 - mask)).mean((2, 3)) @ case["in_v"]
        return torch.stack([whole, local], 1)

    deceive = 0.1 * adversarial.generator(judge(judged), kind="hinge-of-mean")
    for own, word in (("hole", "hole"), ("valid", "valid"), ("msr", "msr"), ("mask", "mask")):
        close(terms[own], case[f"out_{word}"].double())
    close(terms["perceptual"], case["out_prc"])
    close(terms["style"], case["out_style"])
    close(deceive, case["out_g_adv"])
    total = terms["loss"] + deceive
    close(total, case["out_total"])
    total.backward()
    close(output.grad, case["out_grad_output"])
    close(draft.grad, case["out_grad_o3"])
    close(logits.grad, case["out_grad_mask_logits"])
    found = adversarial.critic(judge(truth), judge(judged.detach()), kind="hinge-of-mean")
    close(found, case["out_d_loss"])


@pytest.mark.parametrize("name", named("g-ste-triplet-*"))
def test_the_triplet_equals_the_reference(golden: Any, name: str) -> None:
    """Positive: the truth as in the paper, or the image with its text as in the released line."""
    case = golden(name)
    for word in ("gt", "code"):
        (fine,) = leaves(case, "fine")
        image, mask = case["in_input"], case["in_mask"]
        made, draft = (composed(x, image, mask) for x in (fine, case["in_coarse"]))
        positive = case["in_gt"] if word == "gt" else image
        loss = erasure_triplet(made, positive, draft)
        loss.backward()
        close(loss, case[f"out_loss_{word}"])
        close(fine.grad, case[f"out_grad_{word}"])


@pytest.mark.parametrize("name", named("g-ste-reward-*"))
def test_rewards_and_the_policys_loss_equal_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    error, realism = case["in_erase_error"], case["in_mask_dice"]
    means = RunningMeans(float(case["in_running_error"]), float(case["in_running_dice"]))
    means = means.updated(error, realism)
    close(torch.tensor(means.error).double(), case["out_running_error"], rtol=1e-7)
    close(torch.tensor(means.realism).double(), case["out_running_dice"], rtol=1e-7)
    hard = difficulty_reward(error, means.error, spread=float(case["hp_diff_range"]))
    real = realism_reward(realism, means.realism)
    close(hard, case["out_reward_difficulty"])
    close(real, case["out_reward_realism"])
    chosen, entropy = leaves(case, "logp", "entropy")
    reward = float(case["hp_lambda1"]) * hard + float(case["hp_lambda2"]) * real
    loss = policy_loss(chosen, entropy, reward)
    loss.backward()
    close(loss, case["out_loss"])
    close(chosen.grad, case["out_grad_logp"])
    close(entropy.grad, case["out_grad_entropy"])


@pytest.mark.parametrize("name", named("g-ste-controller-*"))
def test_the_policy_equals_the_reference(golden: Any, name: str) -> None:
    case = golden(name)
    weights = {k.removeprefix("in_w_"): v for k, v in case.items() if k.startswith("in_w_")}
    features = case.get("in_feature")
    policy = StylePolicy(
        case["hp_num_size"].tolist(),
        [tuple(row) for row in case["hp_children"].tolist()],
        width=weights["embedding.weight"].shape[1],
        hidden=weights["out.0.weight"].shape[1],
        layers=int(case["hp_layers"]),
        features=None if features is None else features.shape[1],
    ).double()
    policy.load_state_dict(weights)
    found = policy.judge(case["in_actions"], features)
    close(found.log_probability, case["out_logp"])
    close(found.entropy, case["out_entropy"])
    found.log_probability.sum().backward()
    close(policy.embedding.weight.grad, case["out_grad_embedding"])
    close(policy.out[0].weight.grad, case["out_grad_out0_weight"])


def test_what_is_drawn_is_judged_alike_and_follows_the_generator() -> None:
    policy = StylePolicy(STE_SIZES, STE_CHILDREN, width=4, hidden=5)
    draws = [policy.sample(8, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0].actions, draws[1].actions)
    assert not torch.equal(draws[0].actions, draws[2].actions)
    judged = policy.judge(draws[0].actions)
    torch.testing.assert_close(judged.log_probability, draws[0].log_probability)
    torch.testing.assert_close(judged.entropy, draws[0].entropy)
    assert (draws[0].actions < torch.tensor(STE_SIZES)).all()


def test_a_rewarded_choice_becomes_likely() -> None:
    draw = torch.Generator().manual_seed(0)
    policy = StylePolicy((2, 4), width=8, hidden=16)
    optimiser = torch.optim.Adam(policy.parameters(), 1e-2)
    for _ in range(150):
        choices = policy.sample(20, draw)
        reward = (choices.actions[:, 1] == 2).float()
        loss = policy_loss(choices.log_probability, choices.entropy, reward - reward.mean())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert (policy.sample(200, draw).actions[:, 1] == 2).float().mean() > 0.9


def test_rewards_peak_where_they_should() -> None:
    error = torch.tensor([0.1, 0.2, 0.3])
    assert difficulty_reward(error, 0.1).argmax() == 1
    assert realism_reward(error, 0.2).tolist() == pytest.approx([1.0, 0.0, -1.0])
    text = torch.rand(3, 1, 4, 4).round()
    assert float(mask_dice(text, text).abs().max()) < 1e-2
    first = RunningMeans().updated(torch.tensor([2.0]), torch.tensor([1.0]))
    assert (first.error, first.realism) == (2.0, pytest.approx(0.05))


def test_without_paste_the_background_counts() -> None:
    x = torch.rand(1, 3, 8, 8)
    drafts = [torch.rand(1, 3, side, side) for side in (8, 4, 2)]
    everything = torch.ones(1, 3, 8, 8)
    inside = multi_scale_l1(drafts, x, everything)
    assert inside == 0
    expected = sum(
        weight * (draft - torch.nn.functional.interpolate(x, draft.shape[2:])).abs().mean()
        for weight, draft in zip((0.8, 1.0, 0.8), drafts, strict=True)
    )
    torch.testing.assert_close(multi_scale_l1(drafts, x, everything, valid=True), expected)
    given = (x + 1, drafts, x, x, x, everything, everything, (maps(x), maps(x), maps(x)))
    assert erasure(*given)["valid"] == 0
    torch.testing.assert_close(erasure(*given, paste=False)["valid"], torch.tensor(2.0))


def test_wrong_inputs_are_refused_in_a_sentence() -> None:
    x = torch.rand(2, 3, 8, 8)
    with pytest.raises(UserError, match="Expected drafts at full, half and quarter size; found 1"):
        multi_scale_l1([x], x, x)
    with pytest.raises(ValueError, match="Expected made"):
        erasure_triplet(x, x, x[:1])
    with pytest.raises(UserError, match="children holds"):
        StylePolicy((2, 2), [(1, 1, 2)])
    with pytest.raises(UserError, match=r"Expected actions \(N, 2\)"):
        StylePolicy((2, 2)).judge(torch.zeros(1, 3).long())
    with pytest.raises(UserError, match="others take none"):
        StylePolicy((2, 2)).judge(torch.zeros(1, 2).long(), x[:, 0, 0])
    with pytest.raises(UserError, match="entropy_weight is -1"):
        policy_loss(x[:, 0, 0, 0], x[:, 0, 0, 0], x[:, 0, 0, 0], entropy_weight=-1)
