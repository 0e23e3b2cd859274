"""Linear layers with no activation between them, and those that are meant so."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent


def stack(*layers):
    return nn.Sequential(*layers)


class Numbered(nn.Module):
    def __init__(self, act, sizes=(8, 16, 3)):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(*sizes[:2]), nn.Linear(*sizes[1:])
        self.act = act

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class Three(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.hidden = nn.Linear(8, 16), nn.Linear(16, 16)
        self.leave, self.drop = nn.Linear(16, 3), nn.Dropout(0.1)

    def forward(self, x):
        return self.leave(self.drop(self.hidden(self.drop(self.enter(x)))))


def same(x):
    return x


MISTAKES = {
    "a sequence": lambda: stack(nn.Linear(8, 16), nn.Linear(16, 3)),
    "a long one": lambda: stack(*(nn.Linear(8, 8) for _ in range(4)), nn.Linear(8, 3)),
    "dropouts": lambda: stack(nn.Linear(8, 9), nn.Dropout(0.2), nn.Linear(9, 3)),
    "one is left out": lambda: stack(
        nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 3)
    ),
    "numbered": lambda: Numbered(same),
    "numbered, dropped": lambda: Numbered(nn.Dropout(0.3)),
    "three": Three,
}


def step(make):
    model = make()
    F.cross_entropy(model(torch.randn(8, 8)), torch.randint(0, 3, (8,))).backward()


@pytest.mark.parametrize("name", MISTAKES)
def test_layers_that_are_one(name):
    (found,) = findings(step, MISTAKES[name])
    assert found[0] == "activation-missing"


class Parts(nn.Module):
    """What attention projects goes into a head: two parts of a model."""

    def __init__(self):
        super().__init__()
        self.proj, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.proj(x))


class Features(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = Numbered(torch.relu, (8, 8, 8)), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.encoder(x))


class Used(nn.Module):
    """What comes between is used by itself as well."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.fc1(x)
        return self.fc2(x) + x.square().mean()


class Again(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.fc2(self.fc1(self.fc1(x)).tanh())


def frozen():
    model = stack(nn.Linear(8, 16), nn.Linear(16, 3))
    model[0].requires_grad_(False)
    return model


CORRECT = {
    "relu": lambda: stack(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)),
    "by hand": lambda: Numbered(torch.relu),
    "a method": lambda: Numbered(lambda x: x.tanh()),
    "gates": lambda: Numbered(lambda x: x * x.sigmoid()),
    "a norm": lambda: Numbered(nn.LayerNorm(16)),
    "low rank": lambda: stack(nn.Linear(8, 2), nn.Linear(2, 3)),
    "low rank by hand": lambda: Numbered(same, (8, 2, 3)),
    "one layer": lambda: nn.Linear(8, 3),
    "parts": Parts,
    "features": Features,
    "used": Used,
    "again": Again,
    "frozen": frozen,
    "cut off": lambda: Numbered(lambda x: x.clamp(min=0)),
}


@pytest.mark.parametrize("name", CORRECT)
def test_layers_that_are_more_than_one(name):
    assert silent(step, CORRECT[name])
