"""Autograd and evaluation: what does not learn, what still drops."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent


class Net(nn.Module):
    def __init__(self, drop):
        super().__init__()
        self.fc, self.drop = nn.Linear(8, 4), drop

    def forward(self, x):
        return self.fc(self.drop(self, x))


def forgotten(module, x):
    return F.dropout(x, 0.5)


def told(module, x):
    return F.dropout(x, 0.5, training=module.training)


def sampled(module, x):
    return F.dropout(x, p=0.5, training=True)


def by_position(module, x):
    return F.dropout(x, 0.5, module.training)


#: a model that is gone when the block ends has said nothing of its mode
KEPT = []


def evaluate(drop):
    KEPT.append(Net(drop).eval())
    with torch.no_grad():
        logits = KEPT[-1](torch.randn(6, 8))
        F.cross_entropy(logits, torch.arange(6) % 4)


def train(drop):
    Net(drop)(torch.randn(6, 8)).mean().backward()


def test_a_function_that_drops_in_evaluation():
    assert findings(evaluate, forgotten) == [("dropout-in-eval", "dropout")]


@pytest.mark.parametrize("drop", [told, sampled, by_position])
def test_dropout_that_knows_or_is_meant(drop):
    assert silent(evaluate, drop)


@pytest.mark.parametrize("drop", [forgotten, told, sampled])
def test_dropout_in_training(drop):
    assert silent(train, drop)


def train_and_evaluate(drop, at_the_end):
    KEPT.append(Net(drop))
    for _ in range(2):
        x, y = torch.randn(6, 8), torch.randint(4, (6,))
        F.cross_entropy(KEPT[-1].train()(x), y).backward()
        with torch.no_grad():
            scores = KEPT[-1].eval()(torch.randn(6, 8))
            (scores.argmax(1) == y).sum()
    if not at_the_end:
        KEPT[-1].train()


@pytest.mark.parametrize("at_the_end", [True, False])
def test_a_function_that_drops_in_the_evaluation_beside_a_training(at_the_end):
    found = findings(train_and_evaluate, forgotten, at_the_end)
    assert found == [("dropout-in-eval", "dropout")]


@pytest.mark.parametrize("at_the_end", [True, False])
@pytest.mark.parametrize("drop", [told, sampled, by_position])
def test_dropout_that_knows_beside_a_training(drop, at_the_end):
    assert silent(train_and_evaluate, drop, at_the_end)


def drawn_again_and_again(drop):
    net, x, y = Net(drop), torch.randn(6, 8), torch.randint(4, (6,))
    KEPT.append(net)
    F.cross_entropy(net(x), y).backward()
    with torch.no_grad():
        for _ in range(3):
            (net(x).argmax(1) == y).sum()


def looked_at_in_training(drop):
    net, x, y = Net(drop), torch.randn(6, 8), torch.randint(4, (6,))
    KEPT.append(net)
    for _ in range(2):
        with torch.no_grad():
            net(torch.randn(6, 8))
        F.cross_entropy(net(x), y).backward()
    net.eval()


@pytest.mark.parametrize("program", [drawn_again_and_again, looked_at_in_training])
def test_what_drops_beside_a_training_and_is_no_evaluation(program):
    assert silent(program, forgotten)


def pair():
    return nn.Linear(8, 4), nn.Linear(8, 4), torch.randn(6, 8), torch.arange(6) % 4


def test_a_term_whose_layers_ran_without_autograd():
    def program():
        main, side, x, y = pair()
        with torch.no_grad():
            out = side(x)
        (F.cross_entropy(main(x), y) + F.cross_entropy(out, y)).backward()

    assert findings(program) == [("dead-loss", "Linear")]


def test_a_teacher_runs_without_autograd():
    def program():
        main, side, x, y = pair()
        with torch.no_grad():
            out = side(x)
        (F.cross_entropy(main(x), y) + F.mse_loss(main(x), out)).backward()

    assert silent(program)


def test_an_evaluation_beside_the_step():
    def program():
        main, side, x, y = pair()
        F.cross_entropy(main(x), y).backward()
        with torch.no_grad():
            out = main(x)
        return F.cross_entropy(out, y).item()

    assert silent(program)


def test_a_loss_that_weighs_another():
    def program():
        main, side, x, y = pair()
        with torch.no_grad():
            weight = F.cross_entropy(side(x), y)
        (F.cross_entropy(main(x), y) * weight).backward()

    assert silent(program)
