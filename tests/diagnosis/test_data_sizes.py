"""Data of another size than the program was written for: said with the size that would
fit, for rows and columns together, also behind windows and through views."""

import pytest
import torch
from failures import Runs, failure, failure_of, first
from torch import nn
from torch.utils.data import DataLoader, Dataset


def crop_reader(*pools):
    """Rows of features of images that the layers leave one row high."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 1, 1),
        nn.ReLU(),
        *(nn.MaxPool2d(pool) for pool in pools),
        nn.Conv2d(8, 12, (2, 1)),
        nn.ReLU(),
    )


def read(self, x):
    rows = self.layers(x).squeeze(2).permute(2, 0, 1)
    return self.rnn(rows)[0]


@pytest.mark.parametrize("height, width", [(64, 100), (64, 64), (128, 60)])
def test_a_squeeze_that_took_nothing_leads_to_the_height_of_the_images(height, width):
    layers = crop_reader(2, 2, (2, 1), (2, 1))
    model = Runs(read, layers=layers, rnn=nn.LSTM(12, 5))
    found = failure(model, torch.rand(4, 1, height, width))
    assert "input" in [one.kind for one in found.culprits]
    given = next(one for one in found.culprits if one.kind == "input")
    assert (given.dim, given.size, given.expected) == (2, height, 32)


@pytest.mark.parametrize("size", [2, 3])
def test_a_squeeze_that_took_nothing_behind_a_pooling_is_told(size):
    model = Runs(
        lambda self, x: self.head(self.pool(self.conv(x)).squeeze(3).squeeze(2)),
        conv=nn.Conv2d(3, 6, 3),
        pool=nn.AdaptiveAvgPool2d(size),
        head=nn.BatchNorm1d(6),
    )
    found = failure(model, torch.rand(5, 3, 16, 16))
    reasons = {one.name: one.reason for one in found.culprits}
    told = f"takes nothing away: that dimension is {size}, not 1"
    assert told in reasons.get("squeeze", "") or "pool" in reasons


def scores(self, x):
    assert x.size(1) == 3
    q, k = self.q(x).flatten(2), self.k(x).flatten(2)
    content = q.transpose(1, 2) @ k
    table = (self.rows + self.columns).view(1, 6, -1).transpose(1, 2) @ q
    return (content + table).softmax(2)


@pytest.mark.parametrize("size", [32, 64, 96])
def test_images_that_are_not_as_large_as_the_tables_of_the_model(size):
    model = Runs(scores, q=nn.Conv2d(3, 6, 16, 16), k=nn.Conv2d(3, 6, 16, 16))
    model.rows = nn.Parameter(torch.randn(1, 6, 14, 1))
    model.columns = nn.Parameter(torch.randn(1, 6, 1, 14))
    found = failure(model, torch.rand(2, 3, size, size))
    assert first(found)[0] == "input"
    assert (found.culprits[0].size, found.culprits[0].expected) == (size, 224)


@pytest.mark.parametrize("size", [26, 56])
def test_images_of_which_a_view_asks_for_other_rows_and_columns(size):
    model = Runs(
        lambda self, x: self.fc(
            self.conv(x.view(-1, 1, 20, 20)).view(x.size(0), 16, -1).mean(1)
        ),
        conv=nn.Conv2d(1, 4, 3),
        fc=nn.Linear(4 * 18 * 18, 5),
    )
    found = failure(model, torch.rand(3, 16, size, size))
    given = next(one for one in found.culprits if one.kind == "input")
    assert (given.dim, given.size, given.expected) == (2, size, 20)


def test_an_order_written_for_one_sample_stands_behind_the_samples():
    model = Runs(lambda self, x: self.conv(x.permute(2, 0, 1)), conv=nn.Conv2d(3, 4, 3))
    found = failure(model, torch.rand(5, 12, 12, 3))
    assert first(found) == ("function", "permute")
    assert "x.permute(0, 3, 1, 2)" in found.fixes[0].line


class Masks(Dataset):
    """Masks of holes, each as an image in colour."""

    def __init__(self, channels):
        self.channels = channels

    def __len__(self):
        return 3

    def __getitem__(self, at):
        return torch.zeros(self.channels, 12, 12)


def inpainted(self, x, mask):
    x = self.conv(x * (1 - mask))
    return x * mask


@pytest.mark.parametrize("features", [8, 16])
def test_a_mask_in_colour_needs_one_channel(features):
    """As many channels as the features would not go with the image before them."""
    model = Runs(inpainted, conv=nn.Conv2d(3, features, 3, padding=1))

    def step():
        for mask in DataLoader(Masks(3), batch_size=3):
            model(torch.rand(3, 3, 12, 12), mask)

    found = failure_of(model, step)
    assert first(found)[0] == "input" and "zeros" in first(found)[1]
    assert (found.culprits[0].size, found.culprits[0].expected) == (3, 1)
    assert "is a batch of 3" not in found.culprits[0].reason
