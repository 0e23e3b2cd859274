"""What a call was given in place of a result that nothing reads; one module of a class,
which alone is of the wrong size; and views that follow a larger batch."""

import pytest
import torch
from failures import failure, failure_of, first
from torch import nn


class Digits(nn.Module):
    """The features are computed, and the image is flattened."""

    def __init__(self, size):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(6 * size * size, 10)

    def forward(self, image):
        maps = self.features(image)  # noqa: F841 - the mistake
        flat = torch.flatten(image, 1)
        return self.head(flat)


@pytest.mark.parametrize("size, batch", [(8, 5), (6, 6), (10, 2)])
def test_a_result_that_nothing_reads_is_what_was_meant(size, batch):
    found = failure(Digits(size), torch.rand(batch, 1, size, size))
    assert first(found) == ("function", "flatten")
    assert "torch.flatten(maps, 1)" in found.fixes[0].line
    assert "`maps`" in found.culprits[0].reason


class Read(Digits):
    def forward(self, image):
        maps = self.features(image)
        flat = torch.flatten(image, 1)
        return self.head(flat) + maps.mean()


def test_a_result_that_is_read_later_is_not_offered():
    found = failure(Read(8), torch.rand(5, 1, 8, 8))
    assert all("maps" not in fix.line for fix in found.fixes)


class Renamed(Digits):
    """The name stands for something else by then."""

    def forward(self, image):
        maps = self.features(image)  # noqa: F841 - given up
        maps = image.mean(1)  # noqa: F841 - never read
        flat = torch.flatten(image, 1)
        return self.head(flat)


class GivenUp(Digits):
    def forward(self, image):
        _ = self.features(image)
        flat = torch.flatten(image, 1)
        return self.head(flat)


@pytest.mark.parametrize("model", [Renamed, GivenUp])
def test_a_name_that_stands_for_it_no_more_is_not_offered(model):
    found = failure(model(8), torch.rand(5, 1, 8, 8))
    lines = [fix.line for fix in found.fixes]
    assert all("maps" not in line and "flatten(_" not in line for line in lines)


class Recurrent(nn.Module):
    """The last hidden state is named, the states of all steps are taken."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(7, 9, batch_first=True), nn.Linear(9, 3)

    def forward(self, x, about):
        states, last = self.rnn(x)
        return self.head(states + about)


def test_a_result_among_several_is_known_by_its_place():
    found = failure(Recurrent(), torch.rand(4, 6, 7), torch.rand(1, 4, 9))
    lines = [fix.line for fix in found.fixes]
    assert any("self.head(last + about)" in line for line in lines), lines


class Adapter(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.down = nn.Parameter(torch.randn(width, 4))

    def forward(self, x):
        return x + torch.einsum("bf,fk->bk", x, self.down).mean(1, keepdim=True)


class Adapted(nn.Module):
    """Both adapters have the width of the first layer."""

    def __init__(self, widths):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        self.adapters = nn.ModuleList(Adapter(widths[1]) for _ in self.layers)

    def forward(self, x):
        for layer, adapter in zip(self.layers, self.adapters):
            x = adapter(layer(x))
        return x


@pytest.mark.parametrize("widths, batch", [([12, 32, 16], 5), ([8, 6, 4], 6)])
def test_one_of_several_modules_alone_is_of_the_wrong_size(widths, batch):
    found = failure(Adapted(widths), torch.randn(batch, widths[0]))
    assert first(found) == ("module", "adapters.1")
    assert all("torch.randn(" not in fix.line for fix in found.fixes[:1])


class Crossed(nn.Module):
    """Heads folded into the batch on both sides of an attention."""

    def __init__(self, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key = nn.Linear(6, heads * 8), nn.Linear(10, heads * 8)

    def fold(self, x):
        b, n, d = x.shape
        x = x.reshape(b, n, self.heads, d // self.heads).permute(0, 2, 1, 3)
        return x.reshape(b * self.heads, n, d // self.heads)

    def forward(self, x, words):
        query, key = self.fold(self.query(x)), self.fold(self.key(words))
        return torch.einsum("bid,bjd->bij", query, key).softmax(-1)


@pytest.mark.parametrize("batch, heads", [(3, 4), (4, 4), (2, 8)])
def test_a_batch_of_one_that_meets_a_larger_one_is_named(batch, heads):
    model = Crossed(heads)

    def step():
        return model(torch.randn(batch, 5, 6), torch.randn(1, 7, 10))

    found = failure_of(model, step)
    assert first(found)[0] == "input"
    assert f"is a batch of one; the other side has {batch}" in found.culprits[0].reason
