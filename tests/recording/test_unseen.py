"""Module calls that hooks cannot see are said to be so, and no other."""

import pytest
import torch
from torch import nn

import shapetrace


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        return torch.relu(self.linear(x))


class Child(Base):
    def forward(self, x):
        return super().forward(x) * 2


class Top(nn.Module):
    def __init__(self):
        super().__init__()
        self.base, self.child = Base(), Child()

    def forward(self, x):
        return self.child(self.base(x))


def notes(model, step):
    with shapetrace.trace(model) as t:
        step(model)
    return [note for note in t.recording.notes if "row" in note]


def test_a_forward_that_is_called_as_a_method_is_named():
    (note,) = notes(Top(), lambda model: model.child.forward(torch.ones(2, 3)))
    assert note.startswith("`Child.forward`: called as a method")
    (note,) = notes(Top(), lambda model: model.base.forward(torch.ones(2, 3)))
    assert note.startswith("`Base.forward`")


def test_calls_that_hooks_see_are_not():
    assert not notes(Top(), lambda model: model(torch.ones(2, 3)))
    assert not notes(Child(), lambda model: model(torch.ones(2, 3)))


@pytest.mark.filterwarnings("ignore")
def test_a_scripted_child_is_one_row():
    script = torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    model = nn.Sequential(nn.Linear(3, 3), script)
    (note,) = notes(model, lambda model: model(torch.ones(2, 3)))
    assert note == "`1`: scripted, and one row: what it calls inside is not seen"


class Maker(nn.Module):
    """Calls a module that it makes of a class of its own children."""

    def __init__(self):
        super().__init__()
        self.child = Child()

    def forward(self, x):
        return Child()(self.child(x))


def test_a_module_that_a_forward_makes_is_told_of():
    model = Maker()
    with shapetrace.trace(model) as t:
        model(torch.ones(2, 3))
    (note,) = t.recording.notes
    assert note.startswith("`Child.forward`") and "made in a forward" in note
    assert [call.name for call in t.calls if call.type == "Child"] == ["child"]
