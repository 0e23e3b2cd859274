"""Statistics of a whole batch in what is made of a sample, and those that are meant."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

SIZES = [(7, 4, 10), (6, 6, 6)]


class Net(nn.Module):
    """`after` is what the forward does with the scores of the actions."""

    def __init__(self, after, actions, width):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, 16), nn.ReLU())
        self.advantage, self.value = nn.Linear(16, actions), nn.Linear(16, 1)
        self.register_buffer("running", torch.zeros(()))
        self.after = after

    def forward(self, x):
        x = self.body(x)
        return self.after(self, self.advantage(x), self.value(x))


class Duel(nn.Module):
    def forward(self, value, advantage):
        return value + advantage - advantage.mean()


def learned(after, sizes):
    """Temporal differences of the actions that were taken."""
    batch, actions, width = sizes
    net = Net(after, actions, width)
    taken = torch.arange(batch)[:, None] % actions
    q = net(torch.randn(batch, width)).gather(1, taken)
    F.smooth_l1_loss(q, torch.rand(batch, 1)).backward()


def mean_of_all(net, a, v):
    return v + a - a.mean()


def function_of_torch(net, a, v):
    return torch.add(v, torch.sub(a, torch.mean(a)))


def taken_before_it_is_added(net, a, v):
    return (v - a.mean()) + a


def mean_of_each_action(net, a, v):
    return v + a - a.mean(0, keepdim=True)


def best_of_all(net, a, v):
    return v + (a - a.max())


def share_of_all(net, a, v):
    a = a.exp()
    return v + a / a.sum()


def scaled_by_the_norm(net, a, v):
    return v + 10 * a / (a.norm() + 1e-6)


def between_the_ends(net, a, v):
    return v + (a - a.min()) / (a.max() - a.min())


def gated(net, a, v):
    return v + a * torch.sigmoid(a.mean())


def by_a_module(net, a, v):
    return Duel()(v, a)


MISTAKES = [
    mean_of_all,
    function_of_torch,
    taken_before_it_is_added,
    mean_of_each_action,
    best_of_all,
    share_of_all,
    scaled_by_the_norm,
    between_the_ends,
    gated,
    by_a_module,
]


def mean_of_each(net, a, v):
    return v + a - a.mean(dim=1, keepdim=True)


def standardised(net, a, v):
    return v + (a - a.mean()) / (a.std() + 1e-5)


def standardised_by_hand(net, a, v):
    centred = a - a.mean()
    return v + centred / (centred.square().mean() + 1e-5).sqrt()


def by_the_features(net, a, v):
    return v + (a - a.mean(0)) / torch.sqrt(a.var(0, unbiased=False) + 1e-5)


def with_a_running_mean(net, a, v):
    mean = 0.9 * net.running + 0.1 * a.mean()
    return v + a - mean


def detached(net, a, v):
    return v + a - a.mean().detach()


def without_autograd(net, a, v):
    with torch.no_grad():
        scale = a.abs().max()
    return v + a / scale


def root_mean_square(net, a, v):
    return v + a / a.square().mean().sqrt()


def quantised(net, a, v):
    step = a.max() / 127
    return v + (a / step).round() * step


def stable_softmax(net, a, v):
    shares = (a - a.max()).exp()
    return v + shares / shares.sum(1, keepdim=True)


def before_a_softmax(net, a, v):
    return v + (a - a.mean()).softmax(1)


def unused_parameters(net, a, v):
    return v + a + 0.0 * a.sum()


def threshold(net, a, v):
    return v + a * (a > a.mean())


def number_for_each(net, a, v):
    return a + v - v.mean()


def decorrelated(net, a, v):
    centred = a - a.mean()
    return v + a @ (centred.T @ centred / len(a))


def noise_of_its_size(net, a, v):
    return v + a + 0.1 * a.std() * torch.randn_like(a)


def a_number_of_others(net, a, v):
    """A term of the loss that rides along."""
    return v + a + net.body[0].bias.mean() + v.mean()


CORRECT = [
    a_number_of_others,
    mean_of_each,
    standardised,
    standardised_by_hand,
    by_the_features,
    with_a_running_mean,
    detached,
    without_autograd,
    root_mean_square,
    quantised,
    stable_softmax,
    before_a_softmax,
    unused_parameters,
    threshold,
    number_for_each,
    decorrelated,
    noise_of_its_size,
]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("after", MISTAKES, ids=lambda after: after.__name__)
def test_a_number_of_the_whole_batch_in_each_prediction(after, sizes):
    found = findings(learned, after, sizes)
    assert [code for code, _ in found] == ["batch-statistic"]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("after", CORRECT, ids=lambda after: after.__name__)
def test_statistics_that_are_meant(after, sizes):
    assert silent(learned, after, sizes)


def test_a_batch_of_one():
    assert silent(learned, mean_of_all, (1, 4, 10))


class Weighted(nn.Module):
    """A loss whose weights add up to 1 over the batch."""

    def forward(self, scores, y):
        each = F.cross_entropy(scores, y, reduction="none")
        hard = scores.softmax(1).gather(1, y[:, None])[:, 0]
        share = (1 - hard) * scores.square().mean(1)
        return each * share / share.sum()


class Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.one(x)
        return self.two(x - x.mean(0))


def test_features_that_are_centred():
    def program():
        F.cross_entropy(Centred()(torch.randn(6, 8)), torch.arange(6) % 3).backward()

    assert silent(program)


class Penalised(nn.Module):
    """A loss for each sample, or for each number of it, and a term for all."""

    def __init__(self, one):
        super().__init__()
        self.fc, self.back, self.one = nn.Linear(8, 4), nn.Linear(4, 8), one

    def forward(self, x):
        z = self.fc(x)
        each = (self.back(z) - x).square()
        each = each.sum(1) if self.one else each
        return each + 0.1 * z.square().mean() + z.mean()


@pytest.mark.parametrize("one", [True, False])
def test_a_term_for_all_in_the_loss_of_each(one):
    def program():
        Penalised(one)(torch.randn(6, 8)).mean().backward()

    assert silent(program)


def test_weights_of_a_loss():
    def program():
        scores = nn.Linear(8, 4)(torch.randn(6, 8))
        Weighted()(scores, torch.arange(6) % 4).sum().backward()

    assert silent(program)


class Graph(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x, near):
        x = near @ self.one(x).relu()
        return self.two(near @ (x - x.mean()))


class Contrast(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(8, 8)

    def forward(self, x):
        z = self.encoder(x)
        return F.normalize(z - z.mean(), dim=1)


def test_nodes_of_one_graph_are_no_samples():
    def program():
        near = torch.rand(6, 6).softmax(1)
        out = Graph()(torch.randn(6, 8), near)
        F.cross_entropy(out, torch.arange(6) % 3).backward()

    assert silent(program)


def test_embeddings_that_are_compared_with_each_other():
    def program():
        z = Contrast()(torch.randn(6, 8))
        F.cross_entropy(z @ z.T / 0.1, torch.arange(6)).backward()

    assert silent(program)
