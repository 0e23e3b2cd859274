"""Layers that no optimizer holds, before losses by hand: heads, and critics that are
another step's."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent
from tests.checks.test_checks_optimizers import Net, Pair, parameters, step


class Crf(nn.Module):
    """The score of a path of labels against all paths."""

    def __init__(self):
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(8, 8))

    def forward(self, scores, labels):
        start = scores[:, 0].gather(1, labels[:, :1])[:, 0]
        steps = self.transitions[labels[:, 0], labels[:, 1]]
        paths = scores[:, 0, :, None] + self.transitions
        return (paths.flatten(1).logsumexp(1) - start - steps).mean()


def by_gather(scores, labels):
    return -scores.log_softmax(-1).gather(1, labels[:, None]).mean()


def by_index(scores, labels):
    return (scores.logsumexp(-1) - scores[torch.arange(8), labels]).mean()


def by_squares(scores, labels):
    return (scores - F.one_hot(labels, 8)).square().mean()


class Judged(nn.Module):
    """A model that makes its loss itself, by hand."""

    def __init__(self, judge):
        super().__init__()
        self.net, self.judge = Net(), judge

    def forward(self, x, labels):
        return self.judge(self.net(x), labels)


@pytest.mark.parametrize("judge", [by_gather, by_index, by_squares])
def test_a_head_before_a_loss_by_hand(judge):
    def program(name):
        model, labels = Judged(judge), torch.randint(8, (8,))
        left = {id(p) for p in getattr(model.net, name).parameters()}
        held = [p for p in model.parameters() if id(p) not in left]
        step(torch.optim.SGD(held), model(torch.randn(8, 8), labels))

    assert findings(program, "head") == [("layer-never-trained", "Judged.net.head")]


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.crf = Net(), Crf()

    def forward(self, x, labels):
        return self.crf(self.net(x), labels)


def test_a_head_and_the_path_scores_behind_it():
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace() as t:
            model, labels = Tagger(), torch.randint(8, (4, 2))
            body = parameters(model.net.one, model.net.two, model.net.norm)
            step(torch.optim.SGD(body), model(torch.randn(4, 2, 8), labels))
    (found,) = t.findings
    names = [one.name for one in found.culprits]
    assert names == ["Tagger.net.head", "Tagger.crf"]


def least_squares(scores):
    return (scores - 1).square().mean()


def squares_of_ones(scores):
    return (scores - torch.ones_like(scores)).pow(2).mean()


def hinge(scores):
    return -scores.mean()


def not_saturating(scores):
    return F.softplus(-scores).mean()


def last_of_each(scores):
    lengths = torch.randint(1, 8, (1,))
    return -scores[lengths - 1].mean()


def pair_of_real_and_fake(scores):
    real, fake = scores.chunk(2)
    return (real - fake.mean() - 1).square().mean()


JUDGES = [least_squares, squares_of_ones, hinge, not_saturating, last_of_each]
JUDGES.append(pair_of_real_and_fake)


@pytest.mark.parametrize("judge", JUDGES)
def test_a_critic_that_no_label_comes_to(judge):
    def program():
        pair = Pair()
        pair.critic = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 1))
        step(torch.optim.Adam(pair.make.parameters()), judge(pair(torch.randn(8, 8))))

    assert silent(program)
