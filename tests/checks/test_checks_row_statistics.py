"""Numbers of rows that come back along columns of a square, and those that do not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

#: samples and features: the matrices are squares, the features may be as many
SIZES = [(12, 8), (8, 8)]


def maxima(a, b, x):
    logits = a @ b.T
    with torch.no_grad():
        c, _ = logits.max(dim=1)
    return torch.logsumexp(logits - c.detach(), dim=1)


def shares(a, b, x):
    e = torch.exp(a @ b.T / 0.1)
    return -torch.log(e / (e.sum(dim=1) + 1e-8)).diagonal()


def log_softmax(a, b, x):
    scores = torch.einsum("ik,jk->ij", a, b)
    return scores - scores.exp().sum(1).log()


def by_logsumexp(a, b, x):
    scores = torch.cdist(a, b).neg()
    return scores - torch.logsumexp(scores, -1)


def deviations(a, b, x):
    centred = (s := a @ b.T) - s.mean(1, keepdim=True)
    return centred / s.std(1).clamp(min=1e-6)


def lengths(a, b, x):
    s = a @ b.T
    return s / torch.linalg.norm(s, dim=1).clamp(min=1e-6)


def squeezed(a, b, x):
    s = a @ b.T
    return s - s.amax(1, keepdim=True).squeeze(1)


def masked(a, b, x):
    s = a @ b.T
    mask = torch.zeros(s.shape, dtype=torch.bool).triu(1)
    return (s.masked_fill(mask, -1e9) - s.max(1).values.detach()).softmax(1)


def queries_and_keys(a, b, x):
    """Two layers of one batch: no symmetric matrix."""
    s = x[0] @ x[1].T
    return (s - s.max(1)[0].detach()).exp()


def features(a, b, x):
    """Of hidden states with as many samples as features."""
    h = nn.Linear(a.shape[1], len(a))(a).relu()
    return (h - h.mean(1).detach()) / h.shape[1]


MISTAKES = [
    *(maxima, shares, log_softmax, by_logsumexp, deviations, lengths),
    *(squeezed, masked, queries_and_keys, features),
]


def rows_kept(a, b, x):
    s = a @ b.T
    return (s - s.max(1, keepdim=True)[0].detach()).exp()


def rows_placed(a, b, x):
    s = a @ b.T
    c = s.max(1)[0].detach()
    return (s - c[:, None]).exp()


def columns(a, b, x):
    s = a @ b.T
    return s - s.max(0)[0].detach()


def standardised(a, b, x):
    h = a - a.mean(0).detach()
    return h / h.std(0).clamp(min=1e-6)


def centred_both_ways(a, b, x):
    k = a @ a.T
    return k - k.mean(0) - k.mean(1).detach() + k.mean()


def of_unit_vectors(a, b, x):
    k = F.normalize(a) @ F.normalize(a).T
    return k - k.max(1)[0].detach()


def distances_of_one_batch(a, b, x):
    d = torch.cdist(a, a)
    return d - d.mean(1).detach()


def learned_graph(a, b, x):
    graph = (a @ b.T).relu()
    d = (graph.sum(1) + 1e-6).rsqrt()
    return d[:, None] * graph * d


def divided_both_ways(a, b, x):
    graph = (a @ b.T).relu()
    d = (graph.sum(1) + 1e-6).sqrt()
    return graph / d[:, None] / d


def transposed(a, b, x):
    s = a @ b.T
    return (s.T - s.max(1)[0].detach()).T


def of_the_transposed(a, b, x):
    s = a @ b.T
    return s - s.T.max(1)[0].detach()


def chamfer(a, b, x):
    d = torch.cdist(a, b)
    return d.min(1)[0].mean() + d.min(0)[0].mean()


def neighbourhoods(a, b, x):
    s = a @ b.T
    rows, columns = s.topk(3, 1)[0].mean(1), s.topk(3, 0)[0].mean(0)
    return 2 * s - rows[:, None] - columns


def positives(a, b, x):
    s = a @ b.T
    return s - s.diagonal()


def of_each_pair(a, b, x):
    """A number for each row, and one for each row."""
    s = a @ b.T
    return (a * b).sum(1) - s.max(1)[0].detach()


def weighted(a, b, x):
    """The number of each sample weighs its column, where it is a key."""
    sure = (b @ a.T).softmax(1).amax(1).detach()
    return (a @ b.T) - sure


def all_pairs(a, b, x):
    one, two = a.mean(1), b.mean(1)
    return one[:, None] - two


CORRECT = [
    *(rows_kept, rows_placed, columns, standardised, centred_both_ways),
    *(of_unit_vectors, distances_of_one_batch, learned_graph, divided_both_ways),
    *(transposed, of_the_transposed, chamfer, neighbourhoods, positives),
    *(of_each_pair, weighted, all_pairs),
]


def alarms(body, sizes):
    torch.manual_seed(0)
    count, width = sizes
    one, two = nn.Linear(6, width), nn.Linear(6, width)
    with shapetrace.trace() as t:
        x = torch.randn(count, 6)
        a, b = one(torch.randn(count, 6)), two(torch.randn(count, 6))
        body(a, b, (one(x), two(x))).mean().backward()
    return [found for found in t.findings if found.severity != "note"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("body", MISTAKES)
def test_numbers_of_rows_along_the_columns(body, sizes):
    (found,) = alarms(body, sizes)
    assert found.code == "silent-broadcast"
    line = found.fixes[0].line
    assert ".unsqueeze(1)" in line or line == "return s - s.amax(1, keepdim=True)"


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("body", CORRECT)
def test_what_looks_like_it(body, sizes):
    assert [str(found) for found in alarms(body, sizes)] == []
