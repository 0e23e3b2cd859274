"""Constants that are compared with padding, and losses that leave it out."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import shapetrace

pytestmark = pytest.mark.filterwarnings("ignore")
#: batch, time, features: all apart, and the same
SIZES = [(5, 7, 6), (6, 6, 6)]


class Packed(nn.Module):
    def __init__(self, width, last=None):
        super().__init__()
        self.rnn = nn.GRU(width, width, batch_first=True)
        self.head, self.last = nn.Linear(width, 1), last or (lambda x, valid: x)

    def forward(self, x, valid):
        lengths = valid.sum(1).long()
        packed = pack_padded_sequence(x, lengths, True, enforce_sorted=False)
        out, _ = pad_packed_sequence(self.rnn(packed)[0], True, total_length=x.shape[1])
        return self.head(self.last(out, valid))[..., 0]


class Attending(nn.Module):
    def __init__(self, width, last=None):
        super().__init__()
        self.embed, self.mix = nn.Linear(width, width), nn.MultiheadAttention(
            width, 2, batch_first=True
        )
        self.head, self.last = nn.Linear(width, 1), last or (lambda x, valid: x)

    def forward(self, x, valid):
        x = self.embed(x)
        x = x + self.mix(x, x, x, key_padding_mask=~valid)[0]
        return self.head(self.last(x, valid))[..., 0]


def lengths_of(size, equal=False):
    full = torch.full(size[:1], size[1])
    return full if equal else torch.arange(size[0]) % 4 + 1


def alarms(kind, size, loss, last=None, equal=False):
    model, x = kind(size[2], last), torch.randn(size)
    lengths = lengths_of(size, equal)
    with shapetrace.trace(model) as t:
        valid = torch.arange(size[1])[None] < lengths[:, None]
        scores = model(x, valid)
        loss(scores, valid).backward()
    return [one.code for one in t.findings if one.severity != "note"]


logits = F.binary_cross_entropy_with_logits
WRONG = {
    "ones": lambda s, valid: logits(s, torch.ones_like(s)),
    "zeros": lambda s, valid: F.mse_loss(s, torch.zeros(s.shape)),
    "sigmoid": lambda s, valid: F.binary_cross_entropy(s.sigmoid(), torch.ones_like(s)),
    "flattened": lambda s, valid: logits(s.reshape(-1), torch.ones(s.numel())),
    "both": lambda s, valid: logits(
        torch.cat([s.flatten(), -s.flatten()]),
        torch.cat([torch.ones(s.numel()), torch.zeros(s.numel())]),
    ),
    "cut": lambda s, valid: logits(s[:, :-1], torch.ones_like(s[:, 1:])),
    "summed": lambda s, valid: logits(s, torch.ones_like(s), reduction="sum"),
}
RIGHT = {
    "selected": lambda s, valid: logits(s[valid], torch.ones_like(s[valid])),
    "masked_select": lambda s, valid: logits(
        s.masked_select(valid), torch.ones(int(valid.sum()))
    ),
    "not reduced": lambda s, valid: (
        logits(s, torch.ones_like(s), reduction="none") * valid
    ).sum()
    / valid.sum(),
    "weights": lambda s, valid: logits(s, torch.ones_like(s), weight=valid.float()),
    "filled": lambda s, valid: logits(s.masked_fill(~valid, 9.0), torch.ones_like(s)),
    "targets of the mask": lambda s, valid: logits(s, valid.float()),
    "data": lambda s, valid: logits(s, torch.randint(2, s.shape).float()),
    "mean over the tokens": lambda s, valid: logits(
        (s * valid).sum(1) / valid.sum(1), torch.ones(len(s))
    ),
    "the first step": lambda s, valid: logits(s[:, 0], torch.ones(len(s))),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [Packed, Attending])
@pytest.mark.parametrize("name", WRONG)
def test_constants_for_the_padding(name, kind, size):
    assert alarms(kind, size, WRONG[name]) == ["padding-in-loss"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [Packed, Attending])
@pytest.mark.parametrize("name", RIGHT)
def test_the_padding_is_left_out(name, kind, size):
    assert alarms(kind, size, RIGHT[name]) == []


@pytest.mark.parametrize("name", WRONG)
def test_sequences_of_one_length_have_no_padding(name):
    assert alarms(Packed, (5, 7, 6), WRONG[name], equal=True) == []


@pytest.mark.parametrize("kind", [Packed, Attending])
def test_the_last_step_of_each(kind):
    def last(x, valid):
        return x[torch.arange(len(x)), valid.sum(1) - 1]

    assert alarms(kind, (5, 7, 6), WRONG["ones"], last) == []
