"""Batch norms in evaluation mode in a training step: left so, or frozen on purpose."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent


def network():
    return nn.Sequential(
        nn.Linear(8, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Linear(8, 8),
        nn.BatchNorm1d(8),
    )


def loss_of(model):
    return F.cross_entropy(model(torch.randn(8, 8)), torch.randint(8, (8,)))


def norms(model):
    return [one for one in model if isinstance(one, nn.BatchNorm1d)]


def nothing(model):
    pass


def freeze(model):
    for one in norms(model):
        one.eval()


def freeze_in_training(model):
    model.train()
    freeze(model)


def freeze_the_first(model):
    model.train()
    norms(model)[0].eval()


def epochs(begin, each, test=True, last=True, model=None):
    """Training in two epochs, with a test after each, or not after the last."""
    model = model or network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    begin(model)
    for epoch in range(2):
        if epoch:
            each(model)
        for _ in range(2):
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()
        if test and (last or not epoch):
            model.eval()
            with torch.no_grad():
                loss_of(model)


@pytest.mark.parametrize("last", [True, False])
def test_nobody_called_train_again(last):
    model = network()  # which mode it ends in is asked of a model that is still there
    assert findings(epochs, nn.Module.train, nothing, True, last, model) == [
        ("trained-in-eval", "Sequential.1")
    ]


CORRECT = {
    "again": (nn.Module.train, nn.Module.train),
    "from the beginning": (nn.Module.eval, nothing),
    "frozen from the beginning": (freeze, freeze_in_training),
    "frozen untested": (nn.Module.train, freeze, False),
    "frozen in training": (nn.Module.train, freeze_in_training, True, False),
    "one of them": (nn.Module.train, freeze_the_first),
}


@pytest.mark.parametrize("name", CORRECT)
def test_norms_that_are_frozen_on_purpose(name):
    begin, each, *tests = CORRECT[name]
    test, last = (*tests, True, True)[:2]
    model = network()
    assert silent(epochs, begin, each, test, last, model)


def test_a_critic_that_judges_in_evaluation_mode():
    def program():
        make, critic = network(), network()
        of_critic = torch.optim.Adam(critic.parameters())
        of_maker = torch.optim.Adam(make.parameters())
        for _ in range(2):
            critic.train()
            real, fake = torch.randn(8, 8), make(torch.randn(8, 8)).detach()
            of_critic.zero_grad()
            (critic(fake).mean() - critic(real).mean()).backward()
            of_critic.step()
            critic.eval()
            with torch.no_grad():
                critic(torch.randn(8, 8))
            of_maker.zero_grad()
            (-critic(make(torch.randn(8, 8))).mean()).backward()
            of_maker.step()

    assert silent(program)
