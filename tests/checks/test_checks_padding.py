"""Masks of padding: which way round they are, and what else should have had one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

SIZES = [(5, 9), (8, 8)]


def batch(sizes):
    lengths = torch.randint(2, sizes[1] + 1, (sizes[0],))
    ids = torch.randint(1, 20, sizes) * (torch.arange(sizes[1]) < lengths[:, None])
    return ids, lengths


class Encoder(nn.Module):
    """Attends under a mask, then takes the mean of the tokens."""

    def __init__(self, attend, pool):
        super().__init__()
        self.embed = nn.Embedding(20, 8, padding_idx=0)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
        self.stack = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.q, self.k, self.fc = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.attend, self.pool = attend, pool

    def forward(self, ids, lengths):
        x = self.embed(ids)
        return self.fc(self.pool(self.attend(self, x, ids, lengths), ids, lengths))


def run(attend, pool, sizes):
    ids, lengths = batch(sizes)
    out = Encoder(attend, pool)(ids, lengths)
    F.cross_entropy(out, torch.randint(0, 3, sizes[:1])).backward()


def layer(mask):
    return lambda m, x, *given: m.attention(x, x, x, key_padding_mask=mask(*given))[0]


def stack(mask):
    return lambda m, x, *given: m.stack(x, src_key_padding_mask=mask(*given))


def filled(mask):
    def attend(m, x, *given):
        scores = m.q(x) @ m.k(x).mT
        scores = scores.masked_fill(mask(*given)[:, None, :], -math.inf)
        return scores.softmax(-1) @ x

    return attend


def scaled(mask):
    return lambda m, x, *given: F.scaled_dot_product_attention(
        m.q(x), m.k(x), x, attn_mask=mask(*given)[:, None, :]
    )


def first(x, ids, lengths):
    return x[:, 0]


def masked_mean(x, ids, lengths):
    tokens = (torch.arange(ids.shape[1]) < lengths[:, None]).float()
    return (x * tokens[..., None]).sum(1) / lengths[:, None]


def plain_mean(x, ids, lengths):
    return x.mean(1)


def mean_of_zeroed(x, ids, lengths):
    return x.masked_fill((ids == 0)[..., None], 0.0).mean(1)


TOKENS = {
    "index": lambda ids, lengths: ids != 0,
    "lengths": lambda ids, lengths: torch.arange(ids.shape[1]) < lengths[:, None],
    "turned": lambda ids, lengths: ~(ids == 0),
    "numbers": lambda ids, lengths: (ids != 0).float() == 1,
    "lengths first": lambda ids, lengths: lengths[:, None] > torch.arange(ids.shape[1]),
}


def turned(mask):
    return lambda *given: ~mask(*given)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", TOKENS)
@pytest.mark.parametrize("attend", [layer, stack, filled])
def test_a_mask_of_tokens_where_one_of_padding_is_wanted(attend, name, sizes):
    tokens = TOKENS[name]
    assert findings(run, attend(tokens), first, sizes)[0][0] == "mask-inverted"
    assert silent(run, attend(turned(tokens)), first, sizes)


@pytest.mark.parametrize("name", TOKENS)
def test_a_mask_of_padding_where_one_of_tokens_is_wanted(name):
    tokens = TOKENS[name]
    found = findings(run, scaled(turned(tokens)), first, SIZES[0])
    assert found[0][0] == "mask-inverted"
    assert silent(run, scaled(tokens), first, SIZES[0])


@pytest.mark.parametrize(
    "mask",
    [
        lambda ids, lengths: ids != 7,  # attend to a special token alone
        lambda ids, lengths: torch.arange(ids.shape[1]) < (lengths - 2)[:, None],
        lambda ids, skipped: torch.arange(ids.shape[1]) < skipped[:, None] % 2,
        lambda ids, lengths: torch.zeros_like(ids, dtype=torch.bool),
        lambda ids, lengths: (ids == 0) & (lengths[:, None] > 0),
    ],
)
def test_masks_whose_meaning_nothing_tells(mask):
    assert silent(run, layer(mask), first, SIZES[0])


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("attend", [layer, stack, filled])
def test_a_mean_over_the_padding_that_attention_hides(attend, sizes):
    hidden = attend(turned(TOKENS["index"]))
    assert findings(run, hidden, plain_mean, sizes) == [("padding-in-mean", "mean")]
    assert silent(run, hidden, masked_mean, sizes)
    assert silent(run, hidden, mean_of_zeroed, sizes)
    assert silent(run, hidden, first, sizes)


def counted_alone(x, ids, lengths):
    return x.sum(1) / (ids != 0).sum(1, keepdim=True)


def counted_lengths_alone(x, ids, lengths):
    tokens = (torch.arange(ids.shape[1]) < lengths[:, None]).float()
    return x.sum(1) / tokens.sum(1, keepdim=True).clamp(min=1)


def transformed(m, x, ids, lengths):
    return m.q(x)


def as_it_is(m, x, ids, lengths):
    return x


def packed(m, x, ids, lengths):
    x = nn.utils.rnn.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
    total = int(ids.shape[1])
    return nn.utils.rnn.pad_packed_sequence(nn.GRU(8, 8)(x)[0], True, 0.0, total)[0]


@pytest.mark.parametrize("pool", [counted_alone, counted_lengths_alone])
def test_a_sum_over_the_padding_that_is_divided_by_the_tokens(pool):
    assert findings(run, transformed, pool, SIZES[0]) == [("padding-in-mean", "sum")]
    assert silent(run, transformed, masked_mean, SIZES[0])
    assert silent(run, as_it_is, pool, SIZES[0])  # an embedding's padding is 0
    assert silent(run, packed, pool, SIZES[0])


def spoken(reduce):
    ids, _ = batch((5, 9))
    embed = nn.Embedding(20, 8, padding_idx=0)
    scores = nn.Linear(8, 20)(nn.GRU(8, 8, batch_first=True)(embed(ids[:, :-1]))[0])
    tokens = (ids[:, 1:] != 0).float()
    loss = F.cross_entropy(scores.mT, ids[:, 1:], reduction="none")
    reduce(loss * tokens, tokens).backward()


def test_the_mean_of_losses_that_a_mask_has_set_to_0():
    def mean(loss, tokens):
        return loss.mean()

    assert findings(spoken, mean) == [("padding-in-mean", "mean")]
    assert silent(spoken, lambda loss, tokens: loss.sum() / tokens.sum())
    assert silent(spoken, lambda loss, tokens: (loss.sum(1) / tokens.sum(1)).mean())


def test_the_mean_over_the_steps_of_losses_that_a_mask_has_set_to_0():
    def means(loss, tokens):
        return (loss.mean(dim=1) * 9).sum() / tokens.sum()

    assert findings(spoken, means) == [("padding-in-mean", "mean")]
    assert silent(spoken, lambda loss, tokens: (loss.mean(0) * 2).sum() / tokens.sum())


def written(reduce, sizes=(5, 9), value=0):
    """Weights of 1, and of another value behind the end of each sequence."""
    ids, lengths = batch(sizes)
    embed = nn.Embedding(20, 8)
    scores = nn.Linear(8, 20)(nn.GRU(8, 8, batch_first=True)(embed(ids))[0])
    weights = torch.ones_like(ids)
    weights[~(torch.arange(ids.shape[1])[None] < lengths[:, None])] = value
    y = torch.randint(20, ids.shape)
    loss = F.cross_entropy(scores.mT, y, reduction="none")
    reduce(loss * weights, weights).backward()


@pytest.mark.parametrize("sizes", [(5, 9), (6, 6)])
def test_the_mean_of_losses_whose_weights_are_written_by_a_mask(sizes):
    def means(loss, weights):
        return loss.mean(dim=1).sum()

    assert findings(written, means, sizes) == [("padding-in-mean", "mean")]
    assert silent(written, lambda loss, weights: loss.sum(dim=1).sum(), sizes)
    assert silent(written, lambda loss, weights: loss.sum() / weights.sum(), sizes)
    assert silent(written, means, sizes, 2)


def valued(weigh, reduce):
    """The log-probabilities of tokens, with the lengths of their sequences."""
    ids, lengths = batch((5, 9))
    hidden = nn.GRU(8, 8, batch_first=True)(nn.Embedding(20, 8)(ids[:, :-1]))[0]
    scores = nn.Linear(8, 20)(hidden).log_softmax(-1)
    chosen = scores.gather(-1, ids[:, 1:, None]).squeeze(-1)
    tokens = (torch.arange(8)[None] < (lengths - 1)[:, None]).float()
    reduce(-weigh(chosen), tokens).backward()


def all_by_tokens(loss, tokens):
    return loss.sum() / tokens.sum()


def test_a_sum_over_all_that_is_divided_by_the_tokens():
    def each_sample(chosen):
        return chosen * torch.randn(5, 1)

    assert findings(valued, each_sample, all_by_tokens) == [("padding-in-mean", "sum")]
    own = lambda loss, tokens: (loss * tokens).sum() / tokens.sum()  # noqa: E731
    assert silent(valued, each_sample, own)
    assert silent(valued, lambda chosen: chosen * torch.randn(5, 8), all_by_tokens)
    assert silent(valued, lambda chosen: chosen[:, :, None].square(), all_by_tokens)
    assert silent(
        valued, lambda c: c.gather(1, torch.randint(8, (5, 8))), all_by_tokens
    )


def causal(m, x, ids, lengths):
    hidden = torch.full((x.shape[1],) * 2, -math.inf).triu(1)
    return m.attention(x, x, x, attn_mask=hidden)[0]


def test_a_mean_over_the_time_that_no_padding_is_hidden_in():
    assert silent(run, causal, plain_mean, SIZES[0])
    assert silent(run, lambda m, x, *_: m.attention(x, x, x)[0], plain_mean, SIZES[0])


def test_a_softmax_over_samples_and_steps_in_one():
    def program(dim):
        x, y = torch.randn(4, 7, 8), torch.randint(0, 20, (4, 7))
        keys = torch.randn(4, 9, 8)
        scores = (nn.Linear(8, 8)(x) @ keys.mT).view(28, 9).softmax(dim)
        mixed = scores.view(4, 7, 9) @ keys
        F.cross_entropy(nn.Linear(8, 20)(mixed).flatten(0, 1), y.flatten()).backward()

    assert findings(program, 0) == [("softmax-over-batch", "softmax")]
    assert silent(program, 1)
