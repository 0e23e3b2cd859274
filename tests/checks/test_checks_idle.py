"""One of two optimizers has nothing to do: its module runs with autograd off."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

SIZES = [(5, 7), (4, 4)]


class Parts:
    """An encoder and a head, each with an optimizer of its own, and data."""

    def __init__(self, batch, width):
        self.encoder = nn.Sequential(nn.Linear(6, width), nn.ReLU())
        self.head = nn.Linear(width, width)
        self.optimizers = [
            torch.optim.Adam(self.encoder.parameters()),
            torch.optim.SGD(self.head.parameters(), 0.01),
        ]
        self.batch, self.width = batch, width

    def data(self):
        return torch.randn(self.batch, 6), torch.randint(self.width, (self.batch,))

    def learn(self, loss):
        first, second = self.optimizers
        first.zero_grad()
        second.zero_grad()
        loss.backward()
        second.step()
        first.step()


def encoded_without_gradients(parts):
    for _ in range(2):
        x, y = parts.data()
        with torch.no_grad():
            h = parts.encoder(x)
        parts.learn(F.cross_entropy(parts.head(h), y))


def two_views_without_gradients(parts):
    x, _ = parts.data()
    with torch.no_grad():
        one, two = parts.encoder(x), parts.encoder(x + 0.1)
    scores = parts.head(one) @ two.T
    parts.learn(F.cross_entropy(scores, torch.arange(parts.batch)))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    "program", [encoded_without_gradients, two_views_without_gradients]
)
def test_an_encoder_that_its_optimizer_cannot_train(program, sizes):
    assert findings(program, Parts(*sizes)) == [("step-without-effect", "Sequential")]


def encoded(parts):
    x, y = parts.data()
    parts.learn(F.cross_entropy(parts.head(parts.encoder(x)), y))


def encoded_once_with_gradients(parts):
    x, _ = parts.data()
    one = parts.encoder(x)
    with torch.no_grad():
        two = parts.encoder(x + 0.1)
    scores = parts.head(one) @ two.T
    parts.learn(F.cross_entropy(scores, torch.arange(parts.batch)))


def probe(parts):
    """The head alone has an optimizer."""
    parts.optimizers[0] = torch.optim.SGD(nn.Linear(1, 1).parameters())
    parts.encoder.eval()
    encoded_without_gradients(parts)


def frozen(parts):
    parts.encoder.requires_grad_(False)
    encoded_without_gradients(parts)


def validated(parts):
    encoded(parts)
    x, y = parts.data()
    with torch.no_grad():
        parts.head(parts.encoder(x)).argmax(1)


def averaged_teacher(parts):
    teacher = copy.deepcopy(parts.encoder)
    for _ in range(2):
        x, _ = parts.data()
        with torch.no_grad():
            goal = teacher(x)
        parts.learn(F.mse_loss(parts.head(parts.encoder(x)), goal))
        with torch.no_grad():
            for mean, p in zip(teacher.parameters(), parts.encoder.parameters()):
                mean.mul_(0.9).add_(p, alpha=0.1)


def averaged_teacher_of_a_head_alone(parts):
    """The encoder is an average of another, and its optimizer is left from before."""
    source = copy.deepcopy(parts.encoder)
    for _ in range(2):
        encoded_without_gradients(parts)
        with torch.no_grad():
            for mean, p in zip(parts.encoder.parameters(), source.parameters()):
                mean.lerp_(p, 0.1)


def by_turns(parts):
    """Each optimizer has its own loss, and steps after it alone."""
    x, y = parts.data()
    with torch.no_grad():
        h = parts.encoder(x)
    parts.optimizers[1].zero_grad()
    F.cross_entropy(parts.head(h), y).backward()
    parts.optimizers[1].step()
    parts.optimizers[0].zero_grad()
    F.cross_entropy(parts.head(parts.encoder(x)), y).backward()
    parts.optimizers[0].step()


def warmed_up(parts):
    """At first the head alone learns; later both do."""
    encoded_without_gradients(parts)
    encoded(parts)


def rewarded(parts):
    """A reward is a number, of which nothing learns."""
    judge = nn.Linear(6, 1)
    x, _ = parts.data()
    with torch.no_grad():
        reward = judge(x).squeeze(1)
    scores = parts.head(parts.encoder(x))
    action = torch.distributions.Categorical(logits=scores)
    parts.learn(-(reward * action.log_prob(action.sample())).mean())


def one_optimizer_of_both(parts):
    x, y = parts.data()
    both = torch.optim.Adam([*parts.encoder.parameters(), *parts.head.parameters()])
    both.zero_grad()
    F.cross_entropy(parts.head(parts.encoder(x)), y).backward()
    both.step()


RIGHT = [
    encoded,
    encoded_once_with_gradients,
    probe,
    frozen,
    validated,
    averaged_teacher,
    averaged_teacher_of_a_head_alone,
    by_turns,
    warmed_up,
    rewarded,
    one_optimizer_of_both,
]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("program", RIGHT)
def test_what_runs_with_autograd_off_on_purpose(program, sizes):
    assert silent(program, Parts(*sizes))
