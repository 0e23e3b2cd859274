"""What is not negative is as it was after a ReLU in place: told by what made it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.checks.test_checks_in_place import (
    SIZES,
    Block,
    in_a_path,
    kept_by_name,
    of_the_input,
    run,
)
from tests.checks.test_checks_kinds import findings, silent


class Sums(nn.Module):
    """Sums, products and poolings of what is not negative."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        a, b = self.fc(x).relu(), self.fc(x).sigmoid()
        both = torch.cat([a + b, a * b], 1)
        return F.max_pool1d(both[:, None], 2).squeeze(1).view(len(x), -1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "last", [nn.ReLU(), nn.Sigmoid(), nn.Softmax(1), nn.Softplus(), Sums()]
)
def test_what_is_not_negative_is_as_it_was(last, size):
    for forward in (kept_by_name, of_the_input, in_a_path):
        # torch refuses to go back through some of them: what they gave is changed
        assert silent(run, forward, size, last, True, None, False)
        assert silent(run, forward, size, last, True, 0.1, False)
    assert findings(run, kept_by_name, size, nn.Identity())[0][0] == "changed-in-place"


class Difference(nn.Linear):
    def forward(self, x):
        return super().forward(x).relu() - x.relu()


class Moved(nn.Linear):
    def forward(self, x):
        return super().forward(x).relu() + -0.5


@pytest.mark.parametrize("last", [Difference(8, 8), Moved(8, 8)])
def test_what_may_be_negative_again(last):
    assert findings(run, kept_by_name, (6, 8), last)[0][0] == "changed-in-place"


def test_a_model_that_is_only_asked_learns_nothing_wrong():
    def program():
        with torch.no_grad():
            Block(8, kept_by_name)(nn.Linear(8, 8)(torch.rand(6, 8)))

    assert silent(program)


def test_raw_data_of_which_nobody_knows_the_signs():
    def program():
        block, x = Block(8, kept_by_name), torch.rand(6, 8)
        F.cross_entropy(block(x), torch.arange(6)).backward()

    assert silent(program)
