"""Steps that go on in evaluation mode, whatever layer would drop in training."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent


class Net(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body, self.head = body, nn.Linear(8, 4)

    def forward(self, x):
        return self.head(first(self.body(x)))


def first(x):
    return x[0] if isinstance(x, tuple) else x


class Attention(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.mix = nn.MultiheadAttention(8, 2, rate)

    def forward(self, x):
        return self.mix(x, x, x)


BODIES = {
    "dropout": lambda: nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.2)),
    "lstm": lambda: nn.LSTM(8, 8, 2, dropout=0.3, batch_first=True),
    "gru": lambda: nn.GRU(8, 8, 3, dropout=0.3),
    "attention": lambda: Attention(0.1),
    "layer": lambda: nn.TransformerEncoderLayer(8, 2, 16),
}
#: nothing that is otherwise in evaluation, or a rate that none of the layers uses
STEADY = {
    "lstm of one layer": lambda: nn.LSTM(8, 8, batch_first=True),
    "no rate": lambda: nn.GRU(8, 8, 2, dropout=0.0),
    "plain": lambda: nn.Linear(8, 8),
    "batch norm": lambda: nn.BatchNorm1d(8),
}


def loop(body, again, last=True, steps=3, training=True):
    """Some steps, each but the last with an evaluation after it."""
    model = Net(body()).train(training)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for step in range(steps):
        if again:
            model.train()
        x = torch.randn(8, 8, 8)
        loss = F.cross_entropy(model(x).flatten(0, 1), torch.randint(4, (64,)))
        if step == steps - 1 and not last:
            return loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            model(torch.randn(8, 8, 8))


def whole(body, again):
    loop(body, again)


def cut_short(body, again):
    """The block ends with a backward that no step follows."""
    loop(body, again, last=False).backward()


@pytest.mark.filterwarnings("ignore:dropout option:UserWarning")
@pytest.mark.parametrize("program", [whole, cut_short])
@pytest.mark.parametrize("name", BODIES)
def test_nobody_calls_train_again(name, program):
    assert "trained-in-eval" in dict(findings(program, BODIES[name], False))
    assert silent(program, BODIES[name], True)


@pytest.mark.parametrize("program", [whole, cut_short])
@pytest.mark.parametrize("name", STEADY)
def test_what_drops_in_no_mode(name, program):
    assert silent(program, STEADY[name], False)


@pytest.mark.parametrize("name", BODIES)
def test_training_in_evaluation_mode_from_the_beginning(name):
    assert silent(lambda: loop(BODIES[name], False, training=False))


@pytest.mark.parametrize("name", BODIES)
def test_gradients_in_evaluation_that_no_loop_trains_with(name):
    """Of a saliency, or of the Fisher information, after the training."""

    def score(model, x):
        return F.cross_entropy(model(x).flatten(0, 1), torch.zeros(64).long())

    def program():
        model = Net(BODIES[name]())
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(2):
            optimizer.zero_grad()
            score(model, torch.randn(8, 8, 8)).backward()
            optimizer.step()
        model.eval()
        optimizer.zero_grad()
        score(model, torch.randn(8, 8, 8)).backward()

    assert silent(program)
