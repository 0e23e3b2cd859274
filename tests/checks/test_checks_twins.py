"""Each mistake beside the same program without it: one finding, and none."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace

X, Y = torch.randn(8, 6), torch.randn(8, 5)
five, pair = nn.Linear(6, 5), nn.Linear(6, 2)
words, wide = nn.Embedding(30, 6), nn.Linear(6, 12)
maps = nn.Conv2d(3, 7, 1)
inner, outer = nn.TransformerEncoderLayer(6, 2, 8), nn.Linear(54, 3)
batched = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
MODULES = [five, pair, words, wide, maps, inner, outer, batched]


def a_likelihood_with_a_column_of_variances(broken):
    mean, log_variance = pair(X).chunk(2, dim=1)
    target = Y[:, 0] if broken else Y[:, :1]
    error = (target - mean) ** 2 / log_variance.exp()
    (log_variance + error).mean().backward()


def one_column_against_two_rows(broken):
    value = pair(X)[:, :1] if broken else pair(X)[:, 0]
    returns, before = torch.randn(8), torch.randn(8)
    clipped = before + (value - before).clamp(-1, 1)
    torch.max((value - returns) ** 2, (clipped - returns) ** 2).mean().backward()


def heads_cut_out_of_the_batch(broken):
    x = wide(words(torch.randint(0, 30, (5, 9))))
    heads = x.view(5, 9, 3, 4).transpose(1, 2)
    heads = x.view(15, 9, 4) if broken else heads.reshape(15, 9, 4)
    (heads @ heads.mT).softmax(-1).sum(1).square().mean().backward()


def heads_cut_before_time(broken):
    x = wide(words(torch.randint(0, 30, (5, 9))))
    heads = x.view(5, 3, 9, 4) if broken else x.view(5, 9, 3, 4).transpose(1, 2)
    (heads @ heads.mT).softmax(-1).sum(1).square().mean().backward()


def rows_of_scores_of_a_batched_product(broken):
    query, context = five(torch.randn(4, 3, 6)), torch.randn(4, 7, 5)
    scores = torch.bmm(query, context.mT)
    weights = scores.view(12, 7).softmax(0 if broken else 1).view(4, 3, 7)
    F.mse_loss(torch.bmm(weights, context), torch.randn(4, 3, 5)).backward()


def one_hot_of_a_square_map(broken):
    classes = F.one_hot(torch.randint(0, 7, (2, 7, 7)), 7)
    classes = classes if broken else classes.permute(0, 3, 1, 2)
    F.cross_entropy(maps(torch.randn(2, 3, 7, 7)), classes.float()).backward()


def one_hot_of_a_square_map_by_pixel(broken):
    classes = F.one_hot(torch.randint(0, 7, (2, 7, 7)), 7)
    classes = classes if broken else classes.movedim(-1, 1)
    logits = maps(torch.randn(2, 3, 7, 7))
    F.binary_cross_entropy_with_logits(logits, classes.float()).backward()


def a_prediction_through_numpy(broken):
    out = five(X)
    if broken:
        out = torch.tensor(out.detach().numpy(), requires_grad=True)
    F.mse_loss(out, Y).backward()


def two_layers_that_take_time_first(broken):
    layer = inner if broken else batched
    x = layer(layer(words(torch.randint(0, 30, (5, 9)))))
    F.cross_entropy(outer(x.flatten(1)), torch.arange(5) % 3).backward()


def attention_over_the_queries(broken):
    x = words(torch.randint(0, 30, (4, 7)))
    scores = torch.einsum("bid,bjd->bij", five(x), five(x)) / 5**0.5
    weights = scores.softmax(1 if broken else 2)
    torch.einsum("bij,bjd->bid", F.dropout(weights), x).square().mean().backward()


def attention_over_the_heads(broken):
    heads = wide(words(torch.randint(0, 30, (4, 7)))).view(4, 7, 3, 4).transpose(1, 2)
    weights = (heads @ heads.mT).masked_fill(torch.ones(7, 7).triu(1) > 0, -1e9)
    weights = weights.softmax(1 if broken else 3)
    (weights @ heads).transpose(1, 2).reshape(4, 7, 12).square().mean().backward()


def a_weight_of_each_sample_along_the_features(broken):
    x = torch.randn(5, 6)
    weight = x.norm(dim=1)
    error = F.l1_loss(five(x), torch.randn(5, 5), reduction="none")
    (error * (weight if broken else weight[:, None])).mean().backward()


def rows_divided_by_their_sums(broken):
    out = five(torch.randn(5, 6)).exp()
    share = out / out.sum(1, keepdim=not broken)
    (share - torch.rand(5, 5)).abs().mean().backward()


def a_loss_told_to_require_a_gradient(broken):
    with torch.set_grad_enabled(not broken):
        out = five(X)
    F.mse_loss(out, Y).requires_grad_().backward()


TWINS = {
    a_likelihood_with_a_column_of_variances: "silent-broadcast",
    one_column_against_two_rows: "silent-broadcast",
    heads_cut_out_of_the_batch: "view-as-permute",
    heads_cut_before_time: "view-as-permute",
    rows_of_scores_of_a_batched_product: "softmax-over-batch",
    one_hot_of_a_square_map: "class-dim",
    one_hot_of_a_square_map_by_pixel: "class-dim",
    a_prediction_through_numpy: "dead-loss",
    two_layers_that_take_time_first: "batch-dim",
    attention_over_the_queries: "attention-dim",
    attention_over_the_heads: "attention-dim",
    a_weight_of_each_sample_along_the_features: "silent-broadcast",
    rows_divided_by_their_sums: "silent-broadcast",
    a_loss_told_to_require_a_gradient: "dead-loss",
}

#: what no line can be written for: it is the way of a tensor that is cut
IN_WORDS = (a_prediction_through_numpy, a_loss_told_to_require_a_gradient)


def alarms(program, broken):
    torch.manual_seed(0)
    with shapetrace.trace(*MODULES) as t:
        program(broken)
    return [found for found in t.findings if found.severity != "note"]


@pytest.mark.parametrize("program", TWINS, ids=lambda program: program.__name__)
def test_the_mistake_gives_one_finding_and_its_twin_none(program):
    with pytest.warns(shapetrace.ShapeTraceWarning):
        found = alarms(program, True)
    assert [one.code for one in found] == [TWINS[program]]
    assert found[0].culprits and bool(found[0].fixes) != (program in IN_WORDS)
    assert ("What to do:" in str(found[0])) == (program in IN_WORDS)
    assert alarms(program, False) == []


def test_other_places_of_one_mistake_are_listed():
    with pytest.warns(shapetrace.ShapeTraceWarning):
        (found,) = alarms(one_column_against_two_rows, True)
    lines = one_column_against_two_rows.__code__.co_firstlineno
    assert found.source.line == lines + 3
    assert f"The same at test_checks_twins.py:{lines + 4}." in str(found)
