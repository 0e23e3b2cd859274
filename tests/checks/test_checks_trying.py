"""Fixes of findings are called verified where the recording with them shows it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import shapetrace


class Net(nn.Module):
    def __init__(self, width=1):
        super().__init__()
        self.fc = nn.Linear(8, width)

    def forward(self, x):
        return self.fc(x)


def marks(program, width=1):
    """The status of each fix of the one finding."""
    torch.manual_seed(0)
    model = Net(width)
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace(model) as t:
            program(model(torch.randn(6, 8)))
    (found,) = t.findings
    for fix in found.fixes:
        assert f"({fix.status})" in str(found)
    return [fix.status for fix in found.fixes]


def by_hand(made):
    y = torch.randn(6)
    ((made - y) ** 2).mean().backward()


def of_torch(made):
    y = torch.randn(6)
    F.mse_loss(made, y).backward()


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("program", [by_hand, of_torch])
def test_a_column_against_a_row(program):
    assert marks(program) == ["verified", "verified"]


def test_a_normalisation_over_the_features():
    def program(made):
        unit = F.normalize(made, dim=0)
        F.cross_entropy(unit @ unit.T, torch.arange(6)).backward()

    assert marks(program, 5) == ["verified"]


def test_a_mean_that_lost_its_dimension():
    def program(made):
        mean = made.mean(1)
        (made - mean).square().mean().backward()

    assert marks(program, 6) == ["verified"]


def test_where_something_is_stretched_only_then():
    def program(made):
        y = torch.randn(6)
        ((made - y) ** 2 * made.expand(-1, 6)).mean().backward()

    assert "verified" not in marks(program)


def test_where_a_matrix_of_all_pairs_is_asked_for_later():
    def program(made):
        y = torch.randn(6)
        ((made - y) ** 2).view(6, 6).mean().backward()

    assert "verified" not in marks(program)


def test_where_the_total_would_have_another_shape():
    def program(made):
        y = torch.randn(6)
        errors = (made - y) ** 2
        errors.backward(torch.ones(6, 6))

    assert "verified" not in marks(program)


def test_what_no_shape_can_show_stays_untried():
    class Early(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 4)

        def forward(self, x):
            return self.fc(x).softmax(1)

    model = Early()
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace(model) as t:
            F.cross_entropy(model(torch.randn(6, 8)), torch.arange(6) % 4)
    assert {fix.status for found in t.findings for fix in found.fixes} == {"untried"}


def test_where_the_line_itself_is_to_stretch_them():
    class Modulated(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.randn(1, 2, 8))
            self.embed = nn.Linear(4, 8)

        def forward(self, x):
            shift, scale = (self.table + self.embed(x)).chunk(2, dim=1)
            return shift * scale

    model = Modulated()
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace(model) as t:
            model(torch.randn(2, 4)).square().mean().backward()
    assert [fix.status for found in t.findings for fix in found.fixes] == ["verified"]


def test_a_squeeze_that_is_left_out():
    class Squeezed(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 1)

        def forward(self, x):
            return self.fc(x).squeeze(-1)

    model = Squeezed()
    with pytest.warns(shapetrace.ShapeTraceWarning):
        with shapetrace.trace(model) as t:
            ((model(torch.randn(6, 8)) - torch.randn(6, 1)) ** 2).mean().backward()
    (found,) = t.findings
    assert (found.fixes[0].line, found.fixes[0].status) == (
        "return self.fc(x)",
        "verified",
    )


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_training_loop_as_its_first_step():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters())
    with pytest.warns(shapetrace.ShapeTraceWarning), shapetrace.trace() as t:
        for _ in range(600):
            F.mse_loss(model(torch.randn(6, 8)), torch.randn(6)).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert len(t.functions) > 4000
    assert [fix.status for fix in t.findings[0].fixes] == ["verified", "verified"]


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_what_takes_a_call_back_is_that_call_left_out():
    y = torch.randn(6)
    with pytest.warns(shapetrace.ShapeTraceWarning), shapetrace.trace() as t:
        made = Net()(torch.randn(6, 8)).sum(1)
        F.mse_loss(made, y.abs().unsqueeze(1)).backward()
    lines = {fix.line: fix.status for fix in t.findings[0].fixes}
    assert lines["F.mse_loss(made, y.abs()).backward()"] == "verified"
