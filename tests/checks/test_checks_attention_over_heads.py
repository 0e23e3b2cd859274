"""Heads that attend to each other in each position, and what attends on purpose."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

#: batch, time, heads, width of a head
SIZES = [(3, 7, 2, 6), (4, 4, 4, 4), (2, 4, 4, 6)]
attend = F.scaled_dot_product_attention


class Attention(nn.Module):
    def __init__(self, sizes, how):
        super().__init__()
        self.sizes, self.how = sizes, how
        width = sizes[2] * sizes[3]
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, 5)
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.slots = nn.Parameter(torch.randn(sizes[3], 3))

    def cut(self, x):
        _, _, heads, width = self.sizes
        made = [layer(x) for layer in (self.q, self.k, self.v)]
        return [one.view(*x.shape[:-1], heads, width) for one in made]

    def forward(self, x):
        return self.out(self.how(self, x))


def step(sizes, how):
    batch, time, heads, width = sizes
    model = Attention(sizes, how)
    x, y = torch.randn(batch, time, heads * width), torch.randint(0, 5, (batch, time))
    F.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()


def fused(self, x):
    q, k, v = self.cut(x)
    return attend(q, k, v).flatten(2)


def by_hand(self, x):
    q, k, v = self.cut(x)
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    return (F.dropout(scores.softmax(-1), 0.1) @ v).reshape(x.shape)


def of_one_layer(self, x):
    _, _, heads, width = self.sizes
    q, k, v = self.qkv(x).chunk(3, -1)
    q, k, v = (one.unflatten(-1, (heads, width)) for one in (q, k, v))
    return attend(q, F.normalize(k, dim=-1), v).flatten(2)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("how", [fused, by_hand, of_one_layer])
def test_heads_that_stay_behind_their_positions(how, sizes):
    (found,) = findings(step, sizes, how)
    assert found[0] == "attention-over-heads" and found[1] in ("view", "unflatten")


def moved(self, x):
    q, k, v = (one.transpose(1, 2) for one in self.cut(x))
    return attend(q, k, v).transpose(1, 2).flatten(2)


def moved_by_hand(self, x):
    q, k, v = (one.permute(0, 2, 1, 3) for one in self.cut(x))
    return ((q @ k.mT).softmax(-1) @ v).permute(0, 2, 1, 3).flatten(2)


def moved_together(self, x):
    _, _, heads, width = self.sizes
    q, k, v = self.qkv(x).unflatten(-1, (3, heads, width)).permute(2, 0, 3, 1, 4)
    return attend(q, k, v, is_causal=True).transpose(1, 2).flatten(2)


def by_einsum(self, x):
    q, k, v = self.cut(x)
    weights = torch.einsum("bthd,bshd->bhts", q, k).softmax(-1)
    return torch.einsum("bhts,bshd->bthd", weights, v).flatten(2)


def one_head(self, x):
    return attend(self.q(x), self.k(x), self.v(x))


def one_head_with_a_dimension(self, x):
    q, k, v = (layer(x)[:, None] for layer in (self.q, self.k, self.v))
    return attend(q, k, v)[:, 0]


def over_channels(self, x):  # a channel of an image to another, summed over places
    q, k, v = (one.permute(0, 2, 3, 1) for one in self.cut(x))
    weights = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT).softmax(-1)
    return (weights @ v).permute(0, 3, 1, 2).flatten(2)


def in_windows(self, x):
    pieces = x.unflatten(1, (x.shape[1], 1)).flatten(0, 1).expand(-1, 3, -1)
    q, k, v = (one.transpose(1, 2) for one in self.cut(pieces))
    made = attend(q, k, v).transpose(1, 2).flatten(2)
    return made[:, 0].unflatten(0, x.shape[:2])


def to_learned_slots(self, x):
    q, k, v = self.cut(x)
    weights = (q @ self.slots).softmax(-1)
    return v.flatten(2) * weights.sum(-1).mean(-1, keepdim=True)


def pooled_over_heads(self, x):  # a gate for each head, by the mean of all of them
    q, _, v = self.cut(x)
    return (v * q.mean(-1, keepdim=True).softmax(2)).flatten(2)


CORRECT = [moved, moved_by_hand, moved_together, by_einsum, one_head, over_channels]
CORRECT += [one_head_with_a_dimension, in_windows, to_learned_slots, pooled_over_heads]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("how", CORRECT, ids=lambda one: one.__name__)
def test_what_attends_as_it_was_meant(how, sizes):
    assert silent(step, sizes, how)


class Agents(nn.Module):
    """Agents, or the channels of a series, see each other in each step of time."""

    def __init__(self, heads):
        super().__init__()
        self.qkv, self.out, self.heads = nn.Linear(8, 24), nn.Linear(8, 3), heads

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        if self.heads:
            parts = (one.unflatten(-1, (2, 4)).transpose(-2, -3) for one in (q, k, v))
            return self.out(attend(*parts).transpose(-2, -3).flatten(-2).mean((1, 2)))
        return self.out(((q @ k.mT).softmax(-1) @ v).mean((1, 2)))


@pytest.mark.parametrize("heads", [False, True])
@pytest.mark.parametrize("sizes", [(3, 7, 5, 8), (8, 8, 8, 8)])
def test_several_things_in_each_step_of_time(sizes, heads):
    def program():
        y = torch.randint(0, 3, sizes[:1])
        F.cross_entropy(Agents(heads)(torch.randn(sizes)), y).backward()

    assert silent(program)
