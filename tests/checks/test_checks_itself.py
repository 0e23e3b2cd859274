"""Tensors compared with themselves, rows in another order."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent

# -- compared-with-itself --------------------------------------------------------------


def compared(loss, of_input=False):
    x = torch.randn(6, 8)
    out = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 8))(x)
    loss(out, x if of_input else out).backward()


LOSSES = {
    "mse": F.mse_loss,
    "l1 of a copy": lambda a, b: F.l1_loss(a, b.detach().clone()),
    "huber of a view": lambda a, b: F.huber_loss(a.flatten(), b.view(-1)),
    "cosine": lambda a, b: 1 - F.cosine_similarity(a, b.detach(), dim=1).mean(),
    "by hand": lambda a, b: ((a - b.detach()) ** 2).mean(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_tensor_that_is_compared_with_itself(name):
    assert findings(compared, LOSSES[name])[0][0] == "compared-with-itself"
    assert silent(compared, LOSSES[name], True)


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b: F.mse_loss(a[:, 1:], b[:, :-1]),
        lambda a, b: F.mse_loss(a, b.flip(0)),
        lambda a, b: F.mse_loss(a[:, None], b[None].detach()),
        lambda a, b: F.mse_loss(a @ a.T, (b @ b.T).T.detach() + 1),
        lambda a, b: (a - a.detach() + b).square().mean(),
        lambda a, b: F.cross_entropy(a, b.softmax(1)),
        lambda a, b: F.cosine_similarity(a[:, None], b[None], dim=2).mean(),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_tensor_beside_another_part_of_it(loss):
    assert "compared-with-itself" not in [code for code in codes(compared, loss)]


def codes(program, *args):
    with shapetrace.trace() as t:
        program(*args)
    return [found.code for found in t.findings]


# -- rows in another order -------------------------------------------------------------


def flattened(time_major, turned, sizes):
    """Targets are (batch, time); a recurrent layer's scores may be (time, batch)."""
    ids, labels = torch.randint(0, 20, sizes), torch.randint(0, 7, sizes)
    x = nn.Embedding(20, 8)(ids.t() if time_major else ids)
    scores = nn.Linear(8, 7)(nn.GRU(8, 8, batch_first=not time_major)(x)[0])
    F.cross_entropy(
        scores.reshape(-1, 7), (labels.t() if turned else labels).reshape(-1)
    ).backward()


def test_scores_and_targets_that_are_flattened_in_another_order():
    assert findings(flattened, True, False, (4, 9)) == [("pairs-apart", "reshape")]
    assert silent(flattened, True, True, (4, 9))
    assert silent(flattened, False, False, (4, 9))


def copied(turned, sizes):
    ids = torch.randint(0, 20, sizes)
    scores = nn.Linear(8, 20)(nn.RNN(8, 8)(nn.Embedding(20, 8)(ids.t()))[0])
    labels = ids.t()[1:] if turned else ids[:, 1:]
    F.cross_entropy(scores[:-1].reshape(-1, 20), labels.reshape(-1)).backward()


@pytest.mark.parametrize("sizes", [(4, 9), (8, 9)])
def test_one_tensor_that_is_flattened_in_two_orders(sizes):
    assert findings(copied, False, sizes) == [("pairs-apart", "reshape")]
    assert silent(copied, True, sizes)


# -- reduced-too-early -----------------------------------------------------------------


def masked(reduction):
    ids, mask = torch.randint(0, 20, (4, 10)), torch.rand(4, 9).gt(0.3).float()
    scores = nn.Linear(8, 20)(nn.Embedding(20, 8)(ids[:, :-1]))
    loss = F.cross_entropy(scores.mT, ids[:, 1:], reduction=reduction)
    ((loss * mask).sum() / mask.sum()).backward()


def weighted(early):
    error = (nn.Linear(8, 1)(torch.randn(6, 8)).squeeze(1) - torch.rand(6)) ** 2
    weight = torch.rand(6)
    ((error.mean() if early else error) * weight).mean().backward()


def test_a_mask_of_places_on_the_mean_of_them():
    assert findings(masked, "mean")[0][0] == "reduced-too-early"
    assert silent(masked, "none")


def test_weights_on_the_mean_of_errors_by_hand():
    assert findings(weighted, True)[0] == ("reduced-too-early", "mean")
    assert silent(weighted, False)


# -- other kinds -----------------------------------------------------------------------


def soft_dice(dim):
    x, y = torch.randn(5, 3, 12, 10), torch.randint(0, 4, (5, 12, 10))
    shares = nn.Conv2d(3, 4, 1)(x).softmax(dim)
    wanted = F.one_hot(y, 4).permute(0, 3, 1, 2).float()
    both = (shares * wanted).sum((2, 3))
    (1 - (2 * both / (shares + wanted).sum((2, 3))).mean()).backward()


def test_shares_that_are_held_against_one_hot_classes():
    assert findings(soft_dice, 3) == [("normalised-dim", "softmax")]
    assert silent(soft_dice, 1)


def joints(keep):
    """A heat map for each joint, of which one is picked: the softmax is over places."""
    shares = nn.Conv2d(3, 4, 1)(torch.randn(5, 3, 6, 6)).flatten(2).softmax(2)
    which = F.one_hot(torch.randint(0, 4, (5,)), 4).float()
    (shares * which[:, :, None]).sum(1).square().mean().backward()


def test_heat_maps_of_which_one_is_picked():
    assert silent(joints, True)


def test_a_loss_of_the_best_class_teaches_nothing():
    def program(best):
        out = nn.Linear(8, 4)(torch.randn(6, 8))
        out = out.argmax(1).float() if best else out[:, 0]
        loss = F.mse_loss(out, torch.rand(6))
        loss.requires_grad_().backward() if best else loss.backward()

    assert findings(program, True) == [("dead-loss", "argmax")]
    assert silent(program, False)


def test_data_that_is_standardised_by_the_wrong_means():
    def program(keepdim):
        x = torch.randn(8, 8)
        x = (x - x.mean(1, keepdim=keepdim)) / x.std(1, keepdim=keepdim)
        F.cross_entropy(nn.Linear(8, 4)(x), torch.arange(8) % 4).backward()

    assert findings(program, False)[0][0] == "silent-broadcast"
    assert silent(program, True)


class Normed(nn.Module):
    """As many steps as features, of which one or the other is normalised."""

    turn = False

    def forward(self, x):
        x, _ = self.rnn(x)
        x = self.norm(x.mT).mT if self.turn else self.norm(x)
        return self.fc(x[:, -1])


class Steps(Normed):
    def __init__(self, hidden=8, steps=8):
        super().__init__()
        self.rnn, self.fc = nn.GRU(5, hidden, batch_first=True), nn.Linear(hidden, 3)
        self.norm = nn.BatchNorm1d(steps)


class Features(Normed):
    def __init__(self, turn, hidden=8):
        super().__init__()
        self.rnn, self.fc = nn.GRU(5, hidden, batch_first=True), nn.Linear(hidden, 3)
        self.norm, self.turn = nn.BatchNorm1d(hidden), turn


def test_a_normalisation_of_steps_that_is_told_the_features():
    def program(model):
        out = model(torch.randn(6, 8, 5))
        F.cross_entropy(out, torch.arange(6) % 3).backward()

    found = findings(program, Features(False))
    assert found == [("normalised-dim", "Features.norm")]
    assert silent(program, Features(True))
    assert silent(program, Steps())  # each step by itself, by name
