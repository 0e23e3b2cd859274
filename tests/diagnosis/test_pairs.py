"""An index of columns for all rows, where one of each row is wanted."""

import pytest
import torch
from failures import failure_of
from torch import nn

#: samples and actions, where they are equal too
SIZES = [(9, 4), (6, 6), (3, 8)]


class Agent(nn.Module):
    def __init__(self, actions):
        super().__init__()
        self.q = nn.Linear(5, actions)

    def forward(self, states, taken, rewards):
        values = self.q(states)
        chosen = values[:, taken]
        kept = torch.zeros(len(taken))
        kept[:] = chosen
        return (kept - rewards).pow(2).mean()


@pytest.mark.parametrize("batch, actions", SIZES)
def test_one_of_each_row(batch, actions):
    model = Agent(actions)
    states, rewards = torch.randn(batch, 5), torch.randn(batch)
    taken = torch.randint(0, actions, (batch,))
    found = failure_of(model, lambda: model(states, taken, rewards))
    assert "getitem" in [culprit.name for culprit in found.culprits]
    line = "chosen = values[torch.arange(len(taken)), taken]"
    assert line in [fix.line for fix in found.fixes]
