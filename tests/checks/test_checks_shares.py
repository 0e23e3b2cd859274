"""Shares in logarithms, and vectors that are held against learned ones of length 1."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

#: time, batch, components
SIZES = [(9, 6, 5), (6, 6, 6)]


def mixture(sizes, dim):
    """A density of several components at each step, time first."""
    time, batch, parts = sizes
    hidden = nn.LSTM(4, 8)(torch.randn(time, batch, 4))[0]
    shares = nn.Linear(8, parts)(hidden).log_softmax(dim)
    means = nn.Linear(8, parts)(hidden)
    likely = torch.distributions.Normal(means, 1.0).log_prob(
        torch.randn(time, batch, 1)
    )
    (-torch.logsumexp(shares + likely, dim=-1).mean()).backward()


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("dim", [0, 1])
def test_shares_of_a_mixture_over_the_samples_or_the_time(sizes, dim):
    assert findings(mixture, sizes, dim) == [("normalised-dim", "log_softmax")]
    assert silent(mixture, sizes, -1)


def hidden_states():
    """The transitions of a Markov model are shares of where it goes, and summed over
    where it comes from."""
    states, steps = 5, torch.randn(6, 9, 5)
    transitions = nn.Parameter(torch.randn(states, states)).log_softmax(1)
    scores = nn.Linear(5, states)(steps).log_softmax(-1)
    alpha = scores[:, 0]
    for step in range(1, 9):
        alpha = torch.logsumexp(alpha[:, :, None] + transitions, 1) + scores[:, step]
    (-alpha.logsumexp(-1).mean()).backward()


def alignments():
    """Shares of each word among the frames, added up over the words."""
    frames = nn.Linear(4, 8)(torch.randn(6, 9, 4))
    words = nn.Embedding(20, 8)(torch.randint(20, (6, 5)))
    shares = (frames @ words.mT).log_softmax(1)
    (-torch.logsumexp(shares, 2).mean()).backward()


def normalised_again():
    logits = nn.Linear(4, 6)(torch.randn(6, 6, 4))
    shares = logits.log_softmax(1).log_softmax(2)
    likely = -(torch.randn(6, 6, 6) ** 2)
    (-torch.logsumexp(shares + likely, 2).mean()).backward()


def over_the_draws():
    """Weights of several draws of one sample, summed over the draws."""
    mean = nn.Linear(4, 1)(torch.randn(6, 4)).squeeze(1)
    draws = mean + torch.randn(9, 6)
    weights = (-(draws**2)).log_softmax(0)
    (-torch.logsumexp(weights - (draws - mean) ** 2, 0).mean()).backward()


def zero_shot(dim):
    features = nn.Linear(4, 8)(torch.randn(5, 8, 4))
    words = nn.Parameter(torch.randn(7, 8))
    words = words / words.norm(dim=-1, keepdim=True)
    features = features / features.norm(dim=dim, keepdim=True)
    scores = 10 * features @ words.T
    F.cross_entropy(scores.mT, torch.randint(7, (5, 8))).backward()


def test_features_of_another_length_beside_learned_ones_of_length_1():
    assert findings(zero_shot, 1) == [("normalised-dim", "norm")]
    assert silent(zero_shot, 2)


def prototypes():
    """Channels normalised over the places, and each held against learned maps."""
    maps = nn.Conv2d(3, 6, 3, padding=1)(torch.randn(5, 3, 6, 6)).flatten(2)
    learned = F.normalize(nn.Parameter(torch.randn(4, 36)), dim=-1)
    (F.normalize(maps, dim=-1) @ learned.T).square().mean().backward()


@pytest.mark.parametrize(
    "program",
    [hidden_states, alignments, normalised_again, over_the_draws, prototypes],
    ids=lambda program: program.__name__,
)
def test_what_is_normalised_as_it_should(program):
    assert silent(program)
