"""A fix that takes a line away, and a size that is next to what is written."""

import pytest
import torch
from failures import failure_of
from torch import nn
from torch.nn import functional as F

from shapetrace.records import Source
from shapetrace.source import idle

#: samples, and the side of the images: also where they are equal
SIZES = [(4, 20), (5, 5), (3, 6)]


class Turned(nn.Module):
    """Its images come with the channels in front already."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 8, 3, padding=1)

    def forward(self, x):
        x = x.permute(0, 3, 1, 2)
        return F.relu(self.conv(x)).mean((1, 2, 3))


class State(nn.Module):
    """Its state is as long as the sequence."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(12, 16)

    def forward(self, tokens):
        steps = tokens.transpose(0, 1)
        state = torch.zeros(1, steps.size(0), 16)
        return self.rnn(steps, state)[1]


def deletion(sizes):
    batch, side = sizes
    model, x = Turned(), torch.rand(batch, 2, side, side)
    found = failure_of(model, lambda: model(x).sum())
    return found, found.fixes[0]


@pytest.mark.parametrize("sizes", SIZES)
def test_a_line_that_would_do_nothing_goes(sizes):
    found, fix = deletion(sizes)
    assert found.culprits[0].name == "permute"
    assert fix.line == "" and fix.old == "x = x.permute(0, 3, 1, 2)"
    assert fix.status == "verified"
    text = str(found)
    assert "  - x = x.permute(0, 3, 1, 2)" in text
    assert "x = x\n" not in text and "  + \n" not in text
    assert str(fix) == "(without) x = x.permute(0, 3, 1, 2)"


def test_what_else_is_in_the_block(tmp_path):
    file = tmp_path / "script.py"
    file.write_text(
        "if a:\n    x = x.t()\nelse:\n    x = x.t()\n    y = x\nself.x = x\n"
    )

    def left(line, number):
        return idle.unless_idle(line, Source(str(file), number, end_line=number))

    assert left("x = x", 2) == "pass"
    assert left("x = x", 4) == ""
    assert left("self.x = self.x", 6) == ""
    assert left("x = x.t()", 4) == "x = x.t()"
    assert left("x = y", 4) == "x = y"
    assert idle.unless_idle("x = x", None) == "x = x"


@pytest.mark.parametrize("batch, steps", [(4, 9), (9, 4)])
def test_the_other_dimension_of_the_tensor_that_is_named(batch, steps):
    model, x = State(), torch.rand(batch, steps, 12)
    found = failure_of(model, lambda: model(x).sum())
    assert "zeros" in [culprit.name for culprit in found.culprits]
    line = "state = torch.zeros(1, steps.size(1), 16)"
    assert line in [fix.line for fix in found.fixes]
