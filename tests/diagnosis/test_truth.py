"""No explanation states what the recording contradicts, none is too long to read."""

from __future__ import annotations

import types
from dataclasses import replace

import pytest
import torch
from broken_programs import PROGRAMS
from truth import false_statements, reckoned

import shapetrace
from shapetrace.diagnosis.words.text import told


def explained(code, path):
    """What is said of a program, and the recording."""
    path.write_text(code)
    program = types.ModuleType("program")
    exec(compile(code, str(path), "exec"), program.__dict__)
    torch.manual_seed(0)
    model = program.build()
    with pytest.raises(Exception):
        with shapetrace.trace(model) as t:
            program.step(model)
    return t.failure, t.recording


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_false_and_not_too_long(name, tmp_path):
    found, rec = explained(PROGRAMS[name], tmp_path / "program.py")
    assert list(false_statements(found, rec)) == []
    lines = found.text.split("\n")
    assert len(lines) <= 25 and max(map(len, lines)) <= 100


NET = """import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 4), nn.Linear(5, 2)
        self.register_buffer("mask", torch.ones(3, 7))
    def forward(self, x):
        return self.fc2(self.fc1(x.flatten(1)))
def build():
    return Net()
def step(model):
    return model(torch.ones(2, 3, 2))
"""


@pytest.fixture
def net(tmp_path):
    return explained(NET, tmp_path / "program.py")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"message": "12 = 3·8·32·32"}, "12 = 3·8·32·32"),
        ({"message": "dim 1 of the input is 9"}, "dim 1 of the input (2, 4) is not 9"),
        ({"message": "its in_features is 77"}, "fc2.in_features is 5, not 77"),
        ({"message": "its groups is 77"}, "fc2 (Linear) has no groups"),
        ({"message": "of `fc3`"}, "`fc3` is nowhere"),
        ({"message": "the weight `mask`"}, "mask is a buffer, not a weight"),
        ({"remarks": ("see line 99",)}, "line 99 of 13"),
    ],
)
def test_a_false_statement_is_found(net, change, says):
    found, rec = net
    if "mask" in says:
        origin = shapetrace.records.Origin("buffer", "mask")
        rec = replace(rec, origins={**rec.origins, -1: origin})
    assert list(false_statements(found, rec)) == []
    assert says in list(false_statements(told(rec, replace(found, **change)), rec))


def test_a_false_way_back_is_found(net):
    found, rec = net
    step = replace(found.lineage[0], dim=1, shape=(2, 4), how="2·3: both as they came")
    wrong = replace(found, lineage=(step,))
    assert list(false_statements(wrong, rec)) == [f"{step.name}: 4 is not 2·3"]


@pytest.mark.parametrize(
    ("formula", "number"), [("3·4", 12), ("(7 - 3) / 3 + 1", 2), ("2 + ", None)]
)
def test_formulas_are_reckoned_as_torch_does(formula, number):
    assert reckoned(formula) == number
