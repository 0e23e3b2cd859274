"""Labels that are the inputs, under a causal mask that was made in any way."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from tests.checks.test_checks_kinds import findings, silent


class Attention(nn.Module):
    def __init__(self, mask=None, width=8):
        super().__init__()
        self.qkv, self.made = nn.Linear(width, 3 * width), mask
        self.register_buffer("past", torch.tril(torch.ones(9, 9)).view(1, 9, 9))
        band = torch.ones(9, 9)
        self.register_buffer("band", band)
        self.later = torch.triu(band, 1).bool()

    def forward(self, x, given=None):
        q, k, v = self.qkv(x).chunk(3, -1)
        scores, t = q @ k.mT / 8**0.5, x.shape[1]
        if given is None:
            given = self.later if self.made is None else self.made(self, t)
        return scores.masked_fill(given[..., :t, :t], float("-inf")).softmax(-1) @ v


class Model(nn.Module):
    def __init__(self, mask=None, words=9):
        super().__init__()
        self.embed, self.place = nn.Embedding(words, 8), nn.Embedding(9, 8)
        self.attend, self.head = Attention(mask), nn.Linear(8, words)

    def forward(self, ids, given=None):
        x = self.embed(ids) + self.place(torch.arange(ids.shape[1]))
        return self.head(x + self.attend(x, given))


def look_ahead(steps):
    ones = torch.ones(steps, steps)
    return ones.triu(1) == 1


MASKS = {
    "a buffer": lambda own, t: own.past == 0,
    "an attribute": None,
    "places": lambda own, t: torch.arange(t)[:, None] < torch.arange(t),
    "triu": lambda own, t: torch.ones(t, t).triu(1).bool(),
}


@pytest.mark.parametrize("size", [(4, 7, 20), (9, 9, 9)])
@pytest.mark.parametrize("name", MASKS)
def test_the_inputs_as_labels_under_a_mask_by_hand(name, size):
    batch, steps, words = size
    model, ids = Model(MASKS[name], words), torch.randint(0, words, (batch, steps))

    def copied():
        F.cross_entropy(model(ids).transpose(1, 2), ids).backward()

    def shifted():
        F.cross_entropy(model(ids[:, :-1]).transpose(1, 2), ids[:, 1:]).backward()

    def padded():  # a start is put before them, and the last one is left out
        given = F.pad(ids, (1, 0))[:, :-1]
        F.cross_entropy(model(given).flatten(0, 1), ids.flatten()).backward()

    assert [code for code, _ in findings(copied)] == ["label-shift"]
    assert silent(shifted)
    assert silent(padded)


def test_a_mask_that_is_no_triangle_hides_nothing_to_come():
    ids = torch.randint(0, 9, (4, 9))
    for mask in (lambda own, t: own.band == 0, lambda own, t: torch.eye(t).bool()):
        model = Model(mask)
        assert silent(
            lambda: F.cross_entropy(model(ids).mT, ids).backward()  # noqa: B023
        )


@pytest.mark.parametrize("size", [(4, 7, 20), (9, 9, 9)])
def test_a_mask_that_was_made_before_the_block(size):
    batch, steps, words = size
    model, mask = Model(None, words), look_ahead(steps)
    ids = torch.randint(0, words, (batch, steps))
    with pytest.warns(shapetrace.ShapeTraceWarning, match="label-shift"):
        with shapetrace.trace(model) as t:
            F.cross_entropy(model(ids, mask).transpose(1, 2), ids).backward()
    assert t.findings[0].code == "label-shift"
    with shapetrace.trace(model) as t:
        scores = model(ids, mask)[:, :-1]
        F.cross_entropy(scores.transpose(1, 2), ids[:, 1:]).backward()
    assert not t.findings


class Transformer(nn.Module):
    def __init__(self, words):
        super().__init__()
        self.embed, self.head = nn.Embedding(words, 8), nn.Linear(8, words)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.mask = nn.Transformer.generate_square_subsequent_mask(9)

    def forward(self, ids, mask=None):
        mask = self.mask[: ids.shape[1], : ids.shape[1]] if mask is None else mask
        return self.head(self.body(self.embed(ids), mask=mask))


@pytest.mark.parametrize("size", [(4, 7, 20), (9, 9, 9)])
@pytest.mark.parametrize("given", [True, False])
def test_the_mask_of_a_transformer(size, given):
    batch, steps, words = size
    model, ids = Transformer(words), torch.randint(0, words, (batch, steps))
    mask = None
    if given:
        mask = nn.Transformer.generate_square_subsequent_mask(steps)

    def copied():
        F.cross_entropy(model(ids, mask).transpose(1, 2), ids).backward()

    def shifted():
        scores = model(ids, mask)[:, :-1].flatten(0, 1)
        F.cross_entropy(scores, ids[:, 1:].flatten()).backward()

    assert [code for code, _ in findings(copied)] == ["label-shift"]
    assert silent(shifted)


class Autoencoder(nn.Module):
    def __init__(self, words=9):
        super().__init__()
        self.embed, self.head = nn.Embedding(words, 8), nn.Linear(8, words)
        self.body = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)

    def forward(self, ids):
        start = torch.cat([torch.zeros_like(ids[:, :1]), ids[:, :-1]], 1)
        mask = self.body.generate_square_subsequent_mask(ids.shape[1])
        x = self.body(self.embed(ids), self.embed(start), tgt_mask=mask)
        return self.head(x)


def test_what_is_written_again_from_the_whole_is_no_next_token():
    ids, model = torch.randint(0, 9, (5, 6)), Autoencoder()
    assert silent(lambda: F.cross_entropy(model(ids).mT, ids).backward())
