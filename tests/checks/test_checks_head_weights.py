"""Weights of heads that compete with each other, and of capsules, which are to."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent

#: samples, places, width, heads
SIZES = [(3, 7, 12, 2), (5, 6, 8, 4), (4, 4, 16, 4)]


class Channels(nn.Module):
    """Attention between the features of each head, (batch, heads, width, width)."""

    def __init__(self, sizes, dim, weigh):
        super().__init__()
        _, _, width, self.heads = sizes
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, 3)
        self.dim, self.weigh = dim, weigh

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k, v = (
            t.unflatten(-1, (self.heads, -1)).permute(0, 2, 3, 1) for t in (q, k, v)
        )
        x = self.weigh(q, k, v, self.dim)
        return self.out(x.permute(0, 3, 1, 2).flatten(2).mean(1))


def by_matmul(q, k, v, dim):
    return F.dropout((q @ k.mT / 3).softmax(dim), 0.1) @ v


def by_einsum(q, k, v, dim):
    weights = F.softmax(torch.einsum("bhdn,bhen->bhde", q, k), dim=dim)
    return torch.einsum("bhde,bhen->bhdn", weights, v)


def by_layer(q, k, v, dim):
    return torch.matmul(
        nn.Softmax(dim)(torch.matmul(q, k.transpose(-2, -1)).mul(0.3)), v
    )


def classified(model, sizes):
    batch, places, width, _ = sizes
    y = torch.randint(0, 3, (batch,))
    F.cross_entropy(model(torch.randn(batch, places, width)), y).backward()


def channels(weigh, dim, sizes):
    classified(Channels(sizes, dim, weigh), sizes)


class Experts(nn.Module):
    """One small layer a head, each with keys and values of its own."""

    def __init__(self, sizes, dim):
        super().__init__()
        _, _, width, heads = sizes
        self.keys = nn.ModuleList(nn.Linear(width, 6) for _ in range(heads))
        self.values = nn.ModuleList(nn.Linear(width, 6) for _ in range(heads))
        self.query, self.dim = nn.Linear(width, 6), dim
        self.out = nn.Linear(heads * 6, 3)

    def forward(self, x):
        pooled = x.mean(1)
        q = torch.stack([self.query(pooled)] * len(self.keys), 1)[..., None]
        k = torch.stack([layer(pooled) for layer in self.keys], 1)[..., None]
        v = torch.stack([layer(x).mT for layer in self.values], 1)
        weights = torch.softmax(k @ q.mT / 6**0.5, self.dim)
        return self.out((weights @ v).mean(-1).flatten(1))


def experts(dim, sizes):
    classified(Experts(sizes, dim), sizes)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("weigh", [by_matmul, by_einsum, by_layer])
def test_heads_of_features_that_compete(weigh, sizes):
    (found,) = findings(channels, weigh, 1, sizes)
    assert found[0] == "attention-dim"
    assert silent(channels, weigh, -1, sizes)


@pytest.mark.parametrize("sizes", SIZES)
def test_stacked_heads_that_compete(sizes):
    (found,) = findings(experts, 1, sizes)
    assert found[0] == "attention-dim"
    assert silent(experts, -1, sizes)


class Capsules(nn.Module):
    """Parts vote for wholes, which compete for the parts that agree with them."""

    def __init__(self, sizes, vote, agree):
        super().__init__()
        _, self.parts, width, self.wholes = sizes
        self.vote, self.agree = vote, agree
        self.stem = nn.Linear(width, width)
        self.weights = nn.Parameter(torch.randn(self.wholes, width, 6) * 0.1)
        self.layers = nn.ModuleList(nn.Linear(width, 6) for _ in range(self.wholes))
        self.whole = nn.Linear(width, 6 * self.wholes)

    def forward(self, x):
        votes = self.vote(self, self.stem(x))  # (batch, wholes, parts, 6)
        logits = votes.new_zeros(len(x), self.wholes, 1, self.parts)
        for step in range(3):
            wholes = logits.softmax(1) @ votes
            if step < 2:
                logits = self.agree(votes, wholes) + logits
        return F.pad(wholes.norm(dim=-1)[..., 0], (0, 3))[:, :3]


def of_one_weight(self, x):
    return torch.einsum("bpw,kwd->bkpd", x, self.weights)


def of_layers(self, x):
    return torch.stack([layer(x) for layer in self.layers], 1)


def of_one_layer(self, x):
    return self.whole(x).unflatten(-1, (self.wholes, 6)).transpose(1, 2)


def by_product(votes, wholes):
    return (votes @ wholes.mT).mT


def detached(votes, wholes):
    return wholes @ votes.detach().mT


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("vote", [of_one_weight, of_layers, of_one_layer])
@pytest.mark.parametrize("agree", [by_product, detached])
def test_capsules_that_compete(vote, agree, sizes):
    assert silent(lambda: classified(Capsules(sizes, vote, agree), sizes))


class Maps(nn.Module):
    """Self attention over the places of a map, channels first."""

    def __init__(self, turn, channels=8):
        super().__init__()
        self.query = nn.Conv2d(channels, 2, 1)
        self.key = nn.Conv2d(channels, 2, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.turn = turn

    def forward(self, x):
        query, key, value = (
            layer(x).flatten(2) for layer in (self.query, self.key, self.value)
        )
        weights = torch.bmm(query.transpose(1, 2), key).softmax(-1)
        return torch.bmm(value, self.turn(weights))


def attended(turn, sizes):
    batch, side = sizes
    with shapetrace.trace(model := Maps(turn)) as t:
        model(torch.rand(batch, 8, side, side)).square().mean().backward()
    return t.findings


@pytest.mark.parametrize("sizes", [(3, 4), (2, 2)], ids=str)
@pytest.mark.parametrize(
    "turn",
    [lambda w: w.permute(0, 1, 2), lambda w: w.transpose(1, 1)],
    ids=["permute", "transpose"],
)
@pytest.mark.filterwarnings("ignore")
def test_an_order_that_turns_nothing_round_is_named_before_the_softmax(turn, sizes):
    (found,) = attended(turn, sizes)
    assert found.code == "attention-dim"
    named = [culprit.name for culprit in found.culprits]
    assert named == ["permute", "softmax"] or named == ["transpose", "softmax"]
    assert ".transpose(1, 2)" in found.fixes[0].line


@pytest.mark.parametrize("sizes", [(3, 4), (2, 2)], ids=str)
@pytest.mark.parametrize(
    "turn",
    [lambda w: w, lambda w: F.dropout(w, 0.1), lambda w: w.mT.transpose(1, 2)],
    ids=["as it is", "dropout", "there and back"],
)
@pytest.mark.filterwarnings("ignore")
def test_without_such_an_order_the_softmax_is_named(turn, sizes):
    (found,) = attended(turn, sizes)
    assert [culprit.name for culprit in found.culprits] == ["softmax"]


@pytest.mark.parametrize("sizes", [(3, 4), (2, 2)], ids=str)
def test_weights_that_are_turned_round(sizes):
    assert attended(lambda w: w.permute(0, 2, 1), sizes) == ()
