"""What torch has a function for, written out: told as if the function were called."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace

SIZES = [(6, 4, 5), (5, 5, 5)]


def codes(model, run):
    with shapetrace.trace(model) as t:
        run()
    return [one.code for one in t.findings if one.severity != "note"]


def softmax(x, dim):
    shifted = x - x.max(dim, keepdim=True).values
    weights = shifted.exp()
    return weights / weights.sum(dim, keepdim=True)


class Classifier(nn.Module):
    def __init__(self, features, classes, ends):
        super().__init__()
        self.out, self.ends = nn.Linear(features, classes), ends

    def forward(self, x):
        return self.ends(self.out(x))


@pytest.mark.parametrize("batch, features, classes", SIZES)
@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
def test_a_softmax_by_hand_before_cross_entropy(batch, features, classes):
    x, y = torch.randn(batch, features), torch.randint(classes, (batch,))
    model = Classifier(features, classes, lambda scores: softmax(scores, 1))
    found = codes(model, lambda: F.cross_entropy(model(x), y).backward())
    assert found == ["softmax-before-cross-entropy"]


@pytest.mark.parametrize("batch, features, classes", SIZES)
def test_a_softmax_by_hand_that_is_meant(batch, features, classes):
    x, y = torch.randn(batch, features), torch.randint(classes, (batch,))
    shares = Classifier(features, classes, lambda scores: softmax(scores, 1))
    assert codes(shares, lambda: F.nll_loss(shares(x).log(), y).backward()) == []
    # as weights of features, before the scores are made of them
    gated = Classifier(features, classes, lambda made: made)

    def attended():
        weighed = x * softmax(x * gated.out.weight.mean(0), 1)
        F.cross_entropy(gated(weighed), y).backward()

    assert codes(gated, attended) == []
    # a quotient that is no softmax: scores in parts of their largest
    scaled = Classifier(features, classes, lambda s: s / s.abs().amax(1, keepdim=True))
    assert codes(scaled, lambda: F.cross_entropy(scaled(x), y).backward()) == []


def unit(x, dim):
    return x / (x.pow(2).sum(dim, keepdim=True) + 1e-12).sqrt()


class Towers(nn.Module):
    def __init__(self, features, width, dim):
        super().__init__()
        self.users, self.items = nn.Linear(features, width), nn.Linear(features, width)
        self.dim = dim

    def forward(self, users, items):
        users, items = unit(self.users(users), self.dim), unit(
            self.items(items), self.dim
        )
        return users @ items.T / 0.1


@pytest.mark.parametrize("batch, features, width", SIZES)
@pytest.mark.parametrize("dim, expected", [(0, ["normalised-dim"]), (1, [])])
@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
def test_vectors_of_length_one_by_hand(batch, features, width, dim, expected):
    users, items = torch.randn(2, batch, features)
    model = Towers(features, width, dim)

    def run():
        F.cross_entropy(model(users, items), torch.arange(batch)).backward()

    assert list(dict.fromkeys(codes(model, run))) == expected


class Cell(nn.Module):
    def __init__(self, features, width):
        super().__init__()
        self.seen, self.kept = nn.Linear(features, width), nn.Linear(width, width)
        self.out = nn.Linear(width, 1)

    def forward(self, x, steps):
        state = torch.zeros(x.shape[1 - steps], self.kept.in_features)
        states = []
        for row in x.unbind(steps):
            state = torch.tanh(self.seen(row) + self.kept(state))
            states.append(state)
        return self.out(torch.stack(states, steps)[:, -1]).squeeze(-1)


@pytest.mark.parametrize("batch, steps", [(6, 9), (7, 7)])
@pytest.mark.parametrize("over, expected", [(0, 1), (1, 0)])
@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
def test_a_loop_that_runs_over_the_samples(batch, steps, over, expected):
    model = Cell(3, 4)
    x, y = torch.randn(batch, steps, 3), torch.randn(batch)

    def run():
        F.mse_loss(model(x, over), y).backward()

    assert len(codes(model, run)) == expected


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return F.dropout(self.layer(x).relu(), 0.2, self.training)


def distilled(teacher, student):
    x = torch.randn(6, 4)
    with torch.no_grad():
        wanted = teacher(x)
    scores = F.log_softmax(student(x), 1)
    F.kl_div(scores, F.softmax(wanted, 1), reduction="batchmean").backward()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
def test_a_frozen_teacher_whose_dropout_drops(training):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.student = Block()
            self.teacher = nn.Sequential(Block(), Block())
            self.teacher.requires_grad_(False)

    model = Both().train()
    model.teacher.train(training)
    found = codes(model, lambda: distilled(model.teacher, model.student))
    assert bool(found) is training
