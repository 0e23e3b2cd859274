"""LSTMs that start from a hidden state for their cell state, and those that may."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from tests.checks.test_checks_kinds import findings, silent

#: batch, time, width
SIZES = [(3, 5, 4), (4, 4, 4)]


class Parts:
    def __init__(self, batch, time, width):
        self.batch, self.width = batch, width
        self.encoder = nn.LSTM(width, width, batch_first=True)
        self.decoder = nn.LSTM(width, width, batch_first=True)
        self.both_ways = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.twice_as_wide = nn.LSTM(width, 2 * width, batch_first=True)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.cell, self.linear = nn.LSTMCell(width, width), nn.Linear(width, width)
        self.first = nn.Parameter(torch.randn(1, 1, width))
        self.x, self.y = torch.randn(2, batch, time, width)

    def decode(self, h, c, *more, decoder=None):
        out, _ = (decoder or self.decoder)(self.y, (h, c))
        sum([out.square().mean(), *(one.square().mean() for one in more)]).backward()


def the_same_state_twice(parts):
    _, (h, _) = parts.encoder(parts.x)
    parts.decode(h, h)


def sorted_back_twice(parts):
    _, (h, c) = parts.encoder(parts.x)
    order = torch.randperm(parts.batch)
    parts.decode(h[:, order].contiguous(), h[:, order].contiguous())


def an_unused_cell_state_is_sorted_back_too(parts):
    _, (h, c) = parts.encoder(parts.x)
    order = torch.randperm(parts.batch)
    c = c[:, order]
    parts.decode(h[:, order], h[:, order])


def two_directions_side_by_side(parts):
    _, (h, _) = parts.both_ways(parts.x)
    h = torch.cat([h[0], h[1]], -1)[None]
    parts.decode(h, h, decoder=parts.twice_as_wide)


def packed(parts):
    lengths = [parts.x.shape[1]] * parts.batch
    given = pack_padded_sequence(parts.x, lengths, True, enforce_sorted=False)
    _, (h, _) = parts.encoder(given)
    parts.decode(h, h)


def an_answer_that_is_packed(parts):
    _, (h, _) = parts.encoder(parts.x)
    lengths = [parts.y.shape[1]] * parts.batch
    given = pack_padded_sequence(parts.y, lengths, True, enforce_sorted=False)
    parts.decoder(given, (h, h))[0].data.square().mean().backward()


def each_step_by_itself(parts):
    h = c = torch.zeros(parts.batch, parts.width)
    for step in parts.x.unbind(1):
        h, _ = parts.cell(step, (h, h))
    (h + c).square().mean().backward()


MISTAKES = {
    the_same_state_twice: "LSTM_2",
    sorted_back_twice: "getitem",
    an_unused_cell_state_is_sorted_back_too: "getitem",
    two_directions_side_by_side: "LSTM_2",
    packed: "LSTM_2",
    an_answer_that_is_packed: "LSTM_2",
    each_step_by_itself: "LSTMCell",
}


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("program", MISTAKES)
def test_a_hidden_state_in_the_place_of_a_cell_state(program, sizes):
    told = findings(program, Parts(*sizes))
    assert told[0] == ("hidden-as-cell", MISTAKES[program]) and len(told) == 1


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_both_states_in_the_other_order(sizes):
    def program(parts):
        _, (h, c) = parts.encoder(parts.x)
        parts.decode(c, h)

    assert findings(program, Parts(*sizes)) == [("hidden-as-cell", "LSTM_2")]


def handed_on(parts):
    parts.decode(*parts.encoder(parts.x)[1])


def zeros_for_both(parts):
    zeros = torch.zeros(1, parts.batch, parts.width)
    parts.decode(zeros, zeros)


def learned_for_both(parts):
    h = parts.first.expand(-1, parts.batch, -1).contiguous()
    parts.decode(h, h)


def features_for_both(parts):
    h = parts.linear(parts.x.mean(1))[None]
    parts.decode(h, h)


def features_of_a_hidden_state_for_both(parts):
    h = torch.tanh(parts.linear(parts.encoder(parts.x)[1][0]))
    parts.decode(h, h)


def of_a_gru(parts):
    h = parts.gru(parts.x)[1]
    parts.decode(h, h)


def the_last_step_as_features(parts):
    h = parts.encoder(parts.x)[0][:, -1].unsqueeze(0)
    parts.decode(h, h)


def the_cell_state_starts_at_zero(parts):
    h = parts.encoder(parts.x)[1][0]
    parts.decode(h, torch.zeros_like(h))


def the_hidden_state_starts_at_zero(parts):
    h = parts.encoder(parts.x)[1][0]
    parts.decode(torch.zeros_like(h), h)


def the_cell_state_goes_to_another_layer(parts):
    _, (h, c) = parts.encoder(parts.x)
    parts.decode(h, h, parts.linear(c))


def the_cell_state_is_read(parts):
    _, (h, c) = parts.encoder(parts.x)
    c[0, 0, 0].item()
    parts.decode(h, h)


def both_ways_and_joined(parts):
    _, (h, c) = parts.both_ways(parts.x)
    h, c = (torch.cat([one[0], one[1]], -1)[None] for one in (h, c))
    parts.decode(h, c, decoder=parts.twice_as_wide)


def joined_with_features(parts):
    h = parts.encoder(parts.x)[1][0]
    h = torch.cat([h, parts.linear(parts.x.mean(1))[None]], -1)
    parts.decode(h, h, decoder=parts.twice_as_wide)


def of_two_encoders(parts):
    h = parts.encoder(parts.x)[1][0]
    parts.decode(h, parts.decoder(parts.x)[1][0])


def step_by_step(parts):
    h = c = torch.zeros(parts.batch, parts.width)
    for step in parts.x.unbind(1):
        h, c = parts.cell(step, (h, c))
    h.square().mean().backward()


def over_batches(parts):
    state = None
    for _ in range(3):
        out, state = parts.encoder(parts.x, state)
        out.square().mean().backward()
        state = tuple(one.detach() for one in state)


CORRECT = [
    *(handed_on, zeros_for_both, learned_for_both, features_for_both, of_a_gru),
    *(features_of_a_hidden_state_for_both, the_last_step_as_features),
    *(the_cell_state_starts_at_zero, the_hidden_state_starts_at_zero),
    *(the_cell_state_goes_to_another_layer, the_cell_state_is_read, over_batches),
    *(both_ways_and_joined, of_two_encoders, step_by_step, joined_with_features),
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("program", CORRECT, ids=lambda one: one.__name__)
def test_states_that_are_what_they_are_taken_for(program, sizes):
    assert silent(program, Parts(*sizes))
