"""A convolution in the place of a transposed one, poolings, and one that is missing."""

import pytest
import torch
from failures import failure_of
from torch import nn
from torch.nn import functional as F

#: samples and classes, where they are equal too
SIZES = [(5, 7), (4, 4)]


class Encoder(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)))


class Segments(nn.Module):
    """Its first convolution ought to be no transposed one."""

    def __init__(self, classes):
        super().__init__()
        self.first = nn.ConvTranspose2d(3, 8, 7, stride=2, padding=3)
        self.second = Encoder(8, 8)
        self.up = nn.ConvTranspose2d(8, 8, 3, 2, 1, 1)
        self.out = nn.ConvTranspose2d(8, classes, 2, stride=2)

    def forward(self, x):
        return self.out(self.up(self.second(torch.relu(self.first(x)))))


class Auto(nn.Module):
    """Its third convolution ought to be a transposed one."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 8, 4, stride=2, padding=1)
        self.deep = nn.Conv2d(8, 12, 4, stride=2, padding=1)
        self.back = nn.Conv2d(12, 8, 4, stride=2, padding=1)
        self.out = nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)

    def forward(self, x):
        x = torch.relu(self.deep(torch.relu(self.down(x))))
        return self.out(torch.relu(self.back(x)))


class Net(nn.Module):
    def __init__(self, classes, forget):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.out = nn.Linear(16 * 5 * 5, classes)
        self.forget = forget

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = F.relu(self.conv2(x))
        x = x.view(-1, 400) if self.forget else torch.flatten(x, 1)
        return self.out(x)


class Small(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.pool = nn.AvgPool2d(8)
        self.out = nn.Linear(6, classes)

    def forward(self, x):
        x = self.pool(self.conv(x))
        return self.out(torch.flatten(x, 1))


def lines_of(found):
    return [fix.line for fix in found.fixes]


@pytest.mark.parametrize("batch, classes", SIZES)
def test_a_transposed_convolution_in_the_place_of_a_plain_one(batch, classes):
    model, x = Segments(classes), torch.rand(batch, 3, 32, 48)
    labels = torch.randint(0, classes, (batch, 32, 48))
    found = failure_of(model, lambda: F.cross_entropy(model(x), labels))
    assert found.culprits[0].name == "first"
    assert found.fixes[0].line == "self.first = nn.Conv2d(3, 8, 7, stride=2, padding=3)"


@pytest.mark.parametrize("batch", [5, 3, 8])
def test_a_plain_convolution_in_the_place_of_a_transposed_one(batch):
    model, x = Auto(), torch.rand(batch, 3, 32, 32)
    found = failure_of(model, lambda: F.mse_loss(model(x), x))
    assert "back" in [culprit.name for culprit in found.culprits]
    line = "self.back = nn.ConvTranspose2d(12, 8, 4, stride=2, padding=1)"
    assert line in lines_of(found)


@pytest.mark.parametrize("batch, classes", SIZES)
@pytest.mark.parametrize("forget", [True, False])
def test_a_pooling_that_the_other_maps_have(batch, classes, forget):
    model, x = Net(classes, forget), torch.rand(batch, 3, 32, 32)
    labels = torch.randint(0, classes, (batch,))
    found = failure_of(model, lambda: F.cross_entropy(model(x), labels))
    (line,) = [line for line in lines_of(found) if "self.pool(x)" in line]
    assert "self.pool(x).view(-1, 400)" in line or "flatten(self.pool(x), 1)" in line


@pytest.mark.parametrize("batch, classes", SIZES)
def test_images_of_another_size_than_a_window_is_for(batch, classes):
    model, x = Small(classes), torch.rand(batch, 3, 24, 24)
    labels = torch.randint(0, classes, (batch,))
    found = failure_of(model, lambda: F.cross_entropy(model(x), labels))
    fix = next(fix for fix in found.fixes if "Adaptive" in fix.line)
    assert fix.line == "self.pool = nn.AdaptiveAvgPool2d(1)"
    assert fix.status == "untried" and fix.loses
