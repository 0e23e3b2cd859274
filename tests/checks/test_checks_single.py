"""Numbers that are normalised each by itself, and what only looks like it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

SIZES = [(6, 9, 4), (8, 8, 8)]


def one_episode(values, scores, z):
    advantages = torch.stack([values[:1, t] - 0.1 for t in range(values.shape[1])], 1)
    mean = advantages.mean(dim=(0,), keepdim=True)
    var = advantages.var(dim=(0,), unbiased=False, keepdim=True)
    return (advantages - mean) / (var + 1e-8).sqrt() * values[:1]


def one_score(values, scores, z):
    """`(B, 1)` over its last dimension, where the samples were meant."""
    mean = scores.mean(-1, keepdim=True)
    return (scores - mean) / (scores.std(-1, keepdim=True, unbiased=False) + 1e-6)


def one_score_by_its_variance(values, scores, z):
    centred = scores - scores.mean(1).unsqueeze(1)
    return centred * (centred.var(1, unbiased=False, keepdim=True) + 1e-5).rsqrt()


def both_at_once(values, scores, z):
    var, mean = torch.var_mean(scores, dim=1, keepdim=True, correction=0)
    return torch.sub(scores, mean).div(torch.sqrt(var + 1e-5))


def pooled(values, scores, z):
    """What is left of maps after a pooling over all of them."""
    maps = z[:, :, None, None]
    mean = maps.mean((2, 3), keepdim=True)
    return (maps - mean) / (maps.std((2, 3), keepdim=True, correction=0) + 1e-5)


def groups_of_one(values, scores, z):
    rewards = values.mean(1).view(-1, 1)
    mean, std = rewards.mean(1, keepdim=True), rewards.std(
        1, keepdim=True, correction=0
    )
    return (rewards - mean) / (std + 1e-4) * scores


def layer_norm_of_one(values, scores, z):
    return nn.LayerNorm(1)(scores)


def layer_norm_by_function(values, scores, z):
    return F.layer_norm(z[..., None], (1,)).squeeze(-1)


MISTAKES = [
    *(one_episode, one_score, one_score_by_its_variance, both_at_once, pooled),
    *(groups_of_one, layer_norm_of_one, layer_norm_by_function),
]


def all_of_one_episode(values, scores, z):
    advantages = values[:1]
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


def over_the_steps(values, scores, z):
    one = values[:1]
    return (one - one.mean(1, keepdim=True)) / (one.std(1, keepdim=True) + 1e-8)


def over_the_samples(values, scores, z):
    return (scores - scores.mean(0)) / (scores.std(0) + 1e-6)


def over_both(values, scores, z):
    mean, std = scores.mean((0, 1), keepdim=True), scores.std((0, 1), keepdim=True)
    return (scores - mean) / (std + 1e-6)


def standardised_batch_of_one(values, scores, z):
    one = z[:1]
    return (one - one.mean(0)) / (one.std(0, unbiased=False) + 1e-6)


def the_last_batch(values, scores, z):
    total = 0.0
    for part in (z[:4], z[4:5]):
        std = part.std(0, unbiased=False, keepdim=True)
        total = total + ((part - part.mean(0, keepdim=True)) / (std + 1e-6)).sum()
    return total


def advantages_of_one_action(values, scores, z):
    """A dueling network of one action: its shape is the user's."""
    return z.mean(1, keepdim=True) + scores - scores.mean(1, keepdim=True)


def layer_norm_of_one_step(values, scores, z):
    return nn.LayerNorm(z.shape[1])(z[:1, None])


def one_channel(values, scores, z):
    maps = z[:, None, :, None]
    mean, std = maps.mean((2, 3), keepdim=True), maps.std((2, 3), keepdim=True)
    return (maps - mean) / (std + 1e-5)


def scaled_by_its_range(values, scores, z):
    one = z[:1]
    low, high = one.amin(1, keepdim=True), one.amax(1, keepdim=True)
    return (one - low) / (high - low + 1e-6)


def batch_norm_in_evaluation(values, scores, z):
    return nn.BatchNorm1d(z.shape[1]).eval()(z[:1])


def a_number_alone(values, scores, z):
    one = scores.mean()[None]
    return (one - one.mean(0)) / (one.std(0, unbiased=False) + 1e-6)


def one_feature_of_a_batch_of_one(values, scores, z):
    one = scores[:1]
    return (one - one.mean(0)) / (one.std(0, unbiased=False) + 1e-6)


def groups_of_several_and_one(values, scores, z):
    """Episodes in groups of three, the last of which has one."""
    total = 0.0
    for part in values[:4].split(3):
        std = part.std(0, unbiased=False, keepdim=True)
        total = total + ((part - part.mean(0, keepdim=True)) / (std + 1e-6)).sum()
    return total


def mono(values, scores, z):
    """Several channels are made one before they are centred over the time."""
    wave = values.mean(0, keepdim=True)
    return (wave - wave.mean(-1, keepdim=True)) / (wave.std(-1, keepdim=True) + 1e-6)


CORRECT = [
    *(all_of_one_episode, over_the_steps, over_the_samples, over_both),
    *(standardised_batch_of_one, the_last_batch, advantages_of_one_action),
    *(layer_norm_of_one_step, one_channel, scaled_by_its_range),
    *(batch_norm_in_evaluation, a_number_alone, mono),
    *(one_feature_of_a_batch_of_one, groups_of_several_and_one),
]


def alarms(body, sizes):
    torch.manual_seed(0)
    batch, steps, width = sizes
    layer, score, value = nn.Linear(5, width), nn.Linear(5, 1), nn.Linear(5, 1)
    with shapetrace.trace() as t:
        x = torch.randn(batch, 5)
        values = value(torch.randn(batch, steps, 5)).squeeze(-1)
        body(values, score(x), layer(x)).pow(2).mean().backward()
    found = [one for one in t.findings if one.severity != "note"]
    return [one for one in found if one.code == "normalised-over-one"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("body", MISTAKES)
def test_what_is_normalised_by_itself(body, sizes):
    (found,) = alarms(body, sizes)
    assert "has size 1" in found.message
    assert found.culprits[0].size == 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("body", CORRECT)
def test_what_looks_like_it(body, sizes):
    assert [str(one) for one in alarms(body, sizes)] == []


def test_a_single_sample_of_data_is_a_note():
    layer = nn.Linear(6, 3)
    with shapetrace.trace(layer) as t:
        x = torch.randn(1, 6)
        x = (x - x.mean(0)) / (x.std(0, unbiased=False) + 1e-6)
        F.cross_entropy(layer(x), torch.tensor([1])).backward()
    found = [one for one in t.findings if one.code == "normalised-over-one"]
    assert [one.severity for one in found] == ["note"]
