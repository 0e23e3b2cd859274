"""A validation in training mode, and what drops with autograd off on purpose."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

SIZES = [(5, 4), (8, 8)]


def net(width, drop=0.5):
    between = nn.BatchNorm1d(8) if drop == "norm" else nn.Dropout(drop)
    return nn.Sequential(nn.Linear(width, 8), between, nn.Linear(8, width))


def batch(count, width):
    return torch.randn(count, width), torch.randint(width, (count,))


def learn(model, optimizer, x, y):
    loss = F.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def training(validate, mode=nn.Module.train, drop=0.5):
    def program(count, width):
        model = net(width, drop)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            model.train()
            x, y = batch(count, width)
            learn(model, optimizer, x, y)
            mode(model)
            with torch.no_grad():
                validate(model, *batch(count, width), x, y)

    return program


def accuracy(model, x, y, *_):
    return (model(x).argmax(1) == y).float().mean()


def loss_alone(model, x, y, *_):
    return F.cross_entropy(model(x), y)


def by_hand(model, x, y, *_):
    chances = model(x).softmax(-1)
    return torch.eq(chances.max(-1).indices, y).sum().item()


WRONG = [accuracy, loss_alone, by_hand]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("drop", [0.5, "norm"])
@pytest.mark.parametrize("validate", WRONG, ids=lambda each: each.__name__)
def test_a_validation_without_eval(validate, drop, sizes):
    (found,) = findings(training(validate, drop=drop), *sizes)
    assert found == ("validated-in-training", "Sequential.1")


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("validate", WRONG, ids=lambda each: each.__name__)
def test_a_validation_in_evaluation_mode(validate, sizes):
    assert silent(training(validate, nn.Module.eval), *sizes)
    assert silent(training(validate, nn.Module.eval, "norm"), *sizes)
    assert silent(training(validate, drop=0.0), *sizes)


def uncertainty(model, x, y, *_):
    """Several draws for one input, and their mean against the labels."""
    draws = torch.stack([model(x).softmax(-1) for _ in range(3)])
    return (draws.mean(0).argmax(1) == y).sum()


def of_the_training_batch(model, _, __, x, y):
    return (model(x).argmax(1) == y).sum()


def without_labels(model, x, *_):
    return model(x).softmax(-1).max()


def agreement(model, x, *_):
    """How far two draws differ, with no labels."""
    return F.mse_loss(model(x), model(x))


def confident(model, x, *_):
    return (model(x).softmax(-1).max(-1).values > 0.9).sum()


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    "validate",
    [uncertainty, of_the_training_batch, without_labels, agreement, confident],
    ids=lambda each: each.__name__,
)
def test_what_drops_on_purpose(validate, sizes):
    assert silent(training(validate), *sizes)
    assert silent(training(validate, drop="norm"), *sizes)


def statistics_anew(model, x, *_):
    """Statistics for weights that were averaged."""
    return model(x)


def frozen(model):
    """Of some models the statistics alone stay as they are."""
    model[1].eval()


@pytest.mark.parametrize("sizes", SIZES)
def test_norms_that_go_by_what_they_should(sizes):
    assert silent(training(statistics_anew, drop="norm"), *sizes)
    assert silent(training(accuracy, frozen, "norm"), *sizes)


def teacher(count, width):
    """What the model says of one view is the target for another."""
    model = net(width)
    x, _ = batch(count, width)
    with torch.no_grad():
        known = model(x).softmax(-1)
    F.kl_div(model(x + 0.1).log_softmax(-1), known, reduction="batchmean").backward()


def pseudo_labels(count, width):
    model = net(width)
    x, _ = batch(count, width)
    with torch.no_grad():
        labels = model(x).argmax(1)
    F.cross_entropy(model(x + 0.1), labels).backward()


def hard_samples(count, width):
    """Samples weigh as much as they are wrong."""
    model = net(width)
    x, y = batch(count, width)
    with torch.no_grad():
        weight = F.cross_entropy(model(x + 0.1), y, reduction="none")
    (weight * F.cross_entropy(model(x), y, reduction="none")).mean().backward()


def own_accuracy(count, width):
    model = net(width)
    x, y = batch(count, width)
    scores = model(x)
    F.cross_entropy(scores, y).backward()
    with torch.no_grad():
        assert (scores.argmax(1) == y).sum() >= 0


def no_training(count, width):
    model = net(width)
    x, y = batch(count, width)
    with torch.no_grad():
        F.cross_entropy(model(x), y)


def warmed_up(count, width):
    """The model is called once before anything is trained."""
    model = net(width)
    x, y = batch(count, width)
    with torch.no_grad():
        F.cross_entropy(model(x), y)
    F.cross_entropy(model(x + 0.1), y).backward()


def another_model(count, width):
    """A teacher that never learns here is judged as it is."""
    model, other = net(width), net(width)
    x, y = batch(count, width)
    F.cross_entropy(model(x), y).backward()
    with torch.no_grad():
        F.cross_entropy(other(x), y)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    "program",
    [
        *(teacher, pseudo_labels, hard_samples, own_accuracy, no_training),
        *(warmed_up, another_model),
    ],
    ids=lambda each: each.__name__,
)
def test_steps_with_autograd_off_that_look_alike(program, sizes):
    assert silent(program, *sizes)
