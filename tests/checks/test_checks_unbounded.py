"""Losses that lack a minus sign, and what only looks like it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

SIZES = [(6, 8, 4), (5, 5, 5)]


class Parts:
    def __init__(self, batch, width, classes):
        self.net = nn.Linear(width, classes)
        self.to_mean, self.to_log = nn.Linear(width, classes), nn.Linear(width, classes)
        self.back = nn.Linear(classes, width)
        self.x, self.y = torch.randn(batch, width), torch.randint(classes, (batch,))
        self.cost = torch.rand(batch)

    def log_p(self):
        return F.log_softmax(self.net(self.x), dim=1)

    def picked(self):
        return self.log_p().gather(1, self.y[:, None]).squeeze(1)

    def encoded(self):
        mean, log_var = self.to_mean(self.x), self.to_log(self.x)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        return mean, log_var, F.mse_loss(self.back(z), self.x)


def gathered(parts):
    return parts.log_p().gather(1, parts.y[:, None]).mean()


def indexed(parts):
    rows = torch.arange(len(parts.y))
    return parts.log_p()[rows, parts.y].sum() / len(rows)


def log_of_a_softmax(parts):
    p = F.softmax(parts.net(parts.x), dim=1).gather(1, parts.y[:, None])
    return torch.log(p).mean() * 2


def twice_negative(parts):
    return -(-parts.picked()).sum()


def beside_another_term(parts):
    return 0.1 * parts.net.weight.square().sum() + parts.picked().mean()


def divergence(parts):
    mean, log_var, error = parts.encoded()
    return error + 0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())


def divergence_of_each_sample(parts):
    mean, log_var, error = parts.encoded()
    inner = 1 + log_var - mean**2 - torch.exp(log_var)
    return error + (0.5 * inner.sum(dim=1)).mean()


MISTAKES = [
    gathered,
    indexed,
    log_of_a_softmax,
    twice_negative,
    beside_another_term,
    divergence,
    divergence_of_each_sample,
]


def learned(loss, parts):
    loss(parts).backward()


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("loss", MISTAKES)
def test_a_missing_minus_sign_is_told(loss, sizes):
    ((code, name),) = findings(learned, loss, Parts(*sizes))
    assert code == "unbounded-loss"
    assert name in ("sum", "mean")


def negative(parts):
    return -parts.picked().mean()


def negative_inside(parts):
    return (-parts.picked()).sum()


def subtracted(parts):
    return parts.net.weight.square().sum() - parts.picked().mean()


def times_minus_one(parts):
    return parts.picked().mean() * -1


def weighed_by_costs(parts):
    return (parts.picked() * parts.cost).mean()


def entropy(parts):
    log_p = parts.log_p()
    return (log_p.exp() * log_p).sum(1).mean()


def of_drawn_classes(parts):
    drawn = torch.multinomial(F.softmax(parts.net(parts.x), dim=1), 1)
    return parts.log_p().gather(1, drawn).mean()


def a_ratio(parts):
    return (parts.picked() - parts.picked().detach()).exp().mean()


def rejected_less_chosen(parts):
    log_p, others = parts.log_p(), (parts.y + 1) % 4
    worse = log_p.gather(1, others[:, None])
    return (worse - log_p.gather(1, parts.y[:, None])).mean()


def right_divergence(parts):
    mean, log_var, error = parts.encoded()
    return error - 0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())


def right_divergence_turned(parts):
    mean, log_var, error = parts.encoded()
    return error + 0.5 * (log_var.exp() + mean**2 - 1 - log_var).sum()


def minus_half(parts):
    mean, log_var, error = parts.encoded()
    return error + -0.5 * torch.mean(1 + log_var - mean.pow(2) - log_var.exp())


def gaussian_likelihood(parts):
    mean, log_var, _ = parts.encoded()
    target = torch.zeros_like(mean)
    return (log_var + (target - mean) ** 2 / log_var.exp()).mean()


MEANT = [
    negative,
    negative_inside,
    subtracted,
    times_minus_one,
    weighed_by_costs,
    entropy,
    of_drawn_classes,
    a_ratio,
    rejected_less_chosen,
    right_divergence,
    right_divergence_turned,
    minus_half,
    gaussian_likelihood,
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("loss", MEANT)
def test_what_only_looks_like_it_is_not(loss, sizes):
    assert silent(learned, loss, Parts(*sizes))


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_an_optimizer_may_go_up(sizes, foreach):
    parts = Parts(*sizes)
    optimizer = torch.optim.SGD(
        parts.net.parameters(), 0.1, maximize=True, foreach=foreach
    )

    def program():
        for _ in range(2):
            optimizer.zero_grad()
            gathered(parts).backward()
            optimizer.step()

    assert silent(program)
