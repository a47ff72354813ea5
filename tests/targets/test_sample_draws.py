"""Draws by sample and step: the published generator's numbers, spread evenly, the same in parts."""

from __future__ import annotations

import torch

from nearfar.targets.sample_draws import SampleDraws, _mixed

_MASK = 2**64 - 1


def _splitmix(x: int) -> int:
    """The published mixing function in whole numbers without a sign."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def test_mixes_as_published() -> None:
    numbers = [1, 2, 12345, 2**40 + 7, 0x9E3779B97F4A7C15]
    signed = torch.tensor([n - 2**64 if n >= 2**63 else n for n in numbers])
    assert [value & _MASK for value in _mixed(signed).tolist()] == [_splitmix(n) for n in numbers]
    assert _splitmix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF, "the first output for the seed 0"


def test_numbers_are_uniform_and_unrelated_between_samples_and_steps() -> None:
    draws = SampleDraws()
    first = draws(torch.arange(20_000))
    assert first.dtype == torch.float64
    assert 0 <= first.min() < 0.001
    assert 0.999 < first.max() < 1
    counts = torch.histc(first, bins=20, min=0, max=1)
    assert ((counts - 1000).square() / 1000).sum() < 43.8, "chi-square with 19 degrees of freedom, 0.1 % level"
    draws.advance()
    second = draws(torch.arange(20_000))
    for a, b in ((first, second), (first[:-1], first[1:])):
        assert torch.corrcoef(torch.stack([a, b]))[0, 1].abs() < 0.03


def test_parts_and_a_restored_copy_draw_the_same() -> None:
    draws, index = SampleDraws(), torch.randperm(100)
    draws.advance()
    parts = torch.cat([draws(index[:37]), draws(index[37:])])
    assert torch.equal(parts, draws(index))
    other = SampleDraws()
    assert not torch.equal(other(index), draws(index))
    other.load_state_dict(draws.state_dict())
    assert torch.equal(other(index), draws(index))
