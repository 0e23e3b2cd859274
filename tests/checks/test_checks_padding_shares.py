"""Masks behind the softmax, padding among the targets, items normalised together."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

SIZES = [(3, 7, 12), (8, 8, 8)]


class Attention(nn.Module):
    def __init__(self, width, weigh):
        super().__init__()
        self.inp, self.out = nn.Linear(6, width), nn.Linear(width, 4)
        self.q, self.k = nn.Linear(width, width), nn.Linear(width, width)
        self.gate = nn.Linear(width, 1)
        self.weigh = weigh

    def forward(self, x, mask):
        x = self.inp(x)
        return self.out(self.weigh(self, x, self.q(x) @ self.k(x).mT, mask).mean(1))


def alarms(weigh, batch, steps, width):
    torch.manual_seed(0)
    model = Attention(width, weigh)
    lengths = torch.randint(1, steps, (batch,))
    with shapetrace.trace(model) as t:
        mask = torch.arange(steps) < lengths[:, None]
        scores = model(torch.randn(batch, steps, 6), mask)
        F.cross_entropy(scores, torch.randint(4, (batch,))).backward()
    return [found for found in t.findings if found.severity != "note"]


# -- mask-after-softmax ---------------------------------------------------------------


def filled(m, x, scores, mask):
    weights = scores.softmax(-1)
    return weights.masked_fill(~mask[:, None], 0.0) @ x


def multiplied(m, x, scores, mask):
    return F.softmax(scores, -1) * mask[:, None].float() @ x


def chosen(m, x, scores, mask):
    weights = scores.softmax(-1)
    weights = torch.where(mask[:, None], weights, torch.zeros(()))
    return torch.bmm(weights, x)


def causal(m, x, scores, mask):
    steps = torch.arange(x.shape[1])
    weights = scores.softmax(-1) * (steps[:, None] >= steps)
    return F.dropout(weights, 0.1, m.training) @ x


def by_einsum(m, x, scores, mask):
    weights = scores.softmax(-1) * mask[:, None]
    return torch.einsum("bqk,bkd->bqd", weights, x)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("weigh", [filled, multiplied, chosen, causal, by_einsum])
def test_a_mask_behind_the_softmax(weigh, sizes):
    (found,) = alarms(weigh, *sizes)
    assert found.code == "mask-after-softmax"
    names = [one.name for one in found.culprits]
    assert names[0] in ("masked_fill", "mul", "where") and names[1] == "softmax"


def before(m, x, scores, mask):
    return scores.masked_fill(~mask[:, None], float("-inf")).softmax(-1) @ x


def before_and_after(m, x, scores, mask):
    """A second mask takes out the rows that are all padding, which are nan."""
    hidden = ~mask[:, None]
    weights = scores.masked_fill(hidden, -1e9).softmax(-1)
    return weights.masked_fill(hidden, 0.0) @ x


def divided_again(m, x, scores, mask):
    weights = scores.softmax(-1) * mask[:, None]
    return (weights / weights.sum(-1, keepdim=True).clamp_min(1e-9)) @ x


def normalised_again(m, x, scores, mask):
    weights = scores.softmax(-1) * mask[:, None]
    return F.normalize(weights, p=1, dim=-1) @ x


def of_the_queries(m, x, scores, mask):
    return scores.softmax(-1).masked_fill(~mask[:, :, None], 0.0) @ x


def dropout_by_hand(m, x, scores, mask):
    weights = scores.softmax(-1)
    kept = (torch.rand_like(weights) > 0.1).float()
    return weights * kept / 0.9 @ x


def the_best_alone(m, x, scores, mask):
    weights = scores.softmax(-1)
    best = weights >= weights.topk(2, -1).values[..., -1:]
    return weights * best @ x


def of_the_result(m, x, scores, mask):
    return (scores.softmax(-1) @ x) * mask[:, :, None]


def of_the_values(m, x, scores, mask):
    return scores.softmax(-1) @ (x * mask[:, :, None])


def a_share_of_the_classes(m, x, scores, mask):
    """What is left of the shares is a loss of its own, no weights of values."""
    shares = scores.softmax(-1)
    lost = (shares * ~mask[:, None]).sum(-1).mean()
    return scores.masked_fill(~mask[:, None], -1e9).softmax(-1) @ x + lost


def weighed_by_age(m, x, scores, mask):
    """Weights that fade with the distance are no mask."""
    steps = torch.arange(x.shape[1])
    fading = 0.9 ** (steps[:, None] - steps).abs()
    return scores.softmax(-1) * fading @ x


def gated(m, x, scores, mask):
    return scores.softmax(-1) * torch.sigmoid(m.gate(x)).mT @ x


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    "weigh",
    [
        *(before, before_and_after, divided_again, normalised_again, of_the_queries),
        *(dropout_by_hand, the_best_alone, of_the_result, of_the_values),
        *(a_share_of_the_classes, weighed_by_age, gated),
    ],
)
def test_masks_that_look_alike(weigh, sizes):
    assert alarms(weigh, *sizes) == []


# -- padding-in-loss -----------------------------------------------------------------


class Decoder(nn.Module):
    def __init__(self, count=20, padding=0):
        super().__init__()
        self.embed = nn.Embedding(count, 8, padding_idx=padding)
        self.gru, self.out = nn.GRU(8, 8, batch_first=True), nn.Linear(8, count)

    def forward(self, tokens):
        return self.out(self.gru(self.embed(tokens))[0])


def sentences(batch, steps, count=20, padding=0, padded=True):
    """Each begins with token 1, and all indices but the padding are in them."""
    low = 1 if padding == 0 else 0
    tokens = torch.randint(low, count - (padding == count - 1), (batch, steps))
    if padded:
        lengths = torch.arange(batch) % (steps - 2) + 2
        tokens[torch.arange(steps) >= lengths[:, None]] = padding
    return tokens


def learned(loss, batch, steps, model=None, tokens=None):
    torch.manual_seed(0)
    model = model or Decoder()
    tokens = sentences(batch, steps) if tokens is None else tokens
    with shapetrace.trace(model) as t:
        loss(model, tokens).backward()
    return [found for found in t.findings if found.severity != "note"]


def transposed(model, tokens, **kwargs):
    scores = model(tokens[:, :-1]).transpose(1, 2)
    return F.cross_entropy(scores, tokens[:, 1:], **kwargs)


def flattened(model, tokens):
    scores = model(tokens[:, :-1])
    return nn.CrossEntropyLoss()(scores.flatten(0, 1), tokens[:, 1:].flatten())


def likelihood(model, tokens):
    scores = model(tokens[:, :-1]).log_softmax(-1)
    return F.nll_loss(scores.flatten(0, 1), tokens[:, 1:].reshape(-1))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sizes", [(4, 9), (8, 8)])
@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (transposed, ", ignore_index=0)"),
        (
            flattened,
            "F.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten(), "
            "ignore_index=0)",
        ),
        (likelihood, ", ignore_index=0)"),
    ],
)
def test_a_loss_that_counts_the_padding(loss, told, sizes):
    (found,) = learned(loss, *sizes)
    assert (found.code, found.culprits[0].kind) == ("padding-in-loss", "target")
    assert told in found.fixes[0].line


@pytest.mark.filterwarnings("ignore")
def test_the_padding_may_be_the_largest_index():
    tokens = sentences(4, 9, padding=19)
    (found,) = learned(transposed, 4, 9, Decoder(padding=19), tokens)
    assert "hold 19" in found.message


def ignored(model, tokens):
    return transposed(model, tokens, ignore_index=0)


def masked_afterwards(model, tokens):
    each = transposed(model, tokens, reduction="none")
    mask = tokens[:, 1:] != 0
    return (each * mask).sum() / mask.sum()


def replaced(model, tokens):
    labels = tokens[:, 1:].masked_fill(tokens[:, 1:] == 0, -100)
    return F.cross_entropy(model(tokens[:, :-1]).transpose(1, 2), labels)


def replaced_in_place(model, tokens):
    labels = tokens[:, 1:].clone()
    labels[labels == 0] = -100
    return F.cross_entropy(model(tokens[:, :-1]).transpose(1, 2), labels)


def without_weight(model, tokens):
    weight = torch.ones(20)
    weight[0] = 0
    return transposed(model, tokens, weight=weight)


def selected(model, tokens):
    mask = tokens[:, 1:] != 0
    return F.cross_entropy(model(tokens[:, :-1])[mask], tokens[:, 1:][mask])


def tags(model, tokens):
    """Of each token a tag is asked, not the next one: 0 is a tag like others."""
    labels = torch.randint(0, 20, tokens.shape)
    return F.cross_entropy(model(tokens).transpose(1, 2), labels)


def under_a_mask(model, tokens):
    """The tokens themselves are the labels, of a model that sees both sides."""
    h = model.embed(tokens)
    h = h + (h @ h.mT).softmax(-1) @ h
    return F.cross_entropy(model.out(h).transpose(1, 2), tokens)


def random_tokens(model, tokens):
    """In numbers that mean nothing, 0 is a token like others."""
    return transposed(model, torch.randint(0, 20, (64, 9)))


def of_a_sentence(model, tokens):
    return F.cross_entropy(model(tokens)[:, -1], torch.zeros(len(tokens)).long())


LOSSES = [
    *(ignored, masked_afterwards, replaced, replaced_in_place, without_weight),
    *(selected, tags, of_a_sentence, under_a_mask, random_tokens),
]


@pytest.mark.parametrize("sizes", [(4, 9), (8, 8)])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_losses_that_look_alike(loss, sizes):
    assert learned(loss, *sizes) == []


@pytest.mark.parametrize("sizes", [(4, 9), (8, 8)])
@pytest.mark.parametrize("padding", [None, 0, 3])
def test_targets_without_padding(padding, sizes):
    """No padding index, none in the batch, and one that is no end of the range."""
    padded = padding == 3
    tokens = sentences(*sizes, padding=padding or 0, padded=padded)
    assert learned(transposed, *sizes, Decoder(padding=padding), tokens) == []


# -- normalised-dim: the items of a sequence together ---------------------------------


class Block(nn.Module):
    def __init__(self, norm, attend=True):
        super().__init__()
        self.inp, self.out = nn.Linear(6, 8), nn.Linear(8, 4)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm, self.attend = norm, attend

    def forward(self, x):
        h = self.norm(self.inp(x))
        if self.attend:
            h = h + self.attention(h, h, h)[0]
        return self.out(h.mean(1))


def block_alarms(norm, batch, attend=True):
    torch.manual_seed(0)
    model = Block(norm, attend)
    with shapetrace.trace(model) as t:
        scores = model(torch.randn(batch, 8, 6))
        F.cross_entropy(scores, torch.randint(4, (batch,))).backward()
    return [found for found in t.findings if found.severity != "note"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("batch", [3, 8])
def test_a_layer_norm_over_the_items_of_attention(batch):
    (found,) = block_alarms(lambda h: F.layer_norm(h, h.shape[1:]), batch)
    assert (found.code, found.culprits[0].name) == ("normalised-dim", "layer_norm")
    assert "h.shape[-1:]" in found.fixes[0].line


@pytest.mark.parametrize("batch", [3, 8])
@pytest.mark.parametrize(
    ("norm", "attend"),
    [
        (lambda h: F.layer_norm(h, h.shape[-1:]), True),
        (lambda h: F.layer_norm(h, (8, 8)), True),
        (nn.LayerNorm([8, 8]), True),
        (lambda h: F.layer_norm(h, h.shape[1:]), False),
    ],
)
def test_layer_norms_that_are_meant(norm, attend, batch):
    assert block_alarms(norm, batch, attend) == []
