"""The largest of one score, and distributions that take probabilities for logits."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import Categorical
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent

BATCHES = [7, 8]


class Head(nn.Module):
    def __init__(self, outputs, last=None):
        super().__init__()
        self.body, self.last = nn.Linear(8, outputs), last or nn.Identity()

    def forward(self, x):
        return self.last(self.body(x))


def judged(choose, outputs=1, last=None):
    model = Head(outputs, last)

    def program(batch):
        x, y = torch.randn(batch, 8), torch.randint(0, 2, (batch,))
        with torch.no_grad():
            (choose(model(x), y)).float().mean().item()

    return program


MISTAKES = {
    "argmax": judged(lambda o, y: o.argmax(1) == y),
    "the last": judged(lambda o, y: torch.argmax(o, dim=-1).eq(y)),
    "max": judged(lambda o, y: torch.max(o, 1)[1] == y),
    "unpacked": judged(lambda o, y: o.data.max(1, keepdim=True).indices == y[:, None]),
    "a sigmoid": judged(lambda o, y: o.argmax(dim=1) == y, 1, nn.Sigmoid()),
    "unequal": judged(lambda o, y: o.argmax(1).view(-1) != y.view(-1)),
}


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", MISTAKES)
def test_the_largest_of_one_score(name, batch):
    with shapetrace.trace() as t:  # which does not warn where there is no loss
        MISTAKES[name](batch)
    assert [found.code for found in t.findings] == ["argmax-over-one"]


CORRECT = {
    "two": judged(lambda o, y: o.argmax(1) == y, 2),
    "a threshold": judged(lambda o, y: (o > 0).squeeze(1) == y),
    "rounded": judged(lambda o, y: o.sigmoid().round().squeeze(1) == y),
    "the largest sample": judged(lambda o, y: o.argmax(0) == y[:1]),
    "of all": judged(lambda o, y: o.argmax() == y[0]),
    "the value": judged(lambda o, y: o.max(1).values == y),
    "an action": judged(lambda o, y: o.argmax(1)),
    "with a number": judged(lambda o, y: o.argmax(1) == 0),
    "both classes": judged(lambda o, y: torch.cat((-o, o), 1).argmax(1) == y),
    "one sample": judged(lambda o, y: o[:1].argmax(1) == y[:1], 3),
    "an image of labels": judged(lambda o, y: y[:, None].max(1).values == y),
}


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", CORRECT)
def test_what_has_more_to_choose_from(name, batch):
    assert silent(CORRECT[name], batch)


def policy(distribution):
    def program(batch):
        scores = nn.Linear(8, 4)(torch.randn(batch, 8))
        chosen = distribution(scores)
        taken = chosen.sample()
        (-chosen.log_prob(taken) * torch.randn(batch)).mean().backward()

    return program


GIVEN_TWICE = {
    "by the function": lambda s: Categorical(logits=F.softmax(s, dim=-1)),
    "by the method": lambda s: Categorical(logits=s.softmax(1)),
    "by a layer": lambda s: Categorical(logits=nn.Softmax(dim=-1)(s)),
}


@pytest.mark.parametrize("batch", [4, 7])
@pytest.mark.parametrize("name", GIVEN_TWICE)
def test_probabilities_as_the_logits_of_a_distribution(name, batch):
    program = policy(GIVEN_TWICE[name])
    (found,) = findings(program, batch)
    assert found[0] == "activation-twice" and found[1] != "logsumexp"


GIVEN = {
    "logits": lambda s: Categorical(logits=s),
    "probabilities": lambda s: Categorical(s.softmax(-1)),
    "by name": lambda s: Categorical(probs=F.softmax(s, -1)),
    "logarithms": lambda s: Categorical(logits=s.log_softmax(-1)),
    "logarithms by hand": lambda s: Categorical(logits=s.softmax(-1).log()),
    "a temperature": lambda s: Categorical(logits=s / 0.5),
    "smoothed": lambda s: Categorical(probs=0.9 * s.softmax(-1) + 0.025),
    "gates": lambda s: Categorical(logits=s * s.softmax(-1)),
    "normalised": lambda s: Categorical(logits=s - s.logsumexp(-1, keepdim=True)),
}


@pytest.mark.parametrize("batch", [4, 7])
@pytest.mark.parametrize("name", GIVEN)
def test_distributions_that_are_given_what_they_take(name, batch):
    assert silent(policy(GIVEN[name]), batch)


@pytest.mark.parametrize("batch", [4, 7])
def test_a_sum_of_exponentials_of_shares_that_is_no_log_softmax(batch):
    def program():
        shares = nn.Linear(8, 4)(torch.randn(batch, 8)).softmax(-1)
        shares.logsumexp(-1).mean().backward()

    assert silent(program)
