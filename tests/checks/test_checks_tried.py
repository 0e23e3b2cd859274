"""Fixes of softmaxes, norms and permutes, tried by the recording, and really run."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

B, T, HEADS, D = 3, 7, 4, 24


def first_fix(program):
    torch.manual_seed(0)
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace() as t:
            program()
    found = t.findings[0]
    return found.code, found.fixes[0]


def over_the_batch():
    scores = nn.Linear(8, 5)(torch.randn(6, 8))
    y = torch.randint(0, 5, (6,))
    F.nll_loss(F.log_softmax(scores, 0), y).backward()


def over_the_batch_by_a_layer():
    model = nn.Sequential(nn.Linear(8, 5), nn.LogSoftmax(dim=0))
    F.nll_loss(model(torch.randn(6, 8)), torch.randint(0, 5, (6,))).backward()


def over_the_queries():
    f = nn.Linear(8, 8)
    x = f(torch.randn(B, T, 8))
    weights = (x @ f(x).transpose(1, 2)).softmax(1)
    (weights @ x).square().mean().backward()


def unit_vectors_over_the_batch():
    f = nn.Linear(8, 5)
    a = F.normalize(f(torch.randn(6, 8)), dim=0)
    F.cross_entropy(a @ a.T, torch.arange(6)).backward()


def unit_vectors_by_place():
    f = nn.Linear(8, 5)
    a = F.normalize(f(torch.randn(6, 8)), 2.0, 0)
    F.cross_entropy(a @ a.T, torch.arange(6)).backward()


def norms_over_the_batch():
    f = nn.Linear(8, 5)
    a = f(torch.randn(6, 8))
    a = a / a.norm(dim=0, keepdim=True)
    F.cross_entropy(a @ a.T, torch.arange(6)).backward()


def similarities_over_the_batch():
    f = nn.Linear(8, 5)
    a, b = f(torch.randn(6, 8)), f(torch.randn(6, 8))
    (1 - F.cosine_similarity(a, b, dim=0)).mean().backward()


def norm_over_the_items():
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x = nn.Linear(6, 8)(torch.randn(B, T, 6))
    x = F.layer_norm(x, x.shape[1:])
    attention(x, x, x)[0].square().mean().backward()


LINES = {
    over_the_batch: ("softmax-over-batch", "F.log_softmax(scores, 1)"),
    over_the_batch_by_a_layer: ("softmax-over-batch", "nn.LogSoftmax(dim=1)"),
    over_the_queries: ("attention-dim", ".softmax(2)"),
    unit_vectors_over_the_batch: ("normalised-dim", "dim=1)"),
    unit_vectors_by_place: ("normalised-dim", "2.0, 1)"),
    norms_over_the_batch: ("normalised-dim", "a.norm(dim=1, keepdim=True)"),
    similarities_over_the_batch: ("normalised-dim", "cosine_similarity(a, b, dim=1)"),
    norm_over_the_items: ("normalised-dim", "F.layer_norm(x, x.shape[-1:])"),
}


@pytest.mark.parametrize("program", LINES, ids=lambda program: program.__name__)
def test_another_dimension_is_tried(program):
    code, fix = first_fix(program)
    assert (code, fix.status) == (LINES[program][0], "verified")
    assert LINES[program][1] in fix.line


class Heads(nn.Module):
    """Attention whose heads are merged by `merge`."""

    def __init__(self, merge):
        super().__init__()
        self.embed, self.qkv = nn.Embedding(30, D), nn.Linear(D, 3 * D)
        self.out, self.merge = nn.Linear(D, 5), merge

    def forward(self, tokens):
        b, t = tokens.shape
        qkv = self.qkv(self.embed(tokens)).reshape(b, t, HEADS, -1)
        q, k, v = qkv.permute(0, 2, 1, 3).chunk(3, dim=-1)
        values = (q @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.out(self.merge(values, b, t).mean(1))


def reshaped(values, b, t):
    return values.reshape(b, t, D)


def viewed(values, b, t):
    return values.contiguous().view(b, t, D)


@pytest.mark.parametrize(
    ("merge", "line"),
    [
        (reshaped, "return values.permute(0, 2, 1, 3).reshape(b, t, D)"),
        (
            viewed,
            "return values.contiguous().permute(0, 2, 1, 3).contiguous().view(b, t, D)",
        ),
    ],
)
def test_a_permute_is_tried_and_runs_with_the_sizes_of_the_user(merge, line):
    def program(merge=merge):
        y = torch.randint(0, 5, (B,))
        F.cross_entropy(Heads(merge)(torch.randint(0, 30, (B, T))), y).backward()

    code, fix = first_fix(program)
    assert (code, fix.status, fix.line) == ("view-as-permute", "verified", line)
    space = {"D": D}
    exec(f"def mended(values, b, t):\n    {fix.line}", space)
    with shapetrace.trace() as t:
        program(space["mended"])
    assert t.findings == ()


def test_a_permute_that_a_later_view_would_not_take_is_not_verified():
    """Heads that stand before the batch, and a view behind them that must not be."""

    def merge(values, b, t):
        values = values.flatten(0, 1)
        values = values.view(HEADS, b, t, -1)
        return values.view(HEADS * b, t, -1)[:b].repeat(1, 1, HEADS)

    def program():
        y = torch.randint(0, 5, (B,))
        F.cross_entropy(Heads(merge)(torch.randint(0, 30, (B, T))), y).backward()

    code, fix = first_fix(program)
    assert (code, fix.status) == ("view-as-permute", "untried")


def value_that_learns():
    policy, value = nn.Linear(6, 3), nn.Linear(6, 1)
    x, returns = torch.randn(B, 6), torch.randn(B)
    pick = torch.distributions.Categorical(logits=policy(x))
    v = value(x).squeeze(-1)
    loss = -(pick.log_prob(pick.sample()) * (returns - v)).mean()
    (loss + F.mse_loss(v, returns)).backward()


def padding_counted():
    embed, out = nn.Embedding(9, 8, padding_idx=0), nn.Linear(8, 9)
    x = torch.tensor([[3, 1, 2, 0], [1, 2, 0, 0]])
    F.cross_entropy(out(embed(x[:, :-1])).transpose(1, 2), x[:, 1:]).backward()


@pytest.mark.parametrize("program", [value_that_learns, padding_counted])
def test_what_is_detached_or_ignored_is_tried(program):
    assert first_fix(program)[1].status == "verified"
