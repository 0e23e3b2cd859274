"""What an objective takes as given must not learn from it: shown, and its twins."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

SIZES = [(5, 6, 3), (8, 8, 8)]


def mlp(given, made):
    return nn.Sequential(nn.Linear(given, 8), nn.ReLU(), nn.Linear(8, made))


def keep(tensor):
    return tensor


# -- the weight of a log-probability --------------------------------------------------


def actor_critic(batch, width, count, cut=keep):
    policy, value = mlp(width, count), mlp(width, 1)
    x, returns = torch.randn(batch, width), torch.randn(batch)
    pick = torch.distributions.Categorical(logits=policy(x))
    v = value(x).squeeze(-1)
    advantage = cut(returns - v)
    loss = -(pick.log_prob(pick.sample()) * advantage).mean()
    (loss + F.mse_loss(v, returns)).backward()


def normalised(batch, width, count, cut=keep):
    policy, value = mlp(width, count), mlp(width, 1)
    x, returns = torch.randn(batch, width), torch.randn(batch)
    actions = torch.randint(count, (batch,))
    log = policy(x).log_softmax(-1).gather(1, actions[:, None]).squeeze(1)
    left = returns - value(x).squeeze(-1)
    advantage = cut((left - left.mean()) / (left.std() + 1e-8))
    (-(log * advantage).mean() + 0.5 * left.pow(2).mean()).backward()


def gaussian(batch, width, count, cut=keep):
    policy, value = mlp(width, count), mlp(width, 1)
    x, returns = torch.randn(batch, width), torch.randn(batch)
    pick = torch.distributions.Normal(policy(x), torch.ones(count))
    v = value(x).squeeze(-1)
    log = pick.log_prob(pick.sample()).sum(-1)
    loss = -log * cut(returns - v)
    (loss.mean() + F.smooth_l1_loss(v, returns)).backward()


def logarithm(batch, width, count, cut=keep):
    policy, value = mlp(width, count), mlp(width, 1)
    x, returns = torch.randn(batch, width), torch.randn(batch)
    chances = policy(x).softmax(-1)
    log = (chances[torch.arange(batch), 0] + 1e-8).log()
    v = value(x).squeeze(-1)
    (F.mse_loss(v, returns) - (cut(returns - v) * log).mean()).backward()


def ratios(batch, width, count, cut=keep):
    policy, value = mlp(width, count), mlp(width, 1)
    x, returns, old = torch.randn(batch, width), torch.randn(batch), torch.randn(batch)
    pick = torch.distributions.Categorical(logits=policy(x))
    v = value(x).squeeze(-1)
    ratio = (pick.log_prob(torch.randint(count, (batch,))) - old).exp()
    loss = -(ratio * cut(returns - v)).mean()
    (loss + F.mse_loss(v, returns)).backward()


WEIGHTS = [actor_critic, normalised, gaussian, logarithm, ratios]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("program", WEIGHTS, ids=lambda program: program.__name__)
def test_a_value_in_what_weighs_a_log_probability(program, sizes):
    assert ("not-detached", "sub") in findings(program, *sizes)
    assert silent(program, *sizes, torch.Tensor.detach)


# -- the target ----------------------------------------------------------------------


def q_learning(batch, width, count, cut=keep):
    q = mlp(width, count)
    x, y, reward = (
        torch.randn(batch, width),
        torch.randn(batch, width),
        torch.randn(batch),
    )
    done, action = torch.zeros(batch), torch.randint(count, (batch, 1))
    value = q(x).gather(1, action).squeeze(1)
    target = cut(reward + 0.99 * q(y).max(1).values * (1 - done))
    F.smooth_l1_loss(value, target).backward()


def temporal_difference(batch, width, count, cut=keep):
    v = mlp(width, 1)
    x, y, reward = (
        torch.randn(batch, width),
        torch.randn(batch, width),
        torch.randn(batch),
    )
    left = cut(reward + 0.9 * v(y).squeeze(-1)) - v(x).squeeze(-1)
    left.pow(2).mean().backward()


def as_a_column(batch, width, count, cut=keep):
    v = mlp(width, 1)
    x, y = torch.randn(batch, width), torch.randn(batch, width)
    reward = torch.randn(batch, 1)
    nn.MSELoss()(v(x), cut(reward + v(y) * 0.9)).backward()


TARGETS = [q_learning, temporal_difference, as_a_column]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("program", TARGETS, ids=lambda program: program.__name__)
def test_a_target_that_learns(program, sizes):
    codes = {code for code, _ in findings(program, *sizes)}
    assert codes == {"not-detached"}
    assert silent(program, *sizes, torch.Tensor.detach)


# -- what looks alike ----------------------------------------------------------------


def frozen_target(batch, width, count):
    q, old = mlp(width, count), mlp(width, count)
    x, y, reward = (
        torch.randn(batch, width),
        torch.randn(batch, width),
        torch.randn(batch),
    )
    target = reward + 0.99 * old(y).max(1).values
    F.mse_loss(q(x).max(1).values, target).backward()


def without_autograd(batch, width, count):
    v = mlp(width, 1)
    x, y = torch.randn(batch, width), torch.randn(batch, width)
    with torch.no_grad():
        target = torch.randn(batch, 1) + 0.9 * v(y)
    F.mse_loss(v(x), target).backward()


def two_views(batch, width, count):
    f = mlp(width, count)
    x = torch.randn(batch, width)
    F.mse_loss(f(x), f(x + 0.1 * torch.randn_like(x))).backward()


def equivariance(batch, width, count):
    """What moves by so much in the data moves by so much in the output."""
    f = mlp(width, width)
    x, shift = torch.randn(batch, width), torch.randn(width)
    F.mse_loss(f(x + shift), f(x) + shift).backward()


def physics(batch, width, count):
    """One call of a field, and its slope by autograd: u' = -0.5 u + f."""
    u = mlp(1, 1)
    t = torch.rand(batch, 1, requires_grad=True)
    value = u(t)
    (slope,) = torch.autograd.grad(value.sum(), t, create_graph=True)
    F.mse_loss(slope, torch.sin(t) - 0.5 * value).backward()


def divergence(batch, width, count):
    """A mean of logarithms by the shares themselves."""
    f, g = mlp(width, count), mlp(width, count)
    x = torch.randn(batch, width)
    p = f(x).softmax(-1)
    (p * (p.log() - g(x).log_softmax(-1))).sum(-1).mean().backward()


def baseline_without_a_loss(batch, width, count):
    policy = mlp(width, count)
    shift = nn.Parameter(torch.zeros(()))
    x, reward = torch.randn(batch, width), torch.randn(batch)
    pick = torch.distributions.Categorical(logits=policy(x))
    (-(pick.log_prob(pick.sample()) * (reward - shift)).mean()).backward()


def entropy_bonus(batch, width, count):
    policy, value = mlp(width, count), mlp(width, 1)
    x, returns = torch.randn(batch, width), torch.randn(batch)
    pick = torch.distributions.Categorical(logits=policy(x))
    v = value(x).squeeze(-1)
    loss = -(pick.log_prob(pick.sample()) * (returns - v).detach()).mean()
    (loss + F.mse_loss(v, returns) - 0.01 * pick.entropy().mean()).backward()


def uncertain(batch, width, count):
    """The likelihood of a Gaussian whose width learns too."""
    f = mlp(width, 2)
    x, y = torch.randn(batch, width), torch.randn(batch)
    mean, log_width = f(x).unbind(-1)
    ((y - mean).pow(2) * (-log_width).exp() + log_width).mean().backward()


def weighted_cross_entropy(batch, width, count):
    """Samples weigh as much as a network that has no loss of its own says."""
    f, weigh = mlp(width, count), mlp(width, 1)
    x, y = torch.randn(batch, width), torch.randint(count, (batch,))
    log = f(x).log_softmax(-1).gather(1, y[:, None]).squeeze(1)
    share = torch.sigmoid(torch.randn(batch) + weigh(x).squeeze(-1))
    (-(log * share).mean()).backward()


def soft_actor(batch, width, count):
    """The policy learns through the critic, and its own entropy."""
    policy, critic = mlp(width, count), mlp(width + count, 1)
    x = torch.randn(batch, width)
    pick = torch.distributions.Normal(policy(x), torch.ones(count))
    action = pick.rsample()
    log = pick.log_prob(action).sum(-1)
    q = critic(torch.cat((x, action), -1)).squeeze(-1)
    (0.2 * log - q).mean().backward()


def one_step_ahead(batch, width, count):
    """The next state is predicted from this one, by a residual."""
    f = mlp(width, width)
    x, y = torch.randn(batch, width), torch.randn(batch, width)
    F.mse_loss(x + 0.1 * f(x), y).backward()


def distilled_from_itself(batch, width, count):
    f = mlp(width, count)
    x, y = torch.randn(batch, width), torch.randn(batch, count)
    F.mse_loss(f(x), 0.5 * y + 0.5 * f(x).detach()).backward()


CORRECT = [
    *(frozen_target, without_autograd, two_views, equivariance, physics, divergence),
    *(baseline_without_a_loss, entropy_bonus, uncertain, weighted_cross_entropy),
    *(soft_actor, one_step_ahead, distilled_from_itself),
]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("program", CORRECT, ids=lambda program: program.__name__)
def test_objectives_that_look_alike(program, sizes):
    assert silent(program, *sizes)
