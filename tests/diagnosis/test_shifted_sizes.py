"""Sizes that were put in their place by dimensions of size 1, and what shifts them."""

import pytest
import torch
from failures import failure_of
from torch import nn
from torch.nn import functional as F


class Weighted(nn.Module):
    """A weight a sample, looked up in a table, on half of the samples."""

    def __init__(self, channels, look_up):
        super().__init__()
        self.conv, self.look_up = nn.Conv2d(3, channels, 1), look_up

    def forward(self, x, steps):
        weights = self.look_up(torch.linspace(1.0, 2.0, 10), steps)
        first, _ = self.conv(x).chunk(2)
        return (weights[:, None, None, None] * first.square()).mean()


def by_numbers(table, steps):
    return table[steps.tolist()]


def told(samples, channels, look_up):
    x, steps = torch.randn(samples, 3, 5, 5), torch.randint(10, (samples,))
    model = Weighted(channels, look_up)
    return failure_of(model, lambda: model(x, steps))


@pytest.mark.parametrize("samples, channels", [(4, 4), (6, 3), (6, 6)])
def test_what_shifts_samples_along_channels_is_not_verified(samples, channels):
    for fix in told(samples, channels, by_numbers).fixes:
        if "squeeze" in fix.line or "[:, None, None]" in fix.line:
            assert fix.status != "verified", fix.line


class Column(nn.Module):
    """A weight for each class, as a column that came so."""

    def __init__(self, weight):
        super().__init__()
        self.lin, self.weight = nn.Linear(6, len(weight)), nn.Parameter(weight)

    def forward(self, x):
        return (self.lin(x) * self.weight).mean()


@pytest.mark.parametrize("samples, classes", [(5, 3)])
def test_what_is_known_to_belong_there_is(samples, classes):
    model, x = Column(torch.rand(classes, 1)), torch.randn(samples, 6)
    fixes = {fix.line: fix.status for fix in failure_of(model, lambda: model(x)).fixes}
    line = next(line for line in fixes if "weight.squeeze(1)" in line)
    assert fixes[line] == "verified"


class Digits(nn.Module):
    """A classifier of images that comes to be given larger ones."""

    def __init__(self, hidden=128):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 2 * 2, hidden)
        self.fc2 = nn.Linear(hidden, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def test_no_line_is_offered_that_cuts_samples_in_pieces():
    model, x = Digits(), torch.randn(32, 1, 16, 16)
    fixes = failure_of(model, lambda: model(x)).fixes
    assert fixes and not any("reshape(-1, 128)" in fix.line for fix in fixes)
