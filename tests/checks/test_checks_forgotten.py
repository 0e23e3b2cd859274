"""Recurrent layers that are called step by step, and what becomes of their states."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

CODE = "state-forgotten"
#: samples, steps, features: all distinct, and all equal
SIZES = [(5, 7, 3), (4, 4, 4)]


class Model(nn.Module):
    """Layers of all kinds, and what a program makes of them."""

    def __init__(self, use, size):
        super().__init__()
        self.use = use
        self.lstm = nn.LSTM(size, size, batch_first=True)
        self.gru = nn.GRU(size, size)
        self.cell = nn.GRUCell(size, size)
        self.lstm_cell = nn.LSTMCell(size, size)
        self.wide = nn.GRUCell(2 * size, size)
        self.attend = nn.Linear(size, size)

    def forward(self, x):
        return self.use(self, x)


def found(use, sizes):
    samples, steps, size = sizes
    torch.manual_seed(0)
    model, x = Model(use, size), torch.randn(samples, steps, size)
    with shapetrace.trace(model) as t:
        model(x).square().mean().backward()
    return [one for one in t.findings if one.code == CODE]


# -- nothing is handed on --------------------------------------------------------------


def none_given(m, x):
    outs = [m.lstm(x[:, t : t + 1])[0] for t in range(x.size(1))]
    return torch.cat(outs, 1)


def steps_first(m, x):
    return torch.cat([m.gru(step[None])[0] for step in x.transpose(0, 1)])


def made_in_the_loop(m, x):
    outs = []
    for step in x.unbind(1):
        state = torch.zeros(len(x), x.size(2))
        outs.append(m.cell(step, state))
    return torch.stack(outs, 1)


def cell_without_state(m, x):
    return torch.stack([m.lstm_cell(step)[0] for step in x.unbind(1)], 1)


def selected(m, x):
    steps = range(x.size(1))
    return torch.stack([m.cell(x.select(dim=1, index=t)) for t in steps], 1)


def the_first_again(m, x):
    """What a step makes goes into the next input, and not into its state."""
    first, out, outs = x.mean(1), torch.zeros_like(x[:, 0]), []
    for step in x.unbind(1):
        out = m.attend(m.wide(torch.cat([step, out], 1), first))
        outs.append(out)
    return torch.stack(outs, 1)


FORGETS = {
    none_given: "Model.lstm",
    steps_first: "Model.gru",
    made_in_the_loop: "Model.cell",
    cell_without_state: "Model.lstm_cell",
    selected: "Model.cell",
    the_first_again: "Model.wide",
}


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("use", FORGETS, ids=lambda use: use.__name__)
def test_each_step_begins_anew(use, sizes):
    (one,) = found(use, sizes)
    assert f"Model.{one.culprits[0].name}" == FORGETS[use]


class Stacked(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.layers = nn.ModuleList([nn.GRUCell(size, size) for _ in range(2)])

    def forward(self, step, states):
        made = []
        for layer, state in zip(self.layers, states):
            step = layer(step, state)
            made.append(step)
        return step, torch.stack(made)


class Decoder(nn.Module):
    def __init__(self, size, keeps):
        super().__init__()
        self.stacked, self.keeps = Stacked(size), keeps

    def forward(self, x):
        states, out = torch.stack([x.mean(1)] * 2), 0
        for step in x.unbind(1):
            out, made = self.stacked(step + out, states)
            states = made if self.keeps else states
        return out


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize("keeps", [True, False])
def test_the_module_that_is_called_for_each_step_is_named_once(keeps):
    model = Decoder(4, keeps)
    with shapetrace.trace(model) as t:
        model(torch.randn(3, 5, 4)).mean().backward()
    told = [one.culprits[0].name for one in t.findings if one.code == CODE]
    assert told == ([] if keeps else ["stacked"])


# -- look-alikes -----------------------------------------------------------------------


def handed_on(m, x):
    state, outs = None, []
    for t in range(x.size(1)):
        out, state = m.lstm(x[:, t : t + 1], state)
        outs.append(out)
    return torch.cat(outs, 1)


def cell_handed_on(m, x):
    state = torch.zeros(len(x), x.size(2))
    for step in x.unbind(1):
        state = m.cell(step, state)
    return state


def masked_between(m, x):
    """The state is set to zeros where an episode ended."""
    state, ends = torch.zeros(len(x), x.size(2)), torch.rand(x.size(1), len(x), 1) > 0.5
    for step, end in zip(x.unbind(1), ends):
        state = m.cell(step, torch.where(end, torch.zeros_like(state), state))
    return state


def whole_sequences(m, x):
    return torch.stack([m.lstm(x.roll(k, 1))[0] for k in range(3)])


def two_views(m, x):
    return m.cell(x[:, 0]) + m.cell(x[:, 1])


def futures(m, x):
    """One state, and what comes of several actions."""
    state = m.cell(x[:, 0])
    return torch.stack([m.cell(step, state) for step in x.unbind(1)], 1)


def futures_of_a_plan(m, x):
    """The same of a state that another layer has made."""
    state = m.attend(x.mean(1))
    return torch.stack([m.cell(step, state) for step in x.unbind(1)], 1)


def samples_one_by_one(m, x):
    """Each sample is a sequence without a batch."""
    return torch.stack([m.gru(sample)[0] for sample in x])


def players(m, x):
    """Each player has a state of its own, made before all of them move."""
    states = [torch.zeros(len(x), x.size(2)) for _ in range(x.size(1))]
    return sum(m.cell(step, state) for step, state in zip(x.unbind(1), states))


def players_of_one_table(m, x):
    states = torch.zeros_like(x)
    return sum(m.cell(x[:, i], states[:, i]) for i in range(x.size(1)))


def rounds(m, x):
    """A message is the same in each round, the state is not."""
    state, message = x[:, 0], x.mean(1)
    for _ in range(4):
        state = m.cell(message, state)
    return state


def leaves_and_their_parents(m, x):
    """The leaves of a tree begin at nothing, their parents at them."""
    leaves = [m.cell(step) for step in x.unbind(1)]
    while len(leaves) > 1:
        pairs = zip(leaves[::2], leaves[1::2])
        leaves = [m.cell(one, two) for one, two in pairs]
    return leaves[0]


def dropped_twice(m, x):
    """The same sample again, as dropout is sampled."""
    return torch.stack([m.cell(x[:, 0]) for _ in range(4)])


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    "use",
    [
        *(handed_on, cell_handed_on, masked_between, whole_sequences, two_views),
        *(futures, players, players_of_one_table, rounds, dropped_twice),
        *(leaves_and_their_parents, futures_of_a_plan, samples_one_by_one),
    ],
    ids=lambda use: use.__name__,
)
def test_steps_that_look_alike(use, sizes):
    assert found(use, sizes) == []


def test_a_step_for_each_call_of_the_model():
    """An agent that acts: the state is the caller's."""
    model = Model(lambda m, x: m.lstm(x)[0], 4)
    with shapetrace.trace(model) as t:
        loss = sum(
            F.mse_loss(model(torch.randn(2, 1, 4)), torch.zeros(2, 1, 4))
            for _ in "abcd"
        )
        loss.backward()
    assert [one for one in t.findings if one.code == CODE] == []


class Team(nn.Module):
    """Players of one layer, whose states are the caller's, and none at first."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(4, 4)

    def forward(self, x, states):
        return [self.cell(*pair) for pair in zip(x.unbind(1), states)]


def test_states_that_come_with_the_second_call():
    model, states, loss = Team(), [None] * 3, 0
    with shapetrace.trace(model) as t:
        for _ in range(2):
            states = model(torch.randn(2, 3, 4), states)
            loss = loss + torch.stack(states).square().mean()
        loss.backward()
    assert [one for one in t.findings if one.code == CODE] == []
