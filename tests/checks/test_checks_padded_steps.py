"""The last step of sequences that were packed and padded again."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import shapetrace

#: samples, steps, features: all distinct, and all equal
SIZES = [(5, 7, 3), (4, 4, 4)]


class Reader(nn.Module):
    def __init__(self, take, size, batch_first=True, layer=nn.LSTM, sort=False):
        super().__init__()
        self.rnn = layer(size, size, batch_first=batch_first)
        self.head, self.take = nn.Linear(size, 2), take
        self.first, self.sort = batch_first, sort

    def forward(self, x, lengths):
        if self.sort:
            lengths = lengths.sort(descending=True)[0]
        packed = pack_padded_sequence(
            x, lengths, batch_first=self.first, enforce_sorted=self.sort
        )
        out, state = self.rnn(packed)
        out, lengths = pad_packed_sequence(out, batch_first=self.first)
        return self.head(self.take(out, lengths, state))


def found(take, sizes, lengths=None, **options):
    samples, steps, size = sizes
    torch.manual_seed(0)
    model = Reader(take, size, **options)
    x = torch.randn(samples, steps, size)
    if lengths is None:
        lengths = torch.randint(1, steps, (samples,))
        lengths[1] = steps
    with shapetrace.trace(model) as t:
        x = x if model.first else x.transpose(0, 1)
        F.cross_entropy(model(x, lengths), torch.arange(samples) % 2).backward()
    return [one for one in t.findings if one.severity != "note"]


def last(out, lengths, state):
    return out[:, -1]


def last_whole(out, lengths, state):
    return out[:, out.size(1) - 1, :]


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("options", [{}, {"layer": nn.GRU}, {"sort": True}])
@pytest.mark.parametrize("take", [last, last_whole])
def test_the_padding_behind_shorter_sequences(take, options, sizes):
    (one,) = found(take, sizes, **options)
    assert one.code == "recurrent-output" and one.culprits[0].name == "getitem"
    assert "h_n[-1]" in str(one)


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize("sizes", SIZES)
def test_time_first(sizes):
    (one,) = found(lambda out, *_: out[-1], sizes, batch_first=False)
    assert one.code == "recurrent-output"


def own_last(out, lengths, state):
    return out[torch.arange(len(out)), lengths - 1]


def state_of_lstm(out, lengths, state):
    return state[0][-1]


def first(out, lengths, state):
    return out[:, 0]


def mean(out, lengths, state):
    return out.sum(1) / lengths[:, None]


def gathered(out, lengths, state):
    index = (lengths - 1)[:, None, None].expand(-1, 1, out.size(2))
    return out.gather(1, index)[:, 0]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("take", [own_last, state_of_lstm, first, mean, gathered])
def test_what_is_meant(take, sizes):
    assert found(take, sizes) == []


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("take", [last, last_whole])
def test_sequences_that_are_equally_long(take, sizes):
    samples, steps, _ = sizes
    assert found(take, sizes, torch.full((samples,), steps)) == []


def test_shorter_than_what_they_are_padded_to():
    # all of 5 steps, of 7 that the batch has
    assert found(last, (5, 7, 3), torch.full((5,), 5)) == []


def test_a_batch_whose_first_dimension_is_taken_last():
    # out[-1] of samples first is the last sample
    assert found(lambda out, *_: out[-1][: len(out)], (4, 4, 4)) == []
