"""Variances that scale noise, divergences by sign, and correct ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

SIZES = [(12, 8, 3), (6, 6, 6)]


class Autoencoder(nn.Module):
    def __init__(self, draw, width, latent):
        super().__init__()
        self.encode, self.draw = nn.Linear(width, 2 * latent), draw
        self.decode = nn.Linear(latent, width)

    def forward(self, x):
        mean, x = self.encode(x).chunk(2, 1)
        return self.decode(self.draw(mean, x)), mean, x


def step(sizes, draw, loss):
    batch, width, latent = sizes
    x = torch.randn(batch, width)
    loss(x, *Autoencoder(draw, width, latent)(x)).backward()


def by_the_deviation(mean, x):
    return mean + torch.exp(0.5 * x) * torch.randn_like(mean)


def by_the_variance(mean, x):
    return mean + torch.exp(x) * torch.randn_like(mean)


def by_the_variance_on_lines_of_its_own(mean, x):
    std = x.exp()
    noise = torch.randn(*std.size())
    return noise.mul(std).add_(mean)


def usual(x, made, mean, log):
    return F.mse_loss(made, x) - 0.5 * torch.mean(1 + log - mean.pow(2) - log.exp())


def summed(x, made, mean, log):
    kl = -0.5 * torch.sum(1 + log - mean**2 - torch.exp(log), dim=1)
    return F.mse_loss(made, x, reduction="sum") + kl.mean()


def turned_round(x, made, mean, log):
    kl = 0.5 * (log.exp() + mean**2 - 1.0 - log).sum(1).mean()
    return (made - x).square().sum(1).mean() + 0.1 * kl


def elbo(x, made, mean, log):
    likelihood = -(made - x).square().sum(1)
    kl = 0.5 * (log.exp() + mean**2 - log - 1).sum(1)
    return -(likelihood - kl).mean()


LOSSES = [usual, summed, turned_round, elbo]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("loss", LOSSES, ids=lambda one: one.__name__)
def test_noise_that_a_variance_scales(loss, sizes):
    for draw in (by_the_variance, by_the_variance_on_lines_of_its_own):
        assert findings(step, sizes, draw, loss) == [("variance-as-deviation", "exp")]
    assert silent(step, sizes, by_the_deviation, loss)


def no_minus(x, made, mean, log):
    return F.mse_loss(made, x) + 0.5 * torch.mean(1 + log - mean.pow(2) - log.exp())


def taken_away(x, made, mean, log):
    kl = -0.5 * torch.sum(1 + log - mean**2 - torch.exp(log), dim=1).mean()
    return (made - x).square().sum(1).mean() - kl


def elbo_with_a_plus(x, made, mean, log):
    likelihood = -(made - x).square().sum(1)
    kl = 0.5 * (log.exp() + mean**2 - log - 1).sum(1)
    return -(likelihood + kl).mean()


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("loss", [no_minus, taken_away, elbo_with_a_plus])
def test_a_divergence_of_the_wrong_sign(loss, sizes):
    (found,) = findings(step, sizes, by_the_deviation, loss)
    assert found[0] == "unbounded-loss"


def of_deviations(x, made, mean, log):  # here it is the deviation's logarithm
    kl = -log - 0.5 + 0.5 * ((2 * log).exp() + mean**2)
    return F.mse_loss(made, x) + kl.sum(1).mean()


def of_distributions(x, made, mean, log):
    own = Normal(mean, log.exp())
    kl = torch.distributions.kl_divergence(own, Normal(torch.zeros(1), torch.ones(1)))
    return F.mse_loss(made, x) + kl.sum(1).mean()


def without_a_prior(x, made, mean, log):
    return F.mse_loss(made, x) + 1e-3 * log.square().mean()


def entropy_alone(x, made, mean, log):
    return F.mse_loss(made, x) - 1e-3 * log.sum(1).mean()


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    "loss", [of_deviations, of_distributions, without_a_prior, entropy_alone]
)
def test_noise_that_a_deviation_scales(loss, sizes):
    assert silent(step, sizes, by_the_variance, loss)


def likelihood(loss):
    def program(batch, width, _):
        model = nn.Linear(width, 2)
        mean, log = model(torch.randn(batch, width)).unbind(1)
        loss(mean, log, torch.rand(batch)).mean().backward()

    return program


OTHERS = {
    "gaussian": lambda m, s, y: 0.5 * (s + (y - m) ** 2 / s.exp()),
    "inverse": lambda m, s, y: (-s).exp() * (y - m) ** 2 + s,
    "poisson": lambda m, s, y: s.exp() - y * s,
    "one event": lambda m, s, y: s.exp() - s + 0 * y,
    "linex": lambda m, s, y: (m - y).exp() - (m - y) - 1,
    "ratio": lambda m, s, y: (m - s).exp() - 1 - (m - s),
    "bound": lambda m, s, y: -(m - (s - 1).exp()),
    "ascent": lambda m, s, y: -(m - m.exp()),
    "square": lambda m, s, y: (m - m.exp() - y) ** 2,
    "gates": lambda m, s, y: (m - m.exp() * y) ** 2,
}


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", OTHERS)
def test_exponentials_in_other_losses(name, sizes):
    assert silent(likelihood(OTHERS[name]), *sizes)
