"""Functions that a library calls for a line of the user's are not the line's own."""

import pytest
import torch
from failures import failure_of
from torch import nn
from torch.distributions import Categorical

import shapetrace


class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.scores = nn.Linear(8, 3)

    def forward(self, x, taken):
        chosen = Categorical(logits=self.scores(torch.tanh(self.body(x))))
        log_probs = chosen.log_prob(taken)
        return log_probs


def fixes_of(found):
    assert found.fixes
    return [fix.line for fix in found.fixes if fix.line]


def is_of_the_squeeze(line):
    """Whether `squeeze(-1)`, which `log_prob` calls, is changed or undone."""
    return "log_prob(-" in line or line == "log_probs = chosen"


@pytest.mark.parametrize("batch", [6, 3])
def test_of_a_silent_broadcast(batch):
    model = Actor()
    x, taken = torch.randn(batch, 4), torch.randint(3, (batch,))
    errors = torch.randn(batch, 1)
    with pytest.warns(shapetrace.ShapeTraceWarning), shapetrace.trace(model) as t:
        log_probs = model(x, taken)
        loss = -(log_probs * errors).mean()
        loss.backward()
    (found,) = [one for one in t.findings if one.code == "silent-broadcast"]
    lines = fixes_of(found)
    assert not any(map(is_of_the_squeeze, lines))


@pytest.mark.parametrize("batch", [6, 3])
def test_of_a_failure(batch):
    model = Actor()
    x, taken = torch.randn(batch, 4), torch.randint(3, (batch,))
    values = torch.randn(batch, 1)

    def step():
        log_probs = model(x, taken)
        return torch.cat([values, log_probs], 1).sum()

    lines = fixes_of(failure_of(model, step))
    assert not any(map(is_of_the_squeeze, lines))


def test_a_repair_that_pairs_each_sample_with_every_other_is_not_verified():
    model = Actor()
    x, taken = torch.randn(6, 4), torch.randint(3, (6,))

    def step():
        log_probs = model(x, taken)
        return torch.cat([torch.randn(6, 1), log_probs], 1).sum()

    found = failure_of(model, step)
    paired = [fix for fix in found.fixes if "x.unsqueeze" in fix.line]
    assert all(fix.status != "verified" for fix in paired)
    assert found.fixes[0].status == "verified"
