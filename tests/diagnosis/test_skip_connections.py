"""A skip connection that is handed on behind the pooling instead of before it: the
layer that made it smaller is named, not the one that brings the other side back."""

import pytest
import torch
import torch.nn.functional as F
from failures import Runs, failure, first
from torch import nn

import shapetrace


class Down(nn.Module):
    def __init__(self, taken, given):
        super().__init__()
        self.conv = nn.Conv2d(taken, given, 3, padding=1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        x = self.pool(torch.relu(self.conv(x)))
        return x, x


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2 = Down(3, 8), Down(8, 16)
        self.middle = nn.Conv2d(16, 16, 3, padding=1)
        self.up = nn.Upsample(scale_factor=2)
        self.join2, self.join1 = nn.Conv2d(32, 8, 1), nn.Conv2d(16, 1, 1)

    def forward(self, x):
        x, skip1 = self.down1(x)
        x, skip2 = self.down2(x)
        x = self.join2(torch.cat([self.up(self.middle(x)), skip2], dim=1))
        return self.join1(torch.cat([self.up(x), skip1], dim=1))


@pytest.mark.parametrize("size", [16, 32])
def test_an_encoder_that_hands_on_what_it_pooled(size):
    found = failure(UNet(), torch.randn(2, 3, size, size))
    assert first(found) == ("module", "down2.pool")
    assert "brought back" in found.culprits[0].reason


def sounds(self, x):
    skip = self.shrink(self.enter(x))
    deep = torch.relu(self.deep(skip))
    return self.leave(torch.cat((self.grow(deep), skip), 1))


def test_a_strided_layer_before_a_skip_of_sounds():
    layers = {"enter": nn.Conv1d(1, 4, 5, padding=2), "shrink": nn.AvgPool1d(4)}
    layers |= {"deep": nn.Conv1d(4, 4, 3, padding=1), "leave": nn.Conv1d(8, 1, 1)}
    model = Runs(sounds, grow=nn.ConvTranspose1d(4, 4, 4, stride=4), **layers)
    found = failure(model, torch.randn(3, 1, 64))
    assert first(found) == ("module", "shrink")


def added(self, x):
    maps = self.conv(x)
    small = F.max_pool2d(maps, 2)
    return F.interpolate(self.deep(small), scale_factor=2) + small


def test_a_pooling_function_before_a_sum():
    model = Runs(added, conv=nn.Conv2d(3, 6, 1), deep=nn.Conv2d(6, 6, 3, padding=1))
    found = failure(model, torch.randn(2, 3, 12, 12))
    assert first(found) == ("function", "max_pool2d")


def residual(self, x):
    return self.conv2(torch.relu(self.conv1(x))) + x


def test_the_main_path_of_a_residual_block_is_no_skip_connection():
    conv1 = nn.Conv2d(4, 4, 3, stride=2, padding=1)
    model = Runs(residual, conv1=conv1, conv2=nn.Conv2d(4, 4, 3, padding=1))
    with pytest.raises(RuntimeError):
        with shapetrace.trace(model) as t:
            model(torch.randn(2, 4, 16, 16))
    assert first(t.failure) == ("module", "conv1")
    assert "brought back" not in str(t.failure)
