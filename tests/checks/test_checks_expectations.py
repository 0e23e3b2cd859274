"""Weighted sums that are divided by the number of weights, and means that are meant."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

SIZES = [(6, 4, 5), (4, 4, 4)]


def scores(batch, classes, width):
    x = torch.randn(batch, width)
    return nn.Linear(width, classes)(x), nn.Linear(width, classes)(x)


def expected_value(a, b, over):
    return getattr(a.softmax(1) * b, over)(dim=1)


def soft_value(a, b, over):
    p = a.softmax(-1)
    return getattr(p * (b - 0.2 * (p + 1e-8).log()), over)(-1, keepdim=True)


def entropy(a, b, over):
    return -getattr(a.softmax(1) * a.log_softmax(1), over)(1)


def entropy_by_exp(a, b, over):
    logs = a.log_softmax(1)
    return getattr(torch, over)(-(logs.exp() * logs), dim=1)


def distilled(a, b, over):
    return getattr(-(b.detach() / 2).softmax(1) * (a / 2).log_softmax(1), over)(1)


def divergence(a, b, over):
    p, q = a.softmax(1), b.softmax(1)
    return getattr(p * (p.clamp_min(1e-8).log() - q.log()), over)(1)


def one_hot(a, b, over):
    y = F.one_hot(torch.arange(len(a)) % a.shape[1], a.shape[1])
    return getattr(-(y.float() * a.log_softmax(1)), over)(1)


def pooled(a, b, over):
    weights = a.softmax(1).unsqueeze(-1)
    return getattr(weights * nn.Linear(1, 5)(b[:, :, None]), over)(1)


def experts(a, b, over):
    made = torch.stack([layer(b) for layer in heads(a)], 2)
    return getattr(made * a.softmax(1)[:, None], over)(dim=2)


def heads(a):
    return [nn.Linear(a.shape[1], 3) for _ in range(a.shape[1])]


def by_a_layer(a, b, over):
    return getattr(nn.Softmax(dim=1)(a) * b, over)(dim=1)


def ages(a, b, over):
    return getattr(a.softmax(1) * torch.linspace(0, 9, a.shape[1]), over)(1)


def unreduced(a, b, over):
    each = F.kl_div(a.log_softmax(1), b.softmax(1), reduction="none")
    return getattr(each, over)(1)


def renormalised(a, b, over):
    shares = a.sigmoid()
    shares = shares / (shares.sum(1, keepdim=True) + 1e-8)
    return getattr(shares * b, over)(1)


def of_a_policy(a, b, over):
    policy = torch.distributions.Categorical(probs=a.softmax(1))
    return getattr(policy.probs * b, over)(1)


PROGRAMS = [
    renormalised,
    of_a_policy,
    unreduced,
    expected_value,
    soft_value,
    entropy,
    entropy_by_exp,
    distilled,
    divergence,
    one_hot,
    pooled,
    experts,
    by_a_layer,
    ages,
]


def program(make, sizes, *over):
    make(*scores(*sizes), *over).square().mean().backward()


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("make", PROGRAMS, ids=lambda make: make.__name__)
def test_a_weighted_sum_that_is_averaged(make, sizes):
    assert findings(program, make, sizes, "mean") == [("expectation-averaged", "mean")]
    assert silent(program, make, sizes, "sum")


def averaged_over_the_batch(a, b):
    return (a.softmax(1) * b).mean(0)


def averaged_over_all(a, b):
    return (a.softmax(1) * b).mean()


def multiplied_by_the_count(a, b):
    return (a.softmax(1) * b).mean(1) * a.shape[1]


def counted_before(a, b):
    weights = a.shape[1] * a.softmax(1)
    return (weights * b).mean(1)


def mean_of_the_weights(a, b):
    return a.softmax(1).mean(1) + b.mean(1)


def load_balance(a, b):
    chosen = F.one_hot(a.argmax(1), a.shape[1]).float()
    return (a.softmax(1).mean(0) * chosen.mean(0)).mean() * a.shape[1] ** 2


def share_that_is_picked(a, b):
    y = torch.arange(len(a)) % a.shape[1]
    return (a.softmax(1).gather(1, y[:, None]) * b).mean(1)


def over_heads(a, b):
    shares = torch.stack([a, b], 1).softmax(-1)
    return (shares * a[:, None]).mean(1)


def in_both(a, b):
    p = a.softmax(1)
    return (p * b).mean(1) / (p * b.detach().abs()).mean(1)


def brier(a, b):
    return ((a.softmax(1) - b.softmax(1)) ** 2).mean(1)


def by_a_sigmoid(a, b):
    return (a.sigmoid() * b).mean(1)


def before_a_norm(a, b):
    values = nn.Linear(1, 5)(b[:, :, None])
    return nn.LayerNorm(5)((a.softmax(1)[:, :, None] * values).mean(1))


def focal(a, b):
    p = a.softmax(1)
    return -((1 - p) ** 2 * p.log()).mean(1)


def masked(a, b):
    kept = b.detach() > 0
    return (a.softmax(1) * kept).mean(1)


def multi_label(a, b):
    y = (b.detach() > 0).float()
    return -(y * a.log_softmax(1)).mean(1)


def dice(a, b):
    y = F.one_hot(b.argmax(1), b.shape[1]).float()
    p = a.softmax(1)
    return 1 - ((2 * p * y).sum(0) / (p + y).sum(0)).mean(0)


def gated(a, b):
    """Gates along the features, and a mean over another dimension."""
    x = torch.stack([a, b, a + b], 2)
    return (x * x.softmax(1)).mean(2)


def attention_map(a, b):
    """Divided by the sum over the batch, and averaged over the features."""
    return (a.exp() / a.exp().sum(0, keepdim=True) * b).mean(1)


def by_the_mean(a, b):
    return (a / a.mean(1, keepdim=True) * b).mean(1)


CORRECT = [
    attention_map,
    by_the_mean,
    averaged_over_the_batch,
    averaged_over_all,
    multiplied_by_the_count,
    counted_before,
    mean_of_the_weights,
    load_balance,
    share_that_is_picked,
    over_heads,
    in_both,
    brier,
    by_a_sigmoid,
    before_a_norm,
    focal,
    masked,
    multi_label,
    dice,
    gated,
]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("make", CORRECT, ids=lambda make: make.__name__)
def test_means_that_are_meant(make, sizes):
    assert silent(program, make, sizes)
