"""Layers that are never called, beside others that are called more than once."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace

CODE = "layer-never-called"


class Model(nn.Module):
    def __init__(self, use):
        super().__init__()
        self.use = use
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.three, self.wide = nn.Linear(4, 4), nn.Linear(4, 8)
        self.act, self.act2 = nn.ReLU(), nn.ReLU()
        self.many = nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])

    def forward(self, x):
        return self.use(self, x)


def found(use, model=None, times=1):
    torch.manual_seed(0)
    model = model or Model(use)
    with shapetrace.trace(model) as t:
        for _ in range(times):
            model(torch.randn(4, 4)).square().mean().backward()
    return [one for one in t.findings if one.code == CODE]


# -- a name that was not changed -------------------------------------------------------


def copied(m, x):
    one = m.one(x)
    two = m.one(x)
    return one * two + m.three(x)


def in_a_row(m, x):
    x = m.one(x).relu()
    x = m.one(x).relu()
    return m.three(x)


def two_of_three(m, x):
    one = m.one(x)
    two = m.one(x)
    three = m.one(x)
    return one * two + three


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize("use", [copied, in_a_row, two_of_three])
def test_the_layer_that_is_left_over(use):
    (one,) = found(use, times=2)
    assert [culprit.name for culprit in one.culprits] == ["two", "one"]


def of_a_list(m, x):
    x = m.many[0](x)
    x = m.many[0](x)
    return m.one(x) + m.two(x) + m.three(x)


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
def test_the_entry_of_a_list_that_is_left_over():
    (one,) = found(of_a_list)
    assert [culprit.name for culprit in one.culprits] == ["many.1", "many.0"]


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
def test_the_line_is_that_of_the_name_which_is_given():
    (one,) = found(copied)
    assert one.fixes[0].line == "two = m.two(x)"
    (one,) = found(in_a_row)
    assert one.fixes == ()


class Stages(nn.Module):
    """Two blocks of layers of the same kind, and one of another width."""

    def __init__(self, width=4):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        self.second = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 4))

    def forward(self, x):
        x = self.second(x)
        return self.second(x)


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
@pytest.mark.parametrize("width, told", [(4, ["first", "second"]), (6, [])])
def test_blocks_of_layers(width, told):
    findings = found(None, Stages(width))
    assert [who.name for one in findings for who in one.culprits] == told


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(*[Model(copied) for _ in range(3)])

    def forward(self, x):
        return self.blocks(x)


@pytest.mark.filterwarnings("ignore::shapetrace.ShapeTraceWarning")
def test_a_line_of_many_blocks_is_told_once():
    (one,) = found(None, Blocks())
    assert one.culprits[0].name == "blocks.0.two"


# -- look-alikes -----------------------------------------------------------------------


def all_called(m, x):
    one = m.one(x)
    again = m.one(one)
    return again + m.two(x) + m.three(x)


def called_once(m, x):
    return m.one(x)


def in_a_loop(m, x):
    for _ in range(3):
        x = m.one(x)
    return x


def of_other_sizes(m, x):
    one = m.wide(x)
    two = m.wide(x + 1)
    return one * two


def without_parameters(m, x):
    x = m.act(m.one(x))
    x = m.act(m.two(x))
    return m.three(x)


def by_its_weight(m, x):
    one = m.one(x)
    two = m.one(one)
    return F.linear(two, m.two.weight) + m.three(x)


def under_no_grad(m, x):
    with torch.no_grad():
        one = m.one(x)
        two = m.one(one)
    return m.three(two)


def as_a_default(m, x):
    """Three views by one layer: more are left over than it stands for."""
    one = m.one(x)
    two = m.one(x + 1)
    return one * two


def one_expression(m, x):
    return m.one(m.one(x))


LOOK_ALIKES = [
    *(all_called, called_once, in_a_loop, of_other_sizes, without_parameters),
    *(by_its_weight, under_no_grad, as_a_default, one_expression),
]


@pytest.mark.parametrize("use", LOOK_ALIKES, ids=lambda use: use.__name__)
def test_calls_that_look_alike(use):
    assert found(use) == []


@pytest.mark.parametrize("use", [all_called, called_once, by_its_weight])
def test_steps_of_an_optimizer_between_the_calls(use):
    model = Model(use)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with shapetrace.trace(model) as t:
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(4, 4)).square().mean().backward()
            optimizer.step()
    assert [one for one in t.findings if one.code == CODE] == []


def test_a_layer_that_another_batch_calls():
    class Turns(Model):
        def forward(self, x):
            self.turn = not getattr(self, "turn", False)
            if self.turn:
                one = self.one(x)
                return self.one(one) + self.three(x)
            return self.two(x)

    assert found(None, Turns(None), times=2) == []


def test_a_teacher_that_is_in_evaluation():
    model = Model(copied)
    model.two.eval()
    assert found(None, model) == []
