"""Who made two operands stretch each other is asked of the diagnosis, and what mends it
is tried."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace
from shapetrace.diagnosis.consider import consider
from shapetrace.diagnosis.detection.detect import stretched
from shapetrace.lineage import Graph

pytestmark = pytest.mark.filterwarnings("ignore")
SIZES = 5, 1


class Net(nn.Module):
    """A column, of which `shape` makes what the model returns."""

    def __init__(self, shape):
        super().__init__()
        self.fc, self.shape = nn.Linear(6, 1), shape

    def forward(self, x):
        return self.shape(self.fc(x))


def found_in(model, program, *shapes):
    with shapetrace.trace(model) as t:
        x, *data = torch.randn(5, 6), *map(torch.rand, shapes)
        program(model(x), *data).backward()
    return [one for one in t.findings if one.code == "silent-broadcast"]


def lines(found):
    return [(fix.line.strip(), fix.status) for fix in found.fixes]


def test_a_squeeze_of_the_wrong_dimension_is_named_and_mended():
    def dropped(x):
        return x.squeeze(0)

    (found,) = found_in(Net(dropped), F.mse_loss, 5)
    assert found.culprits[0].name == "squeeze"
    assert lines(found)[0] == ("return x.squeeze(1)", "verified")


def test_what_a_target_was_given_for_the_loss_alone_is_left_out():
    def program(made, y):
        return F.mse_loss(made, y.unsqueeze(-1))

    (found,) = found_in(Net(lambda x: x.flatten()), program, 5)
    assert found.culprits[0].kind == "target"
    assert lines(found)[0] == ("return F.mse_loss(made, y)", "verified")


def test_two_statements_that_one_line_elsewhere_mends_are_one_finding():
    def column(x):
        return x[:, 0]

    def program(made, y, old):
        near = old + (made - old).clamp(-0.2, 0.2)
        return torch.max((y - made) ** 2, (y - near) ** 2).mean()

    (found,) = found_in(Net(column), program, SIZES, SIZES)
    assert "The same at" in str(found)
    # `old` squeezed would stretch the sum: only the column can be what is mended
    assert found.culprits[0].name == "getitem"
    assert lines(found) == [("return x[:, 0:1]", "verified"), ("return x", "verified")]


def test_a_fix_with_which_another_call_would_stretch_has_moved_the_mistake():
    with shapetrace.trace() as t:
        made = nn.Linear(6, 1)(torch.randn(5, 6)) * 2
        scaled = made * torch.rand(SIZES)
        error = made - torch.rand(5)
        ((error**2).mean() + scaled.mean()).backward()
    graph = Graph(t.recording)
    (call,) = [one for one in graph.rec.functions if one.name == "sub"]
    mismatch = stretched(graph, call, *call.inputs, True)
    outcomes = {
        entry.hypothesis.line.strip(): entry.hypothesis.outcome.status
        for entry in consider(graph, mismatch).scored
    }
    assert outcomes["error = made.squeeze(1) - torch.rand(5)"] == "verified"
    everywhere = "made = (nn.Linear(6, 1)(torch.randn(5, 6)) * 2).squeeze(1)"
    assert outcomes[everywhere] == "moved"


def test_a_dimension_of_an_index_is_made_by_who_takes_it():
    chosen = torch.randint(3, (5,))
    head = nn.Linear(6, 3)
    with shapetrace.trace(head) as t:
        taken = head(torch.randn(5, 6)).gather(1, chosen.unsqueeze(1))
        F.smooth_l1_loss(taken, torch.rand(5)).backward()
    assert t.findings[0].culprits[0].name == "gather"


@pytest.mark.parametrize("steps", [1, 700])
def test_a_mistake_of_each_step_is_one_finding_with_its_fixes_tried(steps):
    model = nn.Linear(6, 1)
    with shapetrace.trace(model) as t:
        for _ in range(steps):
            F.mse_loss(model(torch.randn(5, 6)), torch.rand(5)).backward()
    (found,) = [one for one in t.findings if one.code == "silent-broadcast"]
    assert [status for _, status in lines(found)] == ["verified", "verified"]
