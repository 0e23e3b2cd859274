"""What an optimizer computes in its step, and what of it is the program's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import shapetrace
from shapetrace.lineage import Graph


def traced(optimizer, model, closure=False, **options):
    x, y = torch.randn(5, 3), torch.randn(5, 2)

    def loss_of():
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        return loss

    with shapetrace.trace(model, checks=False, **options) as t:
        if closure:
            optimizer.step(loss_of)
        else:
            loss_of()
            optimizer.step()
        (model(x) + 1).sum()
    return t


BATCH = ["linear", "mse_loss", "backward"]


@pytest.mark.parametrize("timing", [True, False])
@pytest.mark.parametrize("foreach", [True, False])
def test_the_optimizers_own_calls_are_none_of_the_program(foreach, timing):
    model = nn.Linear(3, 2)
    adam = torch.optim.Adam(model.parameters(), foreach=foreach)
    t = traced(adam, model, timing=timing)
    graph = Graph(t.recording)
    assert [call.name for call in graph.program] == [*BATCH, "linear", "add", "sum"]
    assert len(t.functions) > 12


def test_what_a_closure_does_is_the_programs():
    model = nn.Linear(3, 2)
    lbfgs = torch.optim.LBFGS(model.parameters(), max_iter=2)
    t = traced(lbfgs, model, closure=True)
    names = [call.name for call in Graph(t.recording).program]
    evaluated = names.count("backward")
    assert evaluated >= 2
    assert names == [*BATCH * evaluated, "linear", "add", "sum"]
    assert len(t.functions) > len(names)


def test_a_range_stands_among_the_calls_in_their_order():
    model = nn.Linear(3, 2)
    t = traced(torch.optim.SGD(model.parameters()), model, timing=False)
    (step,) = (r for r in t.recording.ranges if r.name.startswith("Optimizer.step#"))
    inside = [c.name for c in t.functions if step.order < c.order < step.end_order]
    assert inside == ["add_", "add_"]  # weight and bias


def test_a_parameter_that_was_stepped_stays_one():
    model = nn.Linear(3, 2)
    t = traced(torch.optim.SGD(model.parameters()), model)
    last = [call for call in t.functions if call.name == "linear"][-1]
    assert Graph(t.recording).is_parameter(last.inputs[1].id)
