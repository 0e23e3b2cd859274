"""One sample held against several of them, and what is one number for all."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import shapetrace

pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")

#: as many samples as a batch has, and as a bag has instances
X, Y, BAGS = torch.randn(10, 5), torch.randn(10, 1), torch.randn(10, 10, 5)
LABELS = torch.tensor([1.0, 0.0])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.radius = nn.Linear(5, 1), nn.Parameter(torch.ones(1))
        self.register_buffer("real", torch.ones(1))

    def forward(self, x):
        return self.fc(x)


class ReadFromDisk(Dataset):
    """A data set whose tensors are made sample by sample."""

    def __len__(self):
        return 10

    def __getitem__(self, i):
        return torch.tensor([float(i)] * 5), torch.tensor([float(i)])


def loaded(size, data=None):
    """The first batch of so many samples."""
    return next(iter(DataLoader(data or TensorDataset(X, Y), size)))


def filled(rows):
    """A buffer that is filled row by row."""
    buffer = torch.zeros_like(rows)
    for i in range(len(rows)):
        buffer[i] = rows[i]
    return buffer


def joined(k):
    return torch.stack([X[k] + 0.1 * torch.randn(5) for _ in range(10)])


#: a prediction for several samples, and the target of one of them
MISTAKES = {
    "a row": lambda m, k: (m(X), Y[k]),
    "a slice": lambda m, k: (m(X), Y[k : k + 1]),
    "of a part": lambda m, k: (m(X[torch.randperm(10)[:6]]), Y[k]),
    "in a loop": lambda m, k: next((m(X), y) for x, y in zip(X, Y)),
    "of two loaders": lambda m, k: (m(loaded(8)[0]), loaded(1)[1]),
    "read from disk": lambda m, k: (
        m(loaded(8, ReadFromDisk())[0]),
        loaded(1, ReadFromDisk())[1],
    ),
    "the first of the batch": lambda m, k: (m(loaded(8)[0]), loaded(8)[1][0]),
    "normalised": lambda m, k: (m(X / X.std(0)), (Y[k] - Y.mean()) / Y.std()),
    "of a buffer": lambda m, k: (
        m(filled(X)[torch.randint(10, (6,))]),
        filled(Y)[k],
    ),
}

#: one number for all, or one sample in several forms
MEANT = {
    "ones": lambda m, k: (m(X), torch.ones(1)),
    "a literal": lambda m, k: (m(X), torch.tensor([[1.0]])),
    "a label by its place": lambda m, k: (m(X[:2]), LABELS[1]),
    "a smoothed label": lambda m, k: (m(X), 0.9 + 0.1 * torch.rand(1)),
    "a buffer": lambda m, k: (m(X), m.real),
    "a parameter": lambda m, k: (m(X), m.radius),
    "a level": lambda m, k: (m(X), torch.linspace(0, 1, 10)[k]),
    "a row of zeros": lambda m, k: (m(X), torch.zeros(10, 1)[k : k + 1]),
    "the mean of the data": lambda m, k: (m(X), Y.mean()),
    "their largest": lambda m, k: (m(X), Y.max(0, keepdim=True).values),
    "its own mean": lambda m, k: (lambda p: (p, p.mean().detach()))(m(X)),
    "members of an ensemble": lambda m, k: (
        torch.cat([m(X[k : k + 1]) for _ in range(10)]),
        Y[k],
    ),
    "dropout drawn ten times": lambda m, k: (m(X[k].expand(10, -1)), Y[k]),
    "copies": lambda m, k: (m(X[k : k + 1].repeat(10, 1)), Y[k : k + 1]),
    "augmented": lambda m, k: (m(joined(k)), Y[k : k + 1]),
    "with noise": lambda m, k: (m(X[k : k + 1] + torch.randn(10, 5)), Y[k]),
    "instances of a bag": lambda m, k: (m(BAGS[k]), Y[k]),
    "a loaded bag": lambda m, k: (lambda x, y: (m(x[0]), y))(
        *loaded(1, TensorDataset(BAGS, Y))
    ),
    "one sample by its number": lambda m, k: (m(X[torch.full((10,), k)]), Y[k]),
}


def found(program, loss):
    torch.manual_seed(0)
    model = Net()
    with shapetrace.trace(model) as t:
        loss(*program(model, 4)).backward()
    return [one for one in t.findings if one.severity != "note"]


def by_hand(prediction, target):
    return ((prediction - target) ** 2).mean()


LOSSES = pytest.mark.parametrize("loss", [F.mse_loss, by_hand])


@LOSSES
@pytest.mark.parametrize("name", MISTAKES)
def test_one_sample_against_several(name, loss):
    with pytest.warns(shapetrace.ShapeTraceWarning):
        (one,) = found(MISTAKES[name], loss)
    assert one.code == "silent-broadcast"
    assert {(who.kind, who.size) for who in one.culprits} >= {("function", 1)}


@LOSSES
@pytest.mark.parametrize("name", MEANT)
def test_one_number_for_all(name, loss):
    assert found(MEANT[name], loss) == []


def test_who_took_the_sample_and_what_mends_it():
    with pytest.warns(shapetrace.ShapeTraceWarning, match="one of 10 samples"):
        (one,) = found(lambda m, k: (m(X), Y[k]), F.mse_loss)
    assert "stretched over 10 samples" in one.message
    assert (one.culprits[0].name, one.culprits[0].expected) == ("getitem", 10)
    (fix,) = one.fixes
    assert (fix.status, fix.line.endswith("(lambda m, k: (m(X), Y), F.mse_loss)")) == (
        "verified",
        True,
    )
