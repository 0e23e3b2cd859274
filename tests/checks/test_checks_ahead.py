"""Labels one place on from the input: right where the model sees no later token."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import shapetrace

#: a finding is told as a warning too
pytestmark = pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")

#: batch, places of the input, words
SIZES = [(4, 7, 20), (8, 8, 8)]


def triangle(steps):
    return torch.ones(steps, steps).triu(1).bool()


class Recurrent(nn.Module):
    def __init__(self, words, both, kind=nn.GRU, layers=1):
        super().__init__()
        self.embed, width = nn.Embedding(words, 8), 16 if both else 8
        self.rnn = kind(8, 8, layers, batch_first=True, bidirectional=both)
        self.head = nn.Linear(width, words)

    def forward(self, ids):
        return self.head(self.rnn(self.embed(ids))[0])


class Packed(Recurrent):
    def forward(self, ids):
        lengths = torch.tensor([ids.shape[1]] + [3] * (len(ids) - 1))
        x = pack_padded_sequence(self.embed(ids), lengths, True, enforce_sorted=False)
        return self.head(pad_packed_sequence(self.rnn(x)[0], True)[0])


class Body(nn.Module):
    """An encoder of torch's, with a mask of later places, of padding, or none."""

    def __init__(self, words, causal, padding=False):
        super().__init__()
        self.embed, self.head = nn.Embedding(words, 8), nn.Linear(8, words)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.causal, self.padding = causal, padding

    def forward(self, ids):
        mask = triangle(ids.shape[1]) if self.causal else None
        hidden = ids == 0 if self.padding else None
        return self.head(self.body(self.embed(ids), mask, hidden))


class ByHand(nn.Module):
    def __init__(self, words, causal, how=None):
        super().__init__()
        self.embed, self.head = nn.Embedding(words, 8), nn.Linear(8, words)
        self.qkv, self.causal, self.how = nn.Linear(8, 24), causal, how

    def forward(self, ids):
        x = self.embed(ids)
        q, k, v = self.qkv(x).chunk(3, -1)
        if self.how == "sdpa":
            made = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
            return self.head(x + made)
        scores = q @ k.mT / 8**0.5
        if self.how == "after":
            shares = scores.softmax(-1).tril()
            return self.head(x + shares / shares.sum(-1, keepdim=True) @ v)
        if self.causal:
            scores = scores.masked_fill(triangle(ids.shape[1]), float("-inf"))
        return self.head(x + scores.softmax(-1) @ v)


class Translator(nn.Module):
    def __init__(self, words, causal, own=False):
        super().__init__()
        self.source, self.embed = nn.Embedding(words, 8), nn.Embedding(words, 8)
        self.body = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
        self.head, self.causal, self.own = nn.Linear(8, words), causal, own

    def forward(self, ids):
        other = ids if self.own else torch.randint_like(ids, 8)
        mask = triangle(ids.shape[1]) if self.causal else None
        x = self.body(self.source(other), self.embed(ids), tgt_mask=mask)
        return self.head(x)


class Bottleneck(nn.Module):
    """The whole sentence read both ways into a code, and written from it."""

    def __init__(self, words, both=False):
        super().__init__()
        self.embed, self.head = nn.Embedding(words, 8), nn.Linear(8 + 8 * both, words)
        self.reads = nn.GRU(8, 8, batch_first=True, bidirectional=True)
        self.writes = nn.GRU(8, 8, batch_first=True, bidirectional=both)
        self.code = nn.Linear(16, 8)

    def forward(self, ids):
        x = self.embed(ids)
        code = self.code(self.reads(x)[1].transpose(0, 1).flatten(1))
        start = code.expand(self.writes.bidirectional + 1, -1, -1).contiguous()
        return self.head(self.writes(x, start)[0])


class Halves(nn.Module):
    """The half that has read what came before predicts the next word."""

    def __init__(self, words):
        super().__init__()
        self.embed, self.head = nn.Embedding(words, 8), nn.Linear(8, words)
        self.rnn = nn.LSTM(8, 8, batch_first=True, bidirectional=True)

    def forward(self, ids):
        return self.head(self.rnn(self.embed(ids))[0].chunk(2, -1)[0])


class HalvesByView(Halves):
    def forward(self, ids):
        x = self.rnn(self.embed(ids))[0]
        return self.head(x.unflatten(-1, (2, 8))[:, :, 0])


class Hidden(Body):
    """Words that are to be predicted are taken out before."""

    def forward(self, ids):
        return super().forward(ids.masked_fill(torch.rand(ids.shape) < 0.5, 0))


def cut(model, size):
    batch, steps, words = size
    ids = torch.randint(0, words, (batch, steps + 1))
    scores = model(ids[:, :-1])
    F.cross_entropy(scores.flatten(0, 1), ids[:, 1:].flatten()).backward()


def cut_behind(model, size):
    batch, steps, words = size
    ids = torch.randint(0, words, (batch, steps))
    scores = model(ids)[:, :-1]
    F.cross_entropy(scores.transpose(1, 2), ids[:, 1:]).backward()


def put_together(model, size):
    batch, steps, words = size
    rows = [torch.randint(3, words, (steps - 1 - n % 3,)) for n in range(batch)]
    fill = [torch.zeros(n % 3, dtype=torch.long) for n in range(batch)]
    start, end = torch.tensor([1]), torch.tensor([2])
    ids = torch.stack([torch.cat((start, *one)) for one in zip(rows, fill)])
    labels = torch.stack([torch.cat((a, end, b)) for a, b in zip(rows, fill)])
    F.cross_entropy(model(ids).transpose(1, 2), labels, ignore_index=0).backward()


def same_places(model, size):
    batch, steps, words = size
    ids = torch.randint(0, words, (batch, steps))
    F.cross_entropy(model(ids).transpose(1, 2), ids).backward()


def others(model, size):
    batch, steps, words = size
    ids, tags = torch.randint(0, words, (2, batch, steps + 1)).unbind()
    F.cross_entropy(model(ids[:, :-1]).mT, tags[:, 1:]).backward()


def same_behind(model, size):
    """The first word is left out on both sides."""
    batch, steps, words = size
    ids = torch.randint(0, words, (batch, steps))
    scores = model(ids)[:, 1:]
    F.cross_entropy(scores.flatten(0, 1), ids[:, 1:].flatten()).backward()


LEAKS = {
    "both ways": lambda words: Recurrent(words, True),
    "both ways, two LSTMs": lambda words: Recurrent(words, True, nn.LSTM, 2),
    "packed": lambda words: Packed(words, True),
    "an encoder": lambda words: Body(words, False),
    "an encoder that hides the padding": lambda words: Body(words, False, True),
    "by hand": lambda words: ByHand(words, False),
    "sdpa": lambda words: ByHand(words, False, "sdpa"),
    "a translator": lambda words: Translator(words, False),
    "an autoencoder": lambda words: Bottleneck(words, True),
}
RIGHT = {
    "one way": lambda words: Recurrent(words, False),
    "packed": lambda words: Packed(words, False),
    "a triangle": lambda words: Body(words, True),
    "by hand": lambda words: ByHand(words, True),
    "after the softmax": lambda words: ByHand(words, True, "after"),
    "sdpa": lambda words: ByHand(words, True, "sdpa"),
    "a translator": lambda words: Translator(words, True),
    "written again": lambda words: Translator(words, True, True),
    "a bottleneck": Bottleneck,
    "halves": Halves,
    "halves by a view": HalvesByView,
    "hidden": lambda words: Hidden(words, False),
}


def codes(model, labels, size):
    with shapetrace.trace(model) as t:
        labels(model, size)
    return {found.code for found in t.findings if found.severity != "note"}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("labels", [cut, cut_behind, put_together])
@pytest.mark.parametrize("name", LEAKS)
def test_what_is_to_be_predicted_is_seen(name, labels, size):
    torch.manual_seed(0)
    assert codes(LEAKS[name](size[2]), labels, size) == {"reads-ahead"}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("labels", [cut, cut_behind, put_together])
@pytest.mark.parametrize("name", RIGHT)
def test_a_next_word_that_is_not_seen(name, labels, size):
    torch.manual_seed(0)
    assert codes(RIGHT[name](size[2]), labels, size) == set()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("labels", [same_places, others, same_behind])
@pytest.mark.parametrize("name", LEAKS)
def test_labels_that_are_no_next_word(name, labels, size):
    torch.manual_seed(0)
    assert codes(LEAKS[name](size[2]), labels, size) == set()
