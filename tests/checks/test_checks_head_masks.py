"""Masks for each head of each sample, in the order that attention takes them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_kinds import findings, silent

HEADS = 4
#: samples, places, width
SIZES = [(3, 6, 8), (4, 4, 4)]


def repeated(mask):
    return mask.repeat(HEADS, 1, 1)


def tiled(mask):
    return torch.tile(mask, (HEADS, 1, 1))


def joined(mask):
    return torch.cat([mask] * HEADS)


def expanded(mask):
    return mask[None].expand(HEADS, -1, -1, -1).flatten(0, 1)


def interleaved(mask):
    return mask.repeat_interleave(HEADS, dim=0)


def for_each(mask):
    return mask[:, None].repeat(1, HEADS, 1, 1).view(-1, *mask.shape[1:])


def expanded_for_each(mask):
    return mask[:, None].expand(-1, HEADS, -1, -1).reshape(-1, *mask.shape[1:])


WRONG = [repeated, tiled, joined, expanded]
RIGHT = [interleaved, for_each, expanded_for_each]


def lengths_mask(batch, steps):
    lengths = torch.randint(2, steps + 1, (batch,))
    valid = torch.arange(steps) < lengths[:, None]
    return ~valid, ~(valid[:, :, None] & valid[:, None])


class Layer(nn.Module):
    def __init__(self, width, give):
        super().__init__()
        self.embed = nn.Linear(width, width)
        self.attention = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.give = give

    def forward(self, x, padding, pairs):
        x = self.embed(x)
        return self.attention(
            x, x, x, key_padding_mask=padding, attn_mask=self.give(pairs)
        )[0]


def masked(give, sizes):
    batch, steps, width = sizes
    padding, pairs = lengths_mask(batch, steps)
    out = Layer(width, give)(torch.randn(sizes), padding, pairs)
    F.mse_loss(out, torch.randn_like(out)).backward()


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("give", WRONG)
def test_masks_of_each_head_first(give, sizes):
    (found,) = findings(masked, give, sizes)
    assert found[0] == "pairs-apart"


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("give", RIGHT)
def test_masks_of_each_sample_first(give, sizes):
    assert silent(masked, give, sizes)


def encoded(give, sizes):
    """As a stack of layers is given its mask."""
    batch, steps, width = sizes
    layer = nn.TransformerEncoderLayer(width, HEADS, 16, 0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    padding, pairs = lengths_mask(batch, steps)
    x = nn.Linear(width, width)(torch.randn(sizes))
    out = encoder(x, mask=give(pairs), src_key_padding_mask=padding)
    out.square().mean().backward()


@pytest.mark.parametrize("sizes", SIZES)
def test_the_mask_of_a_stack_of_layers(sizes):
    (found,) = findings(encoded, repeated, sizes)
    assert found[0] == "pairs-apart"
    assert silent(encoded, interleaved, sizes)


class ByHand(nn.Module):
    """Heads folded into the batch, each sample's heads one after the other, or each
    head's samples."""

    def __init__(self, width, heads_first):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.heads_first = heads_first

    def fold(self, x):
        x = x.unflatten(-1, (HEADS, -1))
        order = (2, 0, 1, 3) if self.heads_first else (0, 2, 1, 3)
        return x.permute(*order).flatten(0, 1)

    def forward(self, x, mask):
        q, k, v = (self.fold(layer(x)) for layer in (self.q, self.k, self.v))
        return self.weights(q @ k.mT, mask).softmax(-1) @ v

    def weights(self, scores, mask):
        return scores.masked_fill(mask, -1e9)


class Added(ByHand):
    def weights(self, scores, mask):
        return scores + mask * -1e9


class Chosen(ByHand):
    def weights(self, scores, mask):
        return torch.where(mask, torch.full_like(scores, -1e9), scores)


def by_hand(make, heads_first, give, sizes):
    batch, steps, width = sizes
    mask = lengths_mask(batch, steps)[1]
    make(width, heads_first)(torch.randn(sizes), give(mask)).square().mean().backward()


@pytest.mark.parametrize("make", [ByHand, Added])
def test_a_mask_for_folded_heads(make):
    for heads_first, give in ((False, repeated), (True, interleaved)):
        (found,) = findings(by_hand, make, heads_first, give, SIZES[0])
        assert found[0] == "pairs-apart"


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("make", [ByHand, Added, Chosen])
def test_a_mask_in_the_order_of_the_folded_heads(make, sizes):
    for heads_first, give in ((True, repeated), (False, interleaved)):
        assert silent(by_hand, make, heads_first, give, sizes)


def fused(give, sizes):
    batch, steps, width = sizes
    mask = give(~lengths_mask(batch, steps)[1])
    q, k, v = (ByHand(width, False).fold(torch.randn(sizes)) for _ in range(3))
    x = nn.Linear(q.shape[-1], q.shape[-1])(q)
    F.scaled_dot_product_attention(x, k, v, attn_mask=mask).square().mean().backward()


@pytest.mark.parametrize("sizes", SIZES)
def test_the_fused_function_of_folded_heads(sizes):
    assert silent(fused, interleaved, sizes)


def slopes(sizes):
    """A bias for each head, and none for a sample."""
    batch, steps, width = sizes
    slope = torch.tensor([2.0**-i for i in range(HEADS)])
    bias = slope[:, None, None] * torch.arange(steps)
    bias = bias.repeat(batch, steps, 1)
    x = nn.Linear(width, width)(torch.randn(sizes))
    layer = nn.MultiheadAttention(width, HEADS, batch_first=True)
    layer(x, x, x, attn_mask=bias)[0].square().mean().backward()


def bias_of_each_head(sizes):
    batch, steps, width = sizes
    bias = nn.Embedding(2 * steps, HEADS)(
        torch.arange(steps)[:, None] - torch.arange(steps) + steps
    )
    x = nn.Linear(width, width)(torch.randn(sizes))
    layer = nn.MultiheadAttention(width, HEADS, batch_first=True)
    mask = bias.permute(2, 0, 1).repeat(batch, 1, 1)
    layer(x, x, x, attn_mask=mask)[0].square().mean().backward()


def causal_of_all(sizes):
    batch, steps, width = sizes
    mask = torch.ones(1, steps, steps).triu(1).bool().repeat(batch * HEADS, 1, 1)
    x = nn.Linear(width, width)(torch.randn(sizes))
    layer = nn.MultiheadAttention(width, HEADS, batch_first=True)
    layer(x, x, x, attn_mask=mask)[0].square().mean().backward()


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("program", [slopes, bias_of_each_head, causal_of_all])
def test_masks_that_are_no_samples(program, sizes):
    assert silent(program, sizes)
