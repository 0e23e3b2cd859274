"""A state goes on from one batch to the next, and the last batch is shorter."""

import pytest
import torch
import torch.nn.functional as F
from failures import failure_of, first
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import shapetrace


class Tagger(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.embed = nn.Embedding(30, 6)
        self.rnn = kind(6, 10, batch_first=True)
        self.head = nn.Linear(10, 4)

    def forward(self, x, state):
        out, state = self.rnn(self.embed(x), state)
        return self.head(out), state


def tokens(count):
    return TensorDataset(torch.randint(0, 30, (count, 7)))


def detached(state):
    if isinstance(state, tuple):
        return tuple(part.detach() for part in state)
    return state.detach()


def epoch(model, loader, state=None):
    for (batch,) in loader:
        out, state = model(batch, state)
        out.sum().backward()
        state = detached(state)


def test_the_loader_is_told_to_leave_the_rest_out():
    model = Tagger(nn.LSTM)

    def train():
        state = None
        loader = DataLoader(tokens(22), batch_size=8)
        for (batch,) in loader:
            out, state = model(batch, state)
            state = detached(state)

    found = failure_of(model, train)
    assert first(found)[0] == "input"
    told = found.culprits[0].reason
    assert "is a batch of 6, and `model.rnn` goes on from the state" in told
    fix = found.fixes[0]
    assert fix.line == "loader = DataLoader(tokens(22), batch_size=8, drop_last=True)"
    assert fix.status == "untried" and "the last batch" in fix.loses


def test_of_two_loaders_it_is_the_one_of_the_loop():
    model = Tagger(nn.GRU)

    def train():
        training = DataLoader(tokens(24), batch_size=8)
        held_out = DataLoader(tokens(20), batch_size=8)
        state = None
        for loader in (training,):
            for (batch,) in loader:
                _, state = model(batch, state)
        for (batch,) in held_out:
            _, state = model(batch, detached(state))

    found = failure_of(model, train)
    assert first(found)[0] == "input"
    assert found.fixes[0].line.startswith("held_out = ")


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.read = nn.Linear(5, 8)
        self.keep = nn.Linear(8, 8)

    def forward(self, x, state):
        return torch.tanh(self.read(x) + self.keep(state))


def test_a_state_of_the_users_own_layers():
    model = Cell()

    def train():
        state = torch.zeros(8, 8)
        for batch in (torch.randn(8, 5), torch.randn(8, 5), torch.randn(3, 5)):
            state = model(batch, state).detach()

    found = failure_of(model, train)
    assert first(found)[0] == "input"
    assert "is a batch of 3" in found.culprits[0].reason


def test_a_first_state_that_does_not_fit_is_no_kept_one():
    model = Tagger(nn.GRU)
    state = torch.zeros(1, 8, 10)
    found = failure_of(model, lambda: model(torch.randint(0, 30, (4, 7)), state))
    assert "goes on from the state" not in str(found)
    assert not any("drop_last" in fix.line for fix in found.fixes)


def test_a_loop_that_splits_its_data_is_not_told_to_chunk_them():
    model = Tagger(nn.GRU)
    data = torch.randint(0, 30, (22, 7))

    def train():
        state = None
        for batch in data.split(8):
            _, state = model(batch, state)
            state = detached(state)

    found = failure_of(model, train)
    assert first(found)[0] == "input"
    assert not any("chunk" in fix.line for fix in found.fixes)


def test_what_another_layer_of_the_same_batch_made_is_kept_from_none():
    embed, lstm = nn.Embedding(9, 16), nn.LSTM(10, 8)
    with pytest.raises(RuntimeError):
        with shapetrace.trace() as t:
            lstm(embed(torch.zeros(3, 2, dtype=torch.long)))
    assert "kept from an earlier batch" not in str(t.failure)


class Carries(nn.Module):
    """What one batch left behind goes into the next."""

    def __init__(self, keep):
        super().__init__()
        self.fc, self.cell, self.keep = nn.Linear(5, 7), nn.GRUCell(5, 7), keep
        self.kept = None

    def forward(self, x):
        made = self.cell(x, self.kept) if self.keep == "cell" else self.fc(x)
        if self.kept is not None and self.keep == "sum":
            made = made + self.kept
        if self.kept is not None and self.keep == "product":
            made = self.kept * made.sigmoid()
        self.kept = made.detach()
        return made


@pytest.mark.parametrize("keep", ["sum", "product", "cell"])
@pytest.mark.parametrize("last", [3, 11])
def test_what_the_model_kept_of_an_earlier_batch_is_told_by_its_line(keep, last):
    model = Carries(keep)

    def train():
        for size in (12, 12, last):
            model(torch.randn(size, 5)).sum().backward()

    found = failure_of(model, train)
    assert first(found) == ("function", "detach")
    assert "the 12 is kept from an earlier batch" in found.culprits[0].reason


LOSSES = (F.mse_loss, F.binary_cross_entropy_with_logits, F.cross_entropy)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_target_made_once_for_a_whole_batch_stays_when_the_last_one_is_short(loss):
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
    wanted = torch.rand(8, 6)
    if loss is F.cross_entropy:
        wanted = torch.randint(0, 6, (8,))

    def train():
        for size in (8, 8, 5):
            loss(model(torch.randn(size, 4)), wanted).backward()

    found = failure_of(model, train)
    assert first(found)[0] == "target"
    assert "it is the very tensor of the batch before" in found.culprits[0].reason
